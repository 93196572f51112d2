"""Name the metrics that a boosting library has computed on each of its data sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from trainbus import SettingsError, UnknownDirection
from trainbus.failures import LOG
from trainbus.metrics.direction import direction_of
from trainbus.metrics.names import hint_with_list

TRAINING = ("train", "training", "learn", "dtrain")
"""Usual names of the training data, in lower case."""
RISING = ("auc", "aucpr", "auc_mu", "average_precision", "map", "ndcg", "pre", "interval-regression-accuracy")
FALLING = (
    *("mphe", "quantile", "expectile", "nloglik", "poisson-nloglik", "gamma-nloglik", "cox-nloglik", "tweedie-nloglik"),
    *("aft-nloglik", "l1", "l2", "fair", "gamma", "tweedie", "kullback_leibler", "multi_error", "rmse"),
)


def direction(metric: str) -> Literal["min", "max"] | None:
    """Return in which direction a metric of a boosting library improves; None if the libraries do not have it.

    >>> direction("val_ndcg@5-"), direction("val_tweedie-nloglik@1.5"), direction("my_metric")
    ('max', 'min', None)
    """
    name = metric.removeprefix("val_").partition("@")[0].rstrip("-")
    return "max" if name in RISING else "min" if name in FALLING else None


class BoostingMetrics:
    """Gives the metrics of a round the names that callbacks monitor.

    Metrics of the training data keep their names, those of the validation data get the prefix "val_", and those of each
    further set the name of the set. One metric is also logged as "loss" and "val_loss".

    Args:
        data: The validation data, by the name that the library logs; None for the last set that is not the training
            data.
        metric: The metric that is also the loss; None for the library's last one, if lower is better.

    >>> metrics = BoostingMetrics(None, None)
    >>> metrics.choose({"train": ["auc", "logloss"], "held out": ["auc", "logloss"]}, ())
    >>> list(metrics.named({"held out": {"auc": 0.9, "logloss": 0.3}}))
    ['val_auc', 'val_logloss', 'val_loss']
    """

    def __init__(self, data: str | None, metric: str | None) -> None:
        self._data, self._metric = data, metric
        self._training: Collection[str] = ()
        self._validation: str | None = None
        self._loss: str | None = None

    @property
    def validates(self) -> bool:
        """Whether there is a set of validation data."""
        return self._validation is not None

    def choose_data(self, evaluated: Collection[str], training: Collection[str]) -> None:
        """Choose the validation data of a training.

        Args:
            evaluated: The names of the data sets, in the order in which they are evaluated.
            training: Which of them are known to be the training data.

        Raises:
            SettingsError: ``data`` is none of them.
        """
        self._training = [each for each in evaluated if each in training or each.lower() in TRAINING]
        if self._data is not None and self._data not in evaluated:
            raise SettingsError(f"data={self._data!r} is not evaluated{hint_with_list(self._data, evaluated, 'sets')}")
        held_out = [each for each in evaluated if each not in self._training]
        self._validation = self._data or (held_out[-1] if held_out else None)
        if len(held_out) > 1 and self._data is None:
            LOG.warning(
                "metrics with the prefix val_ are those of %r, the last of %s; data=%r chooses another one",
                held_out[-1],
                ", ".join(map(repr, held_out)),
                held_out[0],
            )

    def choose(self, computed: Mapping[str, Collection[str]], training: Collection[str]) -> None:
        """Choose the validation data and the loss of a training.

        Args:
            computed: Name of each data set to the names of its metrics, in the order in which they are computed.
            training: Which data sets are known to be the training data.

        Raises:
            SettingsError: ``data`` or ``metric`` is none of them.
        """
        self.choose_data(list(computed), training)
        metrics = list(dict.fromkeys(each for names in computed.values() for each in names))
        if self._metric is not None and self._metric not in metrics:
            raise SettingsError(
                f"metric={self._metric!r} is not computed{hint_with_list(self._metric, metrics, 'metrics')}"
            )
        self._loss = self._metric or (metrics[-1] if metrics and _falls(metrics[-1]) else None)
        if self._loss is not None and direction(self._loss) == "max":
            raise SettingsError(
                f"metric={self._loss!r} would be the loss, but higher is better; write monitor='val_{self._loss}' in "
                "the callbacks"
            )

    def named(self, values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Return the metrics of a round by the names that callbacks monitor.

        Args:
            values: Name of each data set to its metrics.
        """
        named: dict[str, float] = {}
        for data, metrics in values.items():
            prefix = "val_" if data == self._validation else "" if data in self._training else f"{data}_"
            for name, value in metrics.items():
                named[prefix + name] = float(value)
                if name == self._loss and (data == self._validation or data in self._training):
                    named[f"{prefix}loss"] = float(value)
        return named


def _falls(metric: str) -> bool:
    try:
        return (direction(metric) or direction_of(metric)) == "min"
    except UnknownDirection:
        return False
