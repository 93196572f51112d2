"""The learning rate that the next update of a scikit-learn estimator uses.

Many parameters that are called learning rates are read once or never, although ``set_params`` accepts them. Source of
the rules: scikit-learn 1.9.1, tested for every estimator that has ``partial_fit``.
"""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from sklearn import linear_model
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import LatentDirichletAllocation, MiniBatchDictionaryLearning, MiniBatchNMF

from trainbus import SettingsError

from .estimators import leaf_estimators

# deprecated since scikit-learn 1.8; their learning_rate is "optimal", yet they use eta0, which C sets once
PASSIVE_AGGRESSIVE = tuple(
    getattr(linear_model, name)
    for name in ("PassiveAggressiveClassifier", "PassiveAggressiveRegressor")
    if hasattr(linear_model, name)
)
PARAMETERS = ("eta0", "learning_rate_init", "learning_rate", "lr")
"""Attributes in which third-party estimators may keep a rate that they read at every ``partial_fit``."""
WITHOUT: dict[type, str] = {
    MiniBatchKMeans: "moves each centre by the share that a row has in its counts",
    LatentDirichletAllocation: "weighs each batch by (learning_offset + batches) ** -learning_decay",
    MiniBatchNMF: "weighs each batch by its forget_factor, which is read once",
    MiniBatchDictionaryLearning: "solves for its dictionary after each batch",
}


@dataclass(frozen=True, slots=True)
class EstimatorLearningRate:
    """One learning rate: attributes of an object that change in proportion, and a divisor of the first."""

    owner: Any
    names: tuple[str, ...]
    divisor: float = 1.0

    @property
    def value(self) -> float:
        """The rate of the next update."""
        return float(getattr(self.owner, self.names[0])) / self.divisor

    def set(self, value: float) -> None:
        """Change the rate of the next update."""
        factor = value / self.value
        self._write(self.names[0], value * self.divisor)
        for name in self.names[1:]:
            self._write(name, getattr(self.owner, name) * factor)

    def _write(self, name: str, value: float) -> None:
        if hasattr(self.owner, "get_params") and name in self.owner.get_params(deep=False):
            self.owner.set_params(**{name: value})
        else:
            setattr(self.owner, name, value)


def rate_of(estimator: Any) -> list[EstimatorLearningRate] | str:
    """Return the rates of all estimators inside, or of the estimator itself; or else the reason why there is none.

    >>> from sklearn.linear_model import SGDClassifier
    >>> rate_of(SGDClassifier(learning_rate="constant", eta0=0.1))[0].value
    0.1
    >>> rate_of(SGDClassifier())
    "SGDClassifier(learning_rate='optimal') takes its steps from alpha and ignores eta0; set learning_rate=..."
    """
    found = [_rate(leaf) for leaf in leaf_estimators(estimator)]
    rates = [each for each in found if isinstance(each, EstimatorLearningRate)]
    return rates or next(each for each in found if isinstance(each, str))


def set_rate(estimator: Any, value: float) -> None:
    """Change the largest of the estimator's rates to ``value`` and the others by the same factor.

    Raises:
        SettingsError: There is no rate, the value is not valid, or the estimator does not keep it.
    """
    rates = rate_of(estimator)
    if isinstance(rates, str):
        raise SettingsError(rates)
    if not 0 < value < inf:
        raise SettingsError(f"learning_rate={value}: give a finite number above 0")
    top = max(rate.value for rate in rates)
    for rate in rates:
        wanted = value if rate.value == top else value * rate.value / top
        rate.set(wanted)
        if abs(rate.value - wanted) > 1e-9 * wanted:
            raise SettingsError(f"{type(rate.owner).__name__}.{rate.names[0]} stayed {rate.value} when set to {wanted}")


def options_of(estimator: Any) -> dict[str, Any]:
    """Return the parameters of an estimator except learning rates, by scikit-learn's names for them.

    >>> from sklearn.linear_model import SGDClassifier
    >>> options = options_of(SGDClassifier(eta0=0.1, alpha=0.5))
    >>> options["alpha"], "eta0" in options
    (0.5, False)
    """
    parameters = estimator.get_params() if hasattr(estimator, "get_params") else {}
    return {
        name: value
        for name, value in parameters.items()
        if name.rpartition("__")[2] not in PARAMETERS or isinstance(value, str)
    }


def _rate(estimator: Any) -> EstimatorLearningRate | str:
    name = type(estimator).__name__
    optimizer = getattr(estimator, "_optimizer", None)
    if hasattr(optimizer, "velocities"):  # scikit-learn's SGDOptimizer; "invscaling" starts from learning_rate_init
        return EstimatorLearningRate(optimizer, ("learning_rate", "learning_rate_init"))
    if hasattr(optimizer, "learning_rate_init"):  # its AdamOptimizer, which computes learning_rate from it
        return EstimatorLearningRate(optimizer, ("learning_rate_init",))
    for wanted, reason in WITHOUT.items():
        if isinstance(estimator, wanted):
            return f"{name} has no learning rate: it {reason}"
    if isinstance(estimator, PASSIVE_AGGRESSIVE):
        return EstimatorLearningRate(estimator, ("eta0",))
    schedule = getattr(estimator, "learning_rate", None)
    if hasattr(estimator, "eta0") and schedule is not None:
        if schedule == "optimal":
            return (
                f"{name}(learning_rate='optimal') takes its steps from "
                f"{'nu' if hasattr(estimator, 'nu') else 'alpha'} and ignores eta0; "
                "set learning_rate='constant' and eta0, such as 0.01"
            )
        decays = schedule == "invscaling"
        divisor = getattr(estimator, "t_", 1.0) ** estimator.power_t if decays else 1.0
        return EstimatorLearningRate(estimator, ("eta0",), divisor)
    for parameter in PARAMETERS:
        value = getattr(estimator, parameter, None)
        if isinstance(value, (int, float)):
            return EstimatorLearningRate(estimator, (parameter,))
    return f"{name} has no learning rate: it has no parameter {', '.join(PARAMETERS)}"
