"""The extreme values of each metric; a caller that needs only the best value reads these instead of all epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from .scalars import as_number, is_missing

EpochMetrics = tuple[int, Mapping[str, Any]]
"""The number of an epoch, counted from 0, and its metrics."""


class Extremes:
    """The epochs that first reached the lowest and the highest value of each metric, and the last epoch.

    >>> extremes = Extremes()
    >>> for epoch, loss in enumerate([3.0, 1.0, 1.0, 2.0, 1.5]):
    ...     extremes.add(epoch, {"loss": loss})
    >>> extremes.epochs()
    [(0, {'loss': 3.0}), (1, {'loss': 1.0}), (4, {'loss': 1.5})]
    """

    def __init__(self) -> None:
        self._lowest: dict[str, tuple[float, int]] = {}
        self._highest: dict[str, tuple[float, int]] = {}
        self._unknown: dict[str, int] = {}
        """Metrics that have no finite value so far, each with the first epoch that logged it."""
        self._last: EpochMetrics | None = None

    def add(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Add the metrics of an epoch, which must be later than all epochs added before."""
        self._last = epoch, metrics
        for name, value in metrics.items():
            number = _number(value)
            if number is None:
                if name not in self._lowest:
                    self._unknown.setdefault(name, epoch)
                continue
            self._unknown.pop(name, None)
            if name not in self._lowest or number < self._lowest[name][0]:
                self._lowest[name] = number, epoch
            if name not in self._highest or number > self._highest[name][0]:
                self._highest[name] = number, epoch

    def epochs(self) -> list[EpochMetrics]:
        """Return the kept epochs in order, each with its extreme metrics; the last epoch has all its metrics."""
        found: dict[int, dict[str, Any]] = {}
        for extremes in (self._lowest, self._highest):
            for name, (number, epoch) in extremes.items():
                found.setdefault(epoch, {})[name] = number
        for name, epoch in self._unknown.items():
            found.setdefault(epoch, {})[name] = None
        if self._last is not None:
            found[self._last[0]] = dict(self._last[1])
        return sorted(found.items())


def known_epochs(epochs: Iterable[EpochMetrics]) -> Extremes:
    """Return the extremes of the given epochs, which must be in order."""
    extremes = Extremes()
    for epoch, metrics in epochs:
        extremes.add(epoch, metrics)
    return extremes


def _number(value: Any) -> float | None:
    try:
        number = None if is_missing(value) else as_number(value)
    except TypeError:
        return None
    return number if number is not None and isfinite(number) else None
