"""scikit-learn's pipelines: the last step learns batch by batch from the output of the steps before it."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from trainbus import SettingsError

from .estimators import final_estimator


def fit_steps(estimator: Any, X: Any, y: Any) -> Any:
    """Transform the rows for the final estimator; first fit the unfitted steps before it, as ``fit`` does.

    >>> from sklearn.linear_model import SGDClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> fit_steps(make_pipeline(MinMaxScaler(), SGDClassifier()), [[1.0], [5.0]], [0, 1]).tolist()
    [[0.0], [1.0]]
    """
    for step in _steps(estimator):
        X = step.transform(X) if _is_fitted(step) else step.fit_transform(X, y)
    return X


def transformed(estimator: Any, X: Any) -> Any:
    """Return the rows as the final estimator sees them.

    Raises:
        SettingsError: A step before it is not fitted.
    """
    for step in _steps(estimator):
        if not _is_fitted(step):
            raise SettingsError(
                f"{type(step).__name__} is a step that is not fitted, and a stream has no complete data; first fit the "
                "steps before the last one to a sample of the data: pipeline[:-1].fit(X, y)"
            )
        X = step.transform(X)
    return X


def adopt_state(own: Any, other: Any) -> None:
    """Replace an estimator's state with that of another one of the same classes, which must not be used afterwards.

    The objects of a pipeline's steps stay the same, so that references to them stay valid.
    """
    if isinstance(own, Pipeline):
        for number, ((name, mine), (_, theirs)) in enumerate(zip(own.steps, other.steps, strict=True)):
            if type(mine) is type(theirs) and hasattr(mine, "get_params"):
                adopt_state(mine, theirs)
                other.steps[number] = name, mine
    state = vars(own)
    state.clear()
    state.update(vars(other))


def _steps(estimator: Any) -> Iterator[Any]:
    """Yield the steps before the final estimator that are transformers."""
    if isinstance(estimator, Pipeline) and final_estimator(estimator) is not estimator:
        yield from (step for _, step in estimator.steps[:-1] if step not in (None, "passthrough"))
        yield from _steps(estimator.steps[-1][1])


def _is_fitted(step: Any) -> bool:
    try:
        check_is_fitted(step)
    except NotFittedError:
        return False
    return True
