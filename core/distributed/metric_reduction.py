"""Reduce the metrics of all ranks: each rank contributes a row of sums and counts, and an all-reduce adds the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf, isnan, nan, prod
from typing import Any, NamedTuple

from ..errors import SettingsError
from ..metrics.reductions import Reduce
from ..metrics.running_means import RunningMeans
from ..metrics.scalars import on_host

__all__ = ["MetricReducer"]


WITHOUT_VALUE = (0,)
"""The shape of a metric of which only None was logged so far; any rank may log its first value later."""


class MetricSlot(NamedTuple):
    """One metric's position in the row."""

    name: str
    reduce: Reduce
    shape: tuple[int, ...]

    @property
    def has_value(self) -> bool:
        """Whether any value was logged, not only None."""
        return self.shape != WITHOUT_VALUE

    @property
    def is_extreme(self) -> bool:
        """Whether the result is the maximum or minimum, which a sum over ranks cannot give."""
        return self.reduce in ("max", "min")


class MetricReducer:
    """The metrics of one rank, in a layout that is the same on all ranks.

    A rank that has not logged a metric contributes nothing to it, so a metric that only rank 0 logs has rank 0's value.

    Args:
        rank: The rank of this process.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._slots: list[MetricSlot] = []
        self._values: dict[str, tuple[list[float], float]] = {}

    def take(self, means: RunningMeans) -> None:
        """Use the metrics that this rank has logged."""
        host = on_host({name: total for name, (total, *_) in means.sums().items()})
        own: list[MetricSlot] = []
        self._values = {}
        for name, (_, count, *reduced) in means.sums().items():
            if not count:
                own.append(MetricSlot(name, "mean", WITHOUT_VALUE))
                continue
            shape, values = _flat(host[name])
            own.append(MetricSlot(name, reduced[0] if reduced else "mean", shape))
            self._values[name] = values, float(count)
        self._slots = _union([("this rank", self._slots), ("this rank", own)])

    @property
    def layout(self) -> list[Any]:
        """The name, reduction and shape of each metric, as JSON data; it must be the same on all ranks."""
        return [[slot.name, slot.reduce, list(slot.shape)] for slot in self._slots]

    def agree(self, layouts: Sequence[list[Any]]) -> None:
        """Use a layout with every metric of every rank.

        Args:
            layouts: Each rank's ``layout``, in the order of the ranks.

        Raises:
            SettingsError: Two ranks use one name for metrics of different shapes or reductions.
        """
        self._slots = _union(
            (f"rank {rank}", [MetricSlot(name, reduce, tuple(shape)) for name, reduce, shape in layout])
            for rank, layout in enumerate(layouts)
        )

    def row(self) -> list[float]:
        """Return the sums and counts of this rank; add the rows of all ranks."""
        row: list[float] = []
        for slot in self._slots:
            values, count = self._values.get(slot.name, ([], 0.0))
            if slot.reduce is None and self._rank:
                values, count = [], 0.0
            if slot.is_extreme:  # the sum shows only whether a value is NaN
                row += [nan if isnan(value) else 0.0 for value in values or _nothing(slot)]
            else:
                row += values or _nothing(slot)
            row.append(count)
        return row

    def candidates(self) -> list[float]:
        """Return this rank's maxima and negated minima; take the maximum over all ranks."""
        row: list[float] = []
        for slot in self._slots:
            if slot.is_extreme:
                values, _ = self._values.get(slot.name, ([-inf * _sign(slot)] * prod(slot.shape), 0.0))
                row += [-inf if isnan(value) else _sign(slot) * value for value in values]
        return row

    def means(self, row: Sequence[float], extremes: Sequence[float]) -> RunningMeans:
        """Return the metrics of all ranks.

        Args:
            row: The sum of all ranks' rows.
            extremes: The maximum of all ranks' candidates.
        """
        sums: dict[str, Any] = {}
        for slot in self._slots:
            size = prod(slot.shape)
            values, count, row = list(row[:size]), row[size], row[size + 1 :]
            if slot.is_extreme:
                best, extremes = extremes[:size], extremes[size:]
                values = [
                    nan if isnan(total) else _sign(slot) * value for total, value in zip(values, best, strict=True)
                ]
            if count:
                sums[slot.name] = (_shaped(values, slot.shape), count, slot.reduce)
            elif not slot.has_value:
                sums[slot.name] = (None, 0)
        means = RunningMeans()
        means.load_sums(sums)
        return means


def _union(layouts: Iterable[tuple[str, Iterable[MetricSlot]]]) -> list[MetricSlot]:
    slots: dict[str, tuple[str, MetricSlot]] = {}
    for whose, layout in layouts:
        for slot in layout:
            other, same = slots.setdefault(slot.name, (whose, slot))
            if not same.has_value:
                slots[slot.name] = whose, slot
            elif slot.has_value and same != slot:
                raise SettingsError(
                    f"{slot.name!r} is not the same on all ranks: {_kind(same)} on {other}, {_kind(slot)} on {whose}"
                )
    return [slot for _, slot in sorted(slots.values(), key=lambda item: item[1].name)]


def _kind(slot: MetricSlot) -> str:
    shape = f"an array of shape {slot.shape}" if slot.shape else "a number"
    return f"{shape} with reduce={slot.reduce!r}"


def _sign(slot: MetricSlot) -> int:
    return -1 if slot.reduce == "min" else 1


def _nothing(slot: MetricSlot) -> list[float]:
    return [0.0] * prod(slot.shape)


def _flat(value: Any) -> tuple[tuple[int, ...], list[float]]:
    if type(value) is float:
        return (), [value]
    import numpy as np  # noqa: PLC0415 - the core is imported without it

    array = np.asarray(value.cpu() if hasattr(value, "cpu") else value, dtype=np.float64)
    return array.shape, array.ravel().tolist()


def _shaped(values: list[float], shape: tuple[int, ...]) -> Any:
    if not shape:
        return values[0]
    import numpy as np  # noqa: PLC0415

    return np.array(values).reshape(shape)
