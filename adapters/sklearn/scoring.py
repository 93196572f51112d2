"""The metrics of an epoch of a scikit-learn estimator: its own loss, and scores."""

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
from trainbus.metrics.missing_metric import MetricAdvice
from trainbus.metrics.names import hint

from .estimators import final_estimator, inner_estimators, ravel_targets, trains_by_column
from .pipeline import transformed

Array = np.ndarray[Any, Any]
Scoring = str | Iterable[str] | Mapping[str, Any] | Callable[..., Any] | None
"""The forms that scikit-learn's ``check_scoring`` accepts."""

ADVICE = MetricAdvice(
    "give validation_data=, and validation_freq= if not every epoch has one", "name its scorer in scoring="
)
"""What users write to have a metric logged."""

# functions of the margin y * f(x), with y -1 or 1
MARGIN_LOSSES: dict[str, Callable[[Array], Array]] = {
    "hinge": lambda margin: np.maximum(0, 1 - margin),
    "squared_hinge": lambda margin: np.maximum(0, 1 - margin) ** 2,
    "perceptron": lambda margin: np.maximum(0, -margin),
    "modified_huber": lambda margin: np.where(margin >= -1, np.maximum(0, 1 - margin) ** 2, -4 * margin),
}
# functions of the distance between truth and prediction, and of the estimator's epsilon
DISTANCE_LOSSES: dict[str, Callable[[Array, float], Array]] = {
    "huber": lambda far, epsilon: np.where(far <= epsilon, far**2 / 2, epsilon * (far - epsilon / 2)),
    "epsilon_insensitive": lambda far, epsilon: np.maximum(0, far - epsilon),
    "squared_epsilon_insensitive": lambda far, epsilon: np.maximum(0, far - epsilon) ** 2,
    "squared_error": lambda far, _: far**2,
}


def loss(estimator: Any, X: Any, y: Any) -> float | None:
    """Return the loss that a classifier or regressor minimizes, without penalties, as the mean over the rows.

    It is the estimator's ``loss`` if that is a function of margins or distances: hinge, squared_hinge, perceptron,
    modified_huber (for several classes the mean over the one-vs-all problems), huber, epsilon_insensitive,
    squared_epsilon_insensitive, or poisson (the deviance). Otherwise it is, for a classifier, the log loss of its
    probabilities, else the hinge loss of its decision function, else the zero-one loss; for a regressor the mean
    squared error. The loss of several outputs is the mean of their losses.

    Args:
        estimator: A fitted estimator, or a pipeline that ends in one.
        X: Samples of shape (rows, features).
        y: Targets of shape (rows,) or (rows, outputs).

    Returns:
        The loss; None for an estimator that is not a classifier or regressor.

    >>> from sklearn.linear_model import SGDRegressor
    >>> X, y = [[0.0], [1.0]], [0.0, 1.0]
    >>> model = SGDRegressor(random_state=0).partial_fit(X, y)
    >>> loss(model, X, y) == mean_squared_error(y, model.predict(X))
    True
    """
    if final_estimator(estimator) is not estimator:
        return loss(final_estimator(estimator), transformed(estimator, X), y)
    if not hasattr(estimator, "__sklearn_tags__"):
        return None
    if is_classifier(estimator):
        own = _classifier_loss
    elif is_regressor(estimator):
        own = _regressor_loss
    else:
        return None
    y = ravel_targets(estimator, np.asarray(y))
    if trains_by_column(estimator):
        return float(np.mean([own(part, X, y[:, i]) for i, part in enumerate(inner_estimators(estimator).values())]))
    return own(estimator, X, y)


class Metrics:
    """Computes the estimator's loss and the scores of ``scoring``, by name.

    Args:
        estimator: The estimator to evaluate.
        scoring: The other scores: a scorer's name, several of them, a mapping from names to scorers, or a callable
            ``(estimator, X, y)`` that returns one number, named "score", or several by name; a "loss" among
            these replaces the estimator's own. None is the estimator's ``score``, if it has one.

    Raises:
        SettingsError: scikit-learn has no such scorer, or one has the name "loss".
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
        scorers = {scoring: scoring} if isinstance(scoring, str) else scoring
        self.names = set(scorers)
        if "loss" in self.names:
            raise SettingsError("scoring: 'loss' is the name of the estimator's own loss; choose another name")
        for name in scorers.values() if isinstance(scorers, Mapping) else scorers:
            if isinstance(name, str) and name not in get_scorer_names():
                near = hint(name, get_scorer_names(), "; sklearn.metrics.get_scorer_names() has all")
                raise SettingsError(f"scoring: {name!r} is not a scorer{near}")
        try:
            self._scorer = check_scoring(estimator, scoring=scoring)
        except (ValueError, TypeError) as error:
            raise SettingsError(f"scoring={scoring!r}: {error}") from None

    def __call__(self, X: Any, y: Any) -> dict[str, float]:
        """Return the metrics on these rows."""
        own = None if y is None else loss(self.estimator, X, y)
        return {**({} if own is None else {"loss": own}), **self.scores(X, y)}

    def scores(self, X: Any, y: Any) -> dict[str, Any]:
        """Return the scores on these rows, without the loss."""
        if self._scorer is None:
            return {}
        scores = self._scorer(self.estimator, X, y)
        named = scores if isinstance(scores, Mapping) else dict.fromkeys(self.names, scores)
        self.names |= named.keys()
        return dict(named)

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """Return "max" for a score of any name, and "min" for the loss."""
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
