"""What an epoch of a scikit-learn estimator is judged by: its own loss, and scorers."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.metrics import (
    check_scoring,
    get_scorer_names,
    hinge_loss,
    log_loss,
    mean_poisson_deviance,
    mean_squared_error,
    zero_one_loss,
)

from trainbus import SettingsError
from trainbus.metrics.names import nearest

from .estimators import by_column, flat, inner, learner
from .pipeline import prepared

__all__ = ["Metrics", "loss"]

Array = np.ndarray[Any, Any]
Scoring = str | Iterable[str] | Mapping[str, Any] | Callable[..., Any] | None
"""What scikit-learn's `check_scoring` takes."""

# of the margin y * f(x), with y -1 or 1
MARGIN_LOSSES: dict[str, Callable[[Array], Array]] = {
    "hinge": lambda margin: np.maximum(0, 1 - margin),
    "squared_hinge": lambda margin: np.maximum(0, 1 - margin) ** 2,
    "perceptron": lambda margin: np.maximum(0, -margin),
    "modified_huber": lambda margin: np.where(margin >= -1, np.maximum(0, 1 - margin) ** 2, -4 * margin),
}
# of the distance between truth and prediction, and the estimator's epsilon
DISTANCE_LOSSES: dict[str, Callable[[Array, float], Array]] = {
    "huber": lambda far, epsilon: np.where(far <= epsilon, far**2 / 2, epsilon * (far - epsilon / 2)),
    "epsilon_insensitive": lambda far, epsilon: np.maximum(0, far - epsilon),
    "squared_epsilon_insensitive": lambda far, epsilon: np.maximum(0, far - epsilon) ** 2,
    "squared_error": lambda far, _: far**2,
}


def loss(estimator: Any, X: Any, y: Any) -> float | None:
    """What the classifier or regressor minimises, as the mean over the rows, without penalties; None for others.

    The loss that the estimator names is taken where it works on margins or distances: hinge, squared_hinge,
    perceptron, modified_huber (several classes: the mean over the one-vs-all problems), huber, epsilon_insensitive,
    squared_epsilon_insensitive, poisson (the deviance). Otherwise a classifier's is the log loss of its probabilities,
    or the hinge loss of its decision function, or the share of wrong rows; a regressor's is the mean squared error.
    Several outputs: the mean of theirs.

    >>> from sklearn.linear_model import SGDRegressor
    >>> X, y = [[0.0], [1.0]], [0.0, 1.0]
    >>> model = SGDRegressor(random_state=0).partial_fit(X, y)
    >>> loss(model, X, y) == mean_squared_error(y, model.predict(X))
    True
    """
    if learner(estimator) is not estimator:
        return loss(learner(estimator), prepared(estimator, X), y)
    if not hasattr(estimator, "__sklearn_tags__"):
        return None
    if is_classifier(estimator):
        own = _classifier_loss
    elif is_regressor(estimator):
        own = _regressor_loss
    else:
        return None
    y = flat(estimator, np.asarray(y))
    if by_column(estimator):
        return float(np.mean([own(part, X, y[:, i]) for i, part in enumerate(inner(estimator).values())]))
    return own(estimator, X, y)


class Metrics:
    """The estimator's loss and the scores of `scoring`, by name.

    Args:
        estimator: what is judged.
        scoring: the scores beside the loss: a scorer's name, several of them, a mapping of names to scorers, or a
            callable `(estimator, X, y)` that gives one number, named "score", or several by name; a "loss" among
            these stands for the estimator's own. None is the estimator's `score`, where it has one.

    Raises:
        SettingsError: scikit-learn knows no such scorer, or one has the name "loss".
    """

    def __init__(self, estimator: Any, scoring: Scoring = None) -> None:
        self.estimator = estimator
        self.names = {"score"}
        self._scorer: Callable[..., Any] | None = (
            scoring if callable(scoring) else _own_score if hasattr(estimator, "score") else None
        )
        if scoring is None or callable(scoring):
            return
        if not isinstance(scoring, (str, Mapping)):
            scoring = tuple(scoring)
        self.names = {scoring} if isinstance(scoring, str) else set(scoring)
        if "loss" in self.names:
            raise SettingsError("scoring: 'loss' is what the estimator's own loss is called; choose another name")
        asked = [scoring] if isinstance(scoring, str) else scoring.values() if isinstance(scoring, Mapping) else scoring
        for name in asked:
            if isinstance(name, str) and name not in get_scorer_names():
                near = nearest(name, get_scorer_names())
                hint = f"did you mean {near!r}?" if near else "sklearn.metrics.get_scorer_names() has all"
                raise SettingsError(f"scoring: {name!r} is no scorer; {hint}")
        try:
            self._scorer = check_scoring(estimator, scoring=scoring)
        except (ValueError, TypeError) as error:
            raise SettingsError(f"scoring={scoring!r}: {error}") from None

    def __call__(self, X: Any, y: Any) -> dict[str, float]:
        """The metrics on these rows."""
        own = None if y is None else loss(self.estimator, X, y)
        found = {} if own is None else {"loss": own}
        if self._scorer is None:
            return found
        scores = self._scorer(self.estimator, X, y)
        named = scores if isinstance(scores, Mapping) else dict.fromkeys(self.names, scores)
        self.names |= named.keys()
        return {**found, **named}

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """A scorer's value always improves upwards, whatever its name; a loss downwards."""
        name = metric.removeprefix("val_")
        if name == "loss":
            return "min"
        return "max" if name in self.names else None


def _own_score(estimator: Any, X: Any, y: Any) -> Any:
    return estimator.score(X, y)


def _classifier_loss(estimator: Any, X: Any, y: Array) -> float:
    named = getattr(estimator, "loss", None)
    if named in MARGIN_LOSSES or named in DISTANCE_LOSSES:
        raw = estimator.decision_function(X)
        classes = estimator.classes_
        truth = np.where(y[:, None] == (classes[1:] if raw.ndim == 1 else classes), 1, -1)
        margin = truth * raw.reshape(truth.shape)
        if named in MARGIN_LOSSES:
            return float(MARGIN_LOSSES[named](margin).mean())
        return float(DISTANCE_LOSSES[named](np.abs(1 - margin), estimator.epsilon).mean())
    if hasattr(estimator, "predict_proba"):
        chances = estimator.predict_proba(X)
        if y.ndim == 2:
            return float(np.mean([log_loss(y[:, i], chances[:, i], labels=[0, 1]) for i in range(y.shape[1])]))
        return float(log_loss(y, chances, labels=estimator.classes_))
    if hasattr(estimator, "decision_function") and y.ndim == 1:
        return float(hinge_loss(y, estimator.decision_function(X), labels=estimator.classes_))
    return float(zero_one_loss(y, estimator.predict(X)))


def _regressor_loss(estimator: Any, X: Any, y: Array) -> float:
    named = getattr(estimator, "loss", None)
    predicted = estimator.predict(X)
    if named == "poisson":
        return float(mean_poisson_deviance(y, predicted))
    if named in DISTANCE_LOSSES:
        return float(DISTANCE_LOSSES[named](np.abs(y - predicted), getattr(estimator, "epsilon", 0.0)).mean())
    return float(mean_squared_error(y, predicted))
