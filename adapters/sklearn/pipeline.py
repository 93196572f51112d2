"""scikit-learn's pipelines: the last step learns batch by batch, from what those before it make of the rows."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from trainbus import SettingsError

from .estimators import learner

__all__ = ["fit_steps", "prepared", "take_over"]


def fit_steps(estimator: Any, X: Any, y: Any) -> Any:
    """What the learner sees of these rows; steps before it that are not fitted yet are fitted to them, as by `fit`.

    >>> from sklearn.linear_model import SGDClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> fit_steps(make_pipeline(MinMaxScaler(), SGDClassifier()), [[1.0], [5.0]], [0, 1]).tolist()
    [[0.0], [1.0]]
    """
    for step in _steps(estimator):
        X = step.transform(X) if _is_fitted(step) else step.fit_transform(X, y)
    return X


def prepared(estimator: Any, X: Any) -> Any:
    """What the learner sees of these rows.

    Raises:
        SettingsError: a step before it is not fitted.
    """
    for step in _steps(estimator):
        if not _is_fitted(step):
            raise SettingsError(
                f"{type(step).__name__} is a step that is not fitted, and a stream is never seen as a whole; fit the "
                "steps before the last one first, to a sample of the data: pipeline[:-1].fit(X, y)"
            )
        X = step.transform(X)
    return X


def take_over(own: Any, other: Any) -> None:
    """Let an estimator be what another one of its kind is, of which nothing else is kept.

    Whoever holds a step of a pipeline, to train it, holds it still.
    """
    if isinstance(own, Pipeline):
        for number, ((name, mine), (_, theirs)) in enumerate(zip(own.steps, other.steps, strict=True)):
            if type(mine) is type(theirs) and hasattr(mine, "get_params"):
                take_over(mine, theirs)
                other.steps[number] = name, mine
    state = vars(own)
    state.clear()
    state.update(vars(other))


def _steps(estimator: Any) -> Iterator[Any]:
    """Those before the learner that do something."""
    if isinstance(estimator, Pipeline) and learner(estimator) is not estimator:
        yield from (step for _, step in estimator.steps[:-1] if step not in (None, "passthrough"))
        yield from _steps(estimator.steps[-1][1])


def _is_fitted(step: Any) -> bool:
    try:
        check_is_fitted(step)
    except NotFittedError:
        return False
    return True
