"""The metrics of all ranks as one: their sums and counts in a row of numbers that adds up over the ranks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf, isnan, nan, prod
from typing import Any, NamedTuple

from ..errors import SettingsError
from ..metrics.running_means import Reduce, RunningMeans
from ..metrics.scalars import on_host

__all__ = ["MetricReducer"]


class MetricSlot(NamedTuple):
    """One metric's place in the row."""

    name: str
    reduce: Reduce
    shape: tuple[int, ...]

    @property
    def chosen(self) -> bool:
        """Whether one of the values is taken, which no sum can do."""
        return self.reduce in ("max", "min")


class MetricReducer:
    """The metrics of one rank, laid out as on all ranks.

    A metric that a rank has not logged counts nothing there: one that only rank 0 logs is that of rank 0.

    Args:
        rank: the number of this process.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._slots: list[MetricSlot] = []
        self._values: dict[str, tuple[list[float], float]] = {}

    def take(self, means: RunningMeans) -> None:
        """Take in what this rank has logged."""
        host = on_host({name: total for name, (total, *_) in means.sums().items()})
        own: list[MetricSlot] = []
        self._values = {}
        for name, (_, count, *reduced) in means.sums().items():
            shape, values = _flat(host[name])
            own.append(MetricSlot(name, reduced[0] if reduced else "mean", shape))
            self._values[name] = values, float(count)
        self._slots = _union([("this rank", self._slots), ("this rank", own)])

    @property
    def layout(self) -> list[Any]:
        """What must be the same on all ranks, as plain data."""
        return [[slot.name, slot.reduce, list(slot.shape)] for slot in self._slots]

    def agree(self, layouts: Sequence[list[Any]]) -> None:
        """Lay out what any of the ranks has.

        Raises:
            SettingsError: two ranks have one name for metrics of different kinds.
        """
        self._slots = _union(
            (f"rank {rank}", [MetricSlot(name, reduce, tuple(shape)) for name, reduce, shape in layout])
            for rank, layout in enumerate(layouts)
        )

    def row(self) -> list[float]:
        """The sums and counts of this rank."""
        row: list[float] = []
        for slot in self._slots:
            values, count = self._values.get(slot.name, ([], 0.0))
            if slot.reduce is None and self._rank:
                values, count = [], 0.0
            if slot.chosen:  # here only whether it is a number at all
                row += [nan if isnan(value) else 0.0 for value in values or _nothing(slot)]
            else:
                row += values or _nothing(slot)
            row.append(count)
        return row

    def candidates(self) -> list[float]:
        """Of metrics of which the largest or the least is taken, what this rank has, turned so that larger wins."""
        row: list[float] = []
        for slot in self._slots:
            if slot.chosen:
                values, _ = self._values.get(slot.name, ([-inf * _sign(slot)] * prod(slot.shape), 0.0))
                row += [-inf if isnan(value) else _sign(slot) * value for value in values]
        return row

    def means(self, row: Sequence[float], chosen: Sequence[float]) -> RunningMeans:
        """The metrics of all ranks.

        Args:
            row: the sum of all rows.
            chosen: the maximum of all candidates.
        """
        sums: dict[str, Any] = {}
        for slot in self._slots:
            size = prod(slot.shape)
            values, count, row = list(row[:size]), row[size], row[size + 1 :]
            if slot.chosen:
                best, chosen = chosen[:size], chosen[size:]
                values = [
                    nan if isnan(total) else _sign(slot) * value for total, value in zip(values, best, strict=True)
                ]
            if count:
                once = slot.reduce in ("sum", "max", "min")
                sums[slot.name] = (_shaped(values, slot.shape), 1 if once else count, slot.reduce)
        means = RunningMeans()
        means.load_sums(sums)
        return means


def _union(layouts: Iterable[tuple[str, Iterable[MetricSlot]]]) -> list[MetricSlot]:
    slots: dict[str, tuple[str, MetricSlot]] = {}
    for whose, layout in layouts:
        for slot in layout:
            other, same = slots.setdefault(slot.name, (whose, slot))
            if same != slot:
                raise SettingsError(
                    f"{slot.name!r} is not the same on all ranks: {_told(same)} on {other}, {_told(slot)} on {whose}"
                )
    return [slot for _, slot in sorted(slots.values(), key=lambda item: item[1].name)]


def _told(slot: MetricSlot) -> str:
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
