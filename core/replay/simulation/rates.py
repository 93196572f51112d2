"""The learning rates of recorded runs, and which cuts they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainbus import SettingsError
from trainbus.metrics.names import canonical, is_learning_rate
from trainbus.plugins.rate_groups import unknown_rate

from ..curves import Curves
from ..records import Recording

_RELATIVE_TOLERANCE: Final = 1e-4
"""Relative difference up to which two rates are equal: event files and Keras store them in single precision."""


class RecordedRates(NamedTuple):
    """The recorded learning rates at each column of the curves, [rate, run, column]; NaN where they are unknown.

    Some writers log a rate before its epoch and some after it, so a cut may show between an epoch and either of its
    neighbours. If no option names a rate, there is one: the highest of the run, which is above its floor as long as
    any is.
    """

    at: NDArray[np.float64]
    """The rate in the epoch of the column."""
    before: NDArray[np.float64]
    """The rate in the epoch before."""
    after: NDArray[np.float64]
    """The rate in the epoch after."""
    floor: NDArray[np.float64]
    """The lower bound of each rate of each run, [rate, run]."""
    stored: Callable[[Any], Any] = np.float64
    """Converts rates as the library does when it stores them."""

    def show_cut(self, column: int, factor: float, cut: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which runs show a cut by this factor of all the rates in ``cut``, [rate, run], at this column."""

        def follows(rate: NDArray[np.float64], earlier: NDArray[np.float64]) -> NDArray[np.bool_]:
            lowered = self.stored(np.maximum(earlier * factor, self.floor))
            found: NDArray[np.bool_] = np.isclose(rate, lowered, rtol=_RELATIVE_TOLERANCE, atol=0) & (rate < earlier)
            return found

        at, before, after = (each[:, :, column] for each in self[:3])
        shown: NDArray[np.bool_] = ~cut | follows(after, at) | follows(at, before)
        every, some = np.logical_and.reduce(shown), np.logical_or.reduce(cut)
        return np.asarray(every & some, dtype=np.bool_)


class SimulatedRates:
    """The learning rates that runs would have had: the recorded ones until a cut that the record does not show.

    Args:
        recorded: The recorded rates.
    """

    def __init__(self, recorded: RecordedRates) -> None:
        self._recorded, self._stored = recorded, recorded.stored
        self.differ = np.zeros(recorded.floor.shape[1], np.bool_)
        """Which runs have rates that are not the recorded ones, [run]."""
        self._rate: NDArray[np.float64] = np.full(recorded.floor.shape, np.nan)
        self._before: NDArray[np.float64] = self._rate
        self._scale = np.ones(recorded.floor.shape)

    def at(self, column: int) -> NDArray[np.float64]:
        """Return the rates at a column, [rate, run]; a change of the recorded rate is followed in proportion.

        Args:
            column: The column, which is not before that of the last call.
        """
        recorded: NDArray[np.float64] = self._stored(self._recorded.at[:, :, column])
        with np.errstate(divide="ignore", invalid="ignore"):
            followed: NDArray[np.float64] = self._stored(
                np.maximum(self._rate * (recorded / self._before), self._recorded.floor)
            )
        begun: NDArray[np.float64] = self._stored(np.maximum(recorded * self._scale, self._recorded.floor))
        other = np.where(recorded == self._before, self._rate, np.where(np.isnan(self._rate), begun, followed))
        self._rate, self._before = np.where(self.differ, other, recorded), recorded
        return self._rate

    def cut(self, runs: NDArray[np.bool_], lowered: NDArray[np.bool_], factor: float) -> None:
        """Multiply rates by a factor, down to their floors.

        Args:
            runs: The runs, [run].
            lowered: Which of their rates are lowered, [rate, run].
            factor: The factor.
        """
        rate = self._stored(np.maximum(self._rate * factor, self._recorded.floor))
        self._rate = np.where(runs & lowered, rate, self._rate)
        self._scale = np.where(runs, self._scale * factor, self._scale)
        self.differ = self.differ | runs


def read_rates(
    recordings: Sequence[Recording],
    curves: Curves,
    min_lr: float | Mapping[str, float] = 0.0,
    groups: Sequence[str] | None = None,
    stored: Callable[[Any], Any] = np.float64,
) -> RecordedRates:
    """Return the recorded learning rates at the columns of the curves of the same recordings.

    Args:
        recordings: The runs.
        curves: Their curves.
        min_lr: The lower bound of every rate, or of each that is named.
        groups: The names of the rates that may be cut; None for all.
        stored: Converts rates as the library does when it stores them.

    Raises:
        SettingsError: An option names a rate that a run with rates has not logged.
    """
    named: Mapping[str, float] = min_lr if isinstance(min_lr, Mapping) else {}
    names = (*(groups or ()), *named)
    chosen = [_series_of(each, names, groups) for each in recordings]
    count = max(map(len, chosen), default=0) or 1
    at, before, after = np.full((3, count, *curves.scores.shape), np.nan)
    floors = np.zeros((count, len(recordings)))
    for row, series in enumerate(chosen):
        wanted = curves.rows[row, : curves.lengths[row]]
        for number, (name, rates) in enumerate(series.items()):
            floors[number, row] = stored(named.get(name, 0.0) if isinstance(min_lr, Mapping) else min_lr)
            known = np.flatnonzero(~np.isnan(rates))
            index = np.searchsorted(known, wanted, side="right") - 1
            for values, offset in ((at, 0), (before, -1), (after, 1)):
                place = index + offset
                inside = (place >= 0) & (place < known.size)
                if known.size:
                    given = rates[known][np.clip(place, 0, known.size - 1)]
                    values[number, row, : len(wanted)] = np.where(inside, given, np.nan)
        if not series:
            floors[:, row] = 0.0 if isinstance(min_lr, Mapping) else stored(min_lr)
    return RecordedRates(at, before, after, floors, stored)


def _series_of(
    recording: Recording, names: Sequence[str], groups: Sequence[str] | None
) -> dict[str, NDArray[np.float64]]:
    """Return the rates of a run by name, NaN where they are not logged; only the highest if no option names a rate."""
    found = {
        name: np.where(each.logged, each.values, np.nan)
        for name, each in recording.metrics.items()
        if is_learning_rate(name)
    }
    if not found or not names:
        return {"": np.fmax.reduce(list(found.values()))} if found else {}
    given = {canonical(name): name for name in names}
    for label, name in given.items():
        if label not in map(canonical, found):
            raise SettingsError(f"{recording.name}: {unknown_rate(name, found)}")
    named = {given.get(canonical(name), name): rates for name, rates in found.items()}
    return {name: rates for name, rates in named.items() if groups is None or name in groups}
