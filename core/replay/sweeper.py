"""Thousands of ways to stop early, over all recorded runs at once: what each saves and what it loses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..callback import MonitoredCallback
from ..errors import SettingsError
from .curves import Curves, curves_of
from .grid_search import grid_stops
from .library_settings import LibraryName, library
from .metric_choice import Choice, choose
from .policy import Grid, Policy, gains, usual_grid
from .recommend import ADVICE, Advice, Estimate, frontier, left_out_estimate, most_saving
from .records import Recording
from .replayer import with_metrics

__all__ = ["Recommendation", "Sweep", "sweep"]

_MOST = 20_000_000
"""Policies times runs that fit into the memory of a small machine."""


class Recommendation(NamedTuple):
    """A policy to use, what it saves and loses on these runs, and what to expect of another."""

    advice: Advice
    number: int
    """Which policy of the grid it is."""
    policy: Policy
    callback: MonitoredCallback
    on_these: Estimate
    """On the runs by which it was chosen: optimistic."""
    on_others: Estimate | None
    """By leaving out each run in turn; None where there is only one."""


@dataclass(frozen=True)
class Sweep:
    """What every policy of a grid saves and loses on recorded runs: arrays, [policy, run]."""

    grid: Grid
    library: LibraryName
    choice: Choice
    curves: Curves
    stops: NDArray[np.int32]
    """The column of `curves` at which the run stops, -1 where it does not."""
    notes: tuple[str, ...] = ()

    @cached_property
    def stopped(self) -> NDArray[np.int64]:
        """The epoch, counted from 0, in which the run stops, -1 where it does not up to its last recorded one."""
        rows = np.arange(len(self.curves.names))
        return np.where(self.stops < 0, -1, self.curves.epochs[rows, self.stops])

    @cached_property
    def epochs_saved(self) -> NDArray[np.int64]:
        """Recorded epochs after the stop."""
        return np.where(self.stops < 0, 0, self.curves.last - self.stopped)

    @cached_property
    def seconds_saved(self) -> NDArray[np.float64]:
        """Seconds after the stop, NaN for runs whose times are not known."""
        rows = np.arange(len(self.curves.names))
        after = self.curves.end - self.curves.times[rows, self.stops]
        return np.where(self.stops < 0, np.where(np.isnan(self.curves.end), np.nan, 0.0), after)

    @cached_property
    def lost(self) -> NDArray[np.float64]:
        """How much worse the best up to the stop is than the best of the run; inf where nothing finite came before."""
        rows = np.arange(len(self.curves.names))
        best = self.curves.best
        whole = best[:, -1]
        with np.errstate(invalid="ignore"):
            return np.where((self.stops < 0) | np.isneginf(whole), 0.0, whole - best[rows, self.stops])

    @cached_property
    def part_lost(self) -> NDArray[np.float64]:
        """`lost` as a part of what the run gains from its first finite value to its best, at most 1."""
        gained = gains(self.curves)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.minimum(np.where(self.lost > 0, self.lost / gained, 0.0), 1.0)

    @property
    def epochs(self) -> NDArray[np.int64]:
        """Recorded epochs of each run."""
        return self.curves.last - self.curves.first + 1

    @cached_property
    def part_saved(self) -> NDArray[np.float64]:
        """Of each policy the part of all recorded epochs that it saves."""
        return np.asarray(self.epochs_saved.sum(axis=1) / self.epochs.sum())

    @cached_property
    def mean_lost(self) -> NDArray[np.float64]:
        """Of each policy the mean over the runs of `part_lost`."""
        return np.asarray(self.part_lost.mean(axis=1))

    @cached_property
    def worst_lost(self) -> NDArray[np.float64]:
        """Of each policy the highest `part_lost` of all runs."""
        return np.asarray(self.part_lost.max(axis=1))

    @cached_property
    def frontier(self) -> NDArray[np.intp]:
        """The policies that no other beats in both, by rising loss."""
        return frontier(self.part_saved, self.mean_lost)

    @cached_property
    def recommendations(self) -> tuple[Recommendation, ...]:
        """A careful one, a balanced one and an eager one."""
        return tuple(self._recommended(advice) for advice in ADVICE)

    def estimate(self, number: int) -> Estimate:
        """What the policy of this number saves and loses on these runs."""
        return Estimate(float(self.part_saved[number]), float(self.mean_lost[number]), float(self.worst_lost[number]))

    def as_data(self) -> dict[str, Any]:
        """As plain data for machines; epochs count from 0."""
        return {
            "library": self.library,
            "monitor": self.choice.monitor,
            "mode": self.choice.mode,
            "why": self.choice.why,
            "runs": list(self.curves.names),
            "policies": len(self.grid),
            "grid": {name: list(values) for name, values in self.grid.axes.items()},
            "frontier": [{**self.grid[number].options, **self.estimate(number)._asdict()} for number in self.frontier],
            "recommendations": {
                each.advice: {
                    "settings": settings_of(each.callback),
                    "on_these_runs": each.on_these._asdict(),
                    "on_a_run_left_out": each.on_others._asdict() if each.on_others else None,
                }
                for each in self.recommendations
            },
            "notes": list(self.notes),
        }

    def as_rows(self) -> list[dict[str, Any]]:
        """A line for each policy, for tables that machines read."""
        best = set(self.frontier.tolist())
        return [
            {
                **{name: getattr(policy, name) for name in reversed(policy._fields)},
                **self.estimate(number)._asdict(),
                "quality_lost_mean": float(self.lost[number].mean()),
                "quality_lost_worst": float(self.lost[number].max()),
                "on_frontier": number in best,
            }
            for number, policy in enumerate(self.grid)
        ]

    def _recommended(self, advice: Advice) -> Recommendation:
        limit, whose = ADVICE[advice], library(self.library)
        number = most_saving(self.part_saved, self.mean_lost, self.worst_lost, limit)
        others = left_out_estimate(
            self.epochs_saved.astype(np.float64), self.epochs.astype(np.float64), self.part_lost, limit
        )
        policy = self.grid[number]
        callback = policy.callback(self.choice.monitor, self.choice.mode, whose)
        return Recommendation(advice, number, policy, callback, self.estimate(number), others)


def sweep(
    recordings: Sequence[Recording],
    *,
    patience: Sequence[int] | None = None,
    min_delta: Sequence[float] | None = None,
    start_from_epoch: Sequence[int] | None = None,
    baseline: Sequence[float | None] | None = None,
    smoothing: Sequence[str | None] | None = None,
    by: str = "trainbus",
    monitor: str | None = None,
    mode: Literal["auto", "min", "max"] = "auto",
) -> Sweep:
    """Every combination of these options of EarlyStopping, over all runs at once.

    The quality that a policy keeps is the best value up to its stop: that of a checkpoint with `save_best_only`.

    Args:
        recordings: the runs.
        patience: values to try; those that are not given are chosen to suit the runs.
        min_delta: as `patience`.
        start_from_epoch: as `patience`.
        baseline: values to try, None for no baseline, which alone is tried where nothing is given.
        smoothing: as `patience`; None for none.
        by: by whose rules: "trainbus", "keras", "torch", "lightning" or "ignite".
        monitor: the metric that decides; without it val_loss, or else the best candidate that is logged.
        mode: which way it improves; "auto" judges by its name.

    Raises:
        SettingsError: there are no runs, or an option is wrong, or none of the library's.
        MissingMetric: no run logs the metric.
        UnknownDirection: its name does not tell which way it improves.

    >>> from trainbus.replay import Series
    >>> loss = np.array([3.0, 2.0, 2.5, 2.2, 1.0, 1.1, 1.2, 1.3])
    >>> run = Recording("a", np.arange(8), {"loss": Series(loss, np.isfinite(loss))})
    >>> found = sweep([run], patience=[1, 2, 3], min_delta=[0], start_from_epoch=[0], smoothing=[None])
    >>> found.stopped.tolist(), found.lost.tolist()
    ([[2], [3], [7]], [[1.0], [1.0], [0.0]])
    """
    whose = library(by)
    choice = choose(recordings, monitor, mode)
    runs, notes = with_metrics(recordings, [choice])
    curves = curves_of(runs, choice)
    axes = {
        "patience": patience,
        "min_delta": min_delta,
        "start_from_epoch": start_from_epoch,
        "baseline": baseline,
        "smoothing": smoothing,
    }
    grid = usual_grid(curves, whose, **axes)
    if len(grid) * len(runs) > _MOST:
        raise SettingsError(
            f"{len(grid):,} policies on {len(runs):,} runs are more than {_MOST:,} stops to find; give fewer values"
        )
    return Sweep(grid, whose.name, choice, curves, grid_stops(curves, grid, whose), tuple(notes))


def settings_of(callback: MonitoredCallback) -> dict[str, Any]:
    """The callback as plain data for a settings file, without what is at its default."""
    given = callback.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    return {"callback": "EarlyStopping", "monitor": callback.monitor, **given}
