"""Sweep of thousands of early stopping policies over recorded runs: what each policy saves and loses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from trainbus import MonitoredCallback, SettingsError
from trainbus.plugins import EarlyStopping

from .comparison.run_groups import RunGroups, group_runs, same_seed
from .curves import Curves, build_curves
from .learnable import why_nothing
from .libraries.library import LibraryName
from .libraries.settings import find_library
from .metric_choice import MetricChoice, with_metrics
from .recommend import (
    ADVICE,
    Advice,
    Estimate,
    Grid,
    Policy,
    default_grid,
    fraction_of,
    gains,
    leave_one_out,
    most_saving,
    pareto_frontier,
)
from .records import Recording, units_of
from .search.grid_search import find_stops, step_policies
from .shared_options import Fixed, share
from .simulation.stepped_stops import needs_steps
from .simulation.unrecorded import unanswered

_MOST_STOPS = 20_000_000
"""The maximum number of policies times runs; more would not fit into the memory of a small machine."""


_FRACTIONS = (0.0, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""The values of ``min_delta`` that are tried if it is a fraction of the best value."""


class Recommendation(NamedTuple):
    """A recommended policy, what it saves and loses on the given runs, and what to expect on another run."""

    advice: Advice
    number: int
    """The number of the policy in the grid."""
    policy: Policy
    callback: MonitoredCallback
    on_these: Estimate
    """The estimate on the runs by which the policy was chosen; it is optimistic."""
    on_others: Estimate | None
    """The estimate by leave-one-out cross-validation; None for a single run."""
    within_limit: bool
    """Whether the policy is within the limit of the advice; if no policy is, it is the one that loses least."""

    @property
    def words(self) -> str:
        """Which loss the advice allows, and whether the policy is within it."""
        words = ADVICE[self.advice].words
        return words if self.within_limit else f"no policy {words}; this one loses least"


@dataclass(frozen=True)
class Sweep:
    """What every policy of a grid saves and loses on recorded runs. Arrays are [policy, run].

    Of a loop by steps, each "epoch" here is a validation.
    """

    grid: Grid
    library: LibraryName
    choice: MetricChoice
    curves: Curves
    stops: NDArray[np.int32]
    """The column of ``curves`` at which the run stops, -1 if it does not."""
    notes: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The options of early stopping that all policies share, without those of the grid."""
    groups: RunGroups | None = None
    """The groups of runs that are not independent of each other; None if each run is."""

    @cached_property
    def stopped(self) -> NDArray[np.int64]:
        """The epoch, counted from 0, in which the run stops; -1 if it does not stop up to its last recorded one."""
        return self._at_stop(self.curves.epochs, otherwise=-1)

    @cached_property
    def epochs_saved(self) -> NDArray[np.int64]:
        """The number of recorded epochs after the stop."""
        return self._at_stop(self.curves.last[:, None] - self.curves.epochs, otherwise=0)

    @cached_property
    def seconds_saved(self) -> NDArray[np.float64]:
        """The seconds after the stop; NaN if unknown."""
        end = self.curves.end
        return self._at_stop(end[:, None] - self.curves.times, otherwise=np.where(np.isnan(end), np.nan, 0.0))

    @cached_property
    def quality_lost(self) -> NDArray[np.float64]:
        """How much worse the best value up to the stop is than the run's best value; inf if there is no finite one.

        The values are those of every validation if the rule looks at validations, otherwise of every epoch.
        """
        best = self.curves.best
        with np.errstate(invalid="ignore"):
            return self._at_stop(np.where(np.isneginf(best[:, -1:]), 0.0, best[:, -1:] - best), otherwise=0.0)

    @cached_property
    def fraction_lost(self) -> NDArray[np.float64]:
        """``quality_lost`` as a fraction of what the run gains from its first finite value to its best, at most 1."""
        return fraction_of(self.quality_lost, gains(self.curves))

    @property
    def epochs(self) -> NDArray[np.int64]:
        """The number of recorded epochs of each run."""
        return self.curves.last - self.curves.first + 1

    @cached_property
    def fraction_saved(self) -> NDArray[np.float64]:
        """The fraction of all recorded epochs that each policy saves."""
        return np.asarray(self.epochs_saved.sum(axis=1) / self.epochs.sum())

    @cached_property
    def mean_lost(self) -> NDArray[np.float64]:
        """The mean ``fraction_lost`` of each policy over the runs."""
        return np.asarray(self.fraction_lost.mean(axis=1))

    @cached_property
    def worst_lost(self) -> NDArray[np.float64]:
        """The highest ``fraction_lost`` of each policy over the runs."""
        return np.asarray(self.fraction_lost.max(axis=1))

    @cached_property
    def frontier(self) -> NDArray[np.intp]:
        """The policies that no other policy beats in both saving and losing, by rising loss."""
        return pareto_frontier(self.fraction_saved, self.mean_lost)

    @cached_property
    def nothing_to_learn(self) -> str | None:
        """Why these runs show nothing about when to stop, so that nothing is recommended; None if they do."""
        return why_nothing(self.curves, self.choice.monitor)

    @cached_property
    def recommendations(self) -> tuple[Recommendation, ...]:
        """A careful, a balanced and an eager policy; none if nothing can be learnt from the runs."""
        return () if self.nothing_to_learn else tuple(self._recommend(advice) for advice in ADVICE)

    def estimate(self, number: int) -> Estimate:
        """Return what the policy of this number saves and loses on these runs."""
        values = (self.fraction_saved, self.mean_lost, self.worst_lost)
        return Estimate(*(float(each[number]) for each in values))

    def as_data(self) -> dict[str, Any]:
        """Return the sweep as plain data for machines. Epochs count from 0.

        If all runs are loops by steps, it has no ``start_from_epoch``.
        """
        return {
            "library": self.library,
            **self.choice._asdict(),
            "runs": list(self.curves.names),
            "policies": len(self.grid),
            "grid": {name: list(values) for name, values in self.grid.axes.items() if name not in self._left_out},
            "frontier": [{**self.grid[number].options, **self.estimate(number)._asdict()} for number in self.frontier],
            "recommendations": {
                each.advice: {
                    "settings": _settings_of(each.callback),
                    "within_limit": each.within_limit,
                    "on_these_runs": each.on_these._asdict(),
                    "on_a_run_left_out": each.on_others._asdict() if each.on_others else None,
                }
                for each in self.recommendations
            },
            "nothing_to_learn": self.nothing_to_learn,
            "groups": None if self.groups is None else self.groups._asdict(),
            "notes": list(self.notes),
        }

    def as_rows(self) -> list[dict[str, Any]]:
        """Return a table for machines, with one row for each policy."""
        best = set(self.frontier.tolist())
        return [
            {
                **{name: getattr(policy, name) for name in reversed(policy._fields) if name not in self._left_out},
                **self.estimate(number)._asdict(),
                "quality_lost_mean": float(self.quality_lost[number].mean()),
                "quality_lost_worst": float(self.quality_lost[number].max()),
                "on_frontier": number in best,
            }
            for number, policy in enumerate(self.grid)
        ]

    @property
    def _left_out(self) -> tuple[str, ...]:
        """The options that mean nothing in any of the runs."""
        return ("start_from_epoch",) if "epoch" not in self.curves.units else ()

    def _at_stop(self, values: NDArray[Any], otherwise: Any) -> NDArray[Any]:
        """Return the values in the columns of the stops, [policy, run]; ``otherwise`` for a run that does not stop."""
        return np.where(self.stops < 0, otherwise, values[np.arange(len(values)), self.stops])

    def _recommend(self, advice: Advice) -> Recommendation:
        limit = ADVICE[advice]
        number = most_saving(self.fraction_saved, self.mean_lost, self.worst_lost, limit)
        saved, epochs = self.epochs_saved.astype(np.float64), self.epochs.astype(np.float64)
        others = leave_one_out(saved, epochs, self.fraction_lost, limit, self.groups and self.groups.names)
        policy = self.grid[number]
        library = find_library(self.library)
        callback = policy.callback(self.choice.monitor, self.choice.mode, library, self.fixed)
        within = bool(limit.allows(self.mean_lost, self.worst_lost)[number])
        return Recommendation(advice, number, policy, callback, self.estimate(number), others, within)


def sweep(
    recordings: Sequence[Recording],
    *,
    patience: Sequence[int] | None = None,
    min_delta: Sequence[float] | None = None,
    start_from_epoch: Sequence[int] | None = None,
    baseline: Sequence[float | None] | None = None,
    smoothing: Sequence[str | None] | None = None,
    fixed: Fixed | None = None,
    runs: str | None = None,
    called: Callable[[str], str] = str,
    by: str = "trainbus",
    monitor: str | None = None,
    mode: Literal["auto", "min", "max"] = "auto",
) -> Sweep:
    """Return what every combination of these options of EarlyStopping saves and loses on all runs.

    The quality of a policy is the best value up to its stop, which a checkpoint with ``save_best_only`` keeps: of every
    validation if ``fixed`` looks at validations, otherwise of every epoch. It is that of ``replay``.

    Args:
        recordings: The runs.
        patience: Values to try. For this and the next options, None chooses values that suit the runs.
        min_delta: Values to try.
        start_from_epoch: Values to try.
        baseline: Values to try, with None for no baseline; by default only None is tried.
        smoothing: Values to try, with None for no smoothing.
        fixed: An early stopping whose options all policies share, or these options by name, as the library calls them.
            An option that a sweep varies is tried with this value only.
        runs: What runs have in common that are not independent of each other: "folder", "seed", or the name of a
            setting. Such runs are left out together. None takes the seed, if it is known and several runs have one.
        called: Returns what messages call an argument, such as "fixed".
        by: The library whose rules apply: "trainbus", "keras", "torch", "lightning", "ignite" or "hf".
        monitor: The metric that decides; by default the one that the record names, else the one
            that a practitioner would look at.
        mode: The direction in which it improves; "auto" infers it from the name.

    Returns:
        The stops of all policies in all runs, with savings and losses.

    Raises:
        SettingsError: There are no runs, or an option is wrong, is unknown to the library, or is given twice.
        MissingMetric: No run logs the metric.
        UnknownDirection: The direction of the metric cannot be inferred from its name.

    >>> from trainbus.replay import Series
    >>> loss = np.array([3.0, 2.0, 2.5, 2.2, 1.0, 1.1, 1.2, 1.3])
    >>> run = Recording("a", np.arange(8), {"loss": Series(loss, np.isfinite(loss))})
    >>> found = sweep([run], patience=[1, 2, 3], min_delta=[0], start_from_epoch=[0], smoothing=[None])
    >>> found.stopped.tolist(), found.quality_lost.tolist()
    ([[2], [3], [7]], [[1.0], [1.0], [0.0]])
    """
    library = find_library(by)
    axes: dict[str, Sequence[Any] | None] = {
        "patience": patience,
        "min_delta": min_delta,
        "start_from_epoch": start_from_epoch,
        "baseline": baseline,
        "smoothing": smoothing,
    }
    if units_of(recordings) - {"epoch"} and (start := next((each for each in start_from_epoch or () if each), 0)):
        raise SettingsError(
            f"{called('start_from_epoch')}={start}: a loop by steps has no epochs; leave it out, or give min_steps, as "
            "in fixed=EarlyStopping(min_steps=500), on the command line --early-stopping min_steps=500"
        )
    shared = share(fixed, axes, library, recordings, monitor, mode, called)
    choices, tie_breaker = shared.choices, shared.tie_breaker
    choice = choices[0]
    logging, notes = with_metrics(recordings, [*choices, *([tie_breaker] if tie_breaker else [])])
    notes += unanswered(called("fixed"), shared.callback, logging) if shared.callback else ()
    looking = shared.callback if isinstance(shared.callback, EarlyStopping) else None
    frequency = library.looks if looking is None else looking.frequency
    stepped = looking is not None and needs_steps(looking)
    curves = build_curves(logging, choice, frequency, each_row=stepped)  # a look may see no new value of this metric
    axes |= shared.axes
    if axes["min_delta"] is None and shared.relative:
        axes["min_delta"] = _FRACTIONS
    grid = default_grid(curves, library, shared.check, **axes)
    if len(grid) * len(logging) > _MOST_STOPS:
        raise SettingsError(
            f"{len(grid):,} policies on {len(logging):,} runs are too many: the limit is {_MOST_STOPS:,} "
            "pairs of a policy and a run; give fewer values"
        )
    if stepped:
        policies = (each.callback(choice.monitor, choice.mode, library, shared.options) for each in grid)
        stops = step_policies(cast("Iterator[EarlyStopping]", policies), logging, choices, tie_breaker)
    else:
        others = {name: value for name, value in shared.options.items() if name not in _OWN}
        stops = find_stops(curves, grid, library, others)
    groups = same_seed(logging) if runs is None else group_runs(logging, runs, called("runs"))
    return Sweep(grid, library.name, choice, curves, stops, tuple(notes), shared.options, groups)


_OWN: Final = ("monitor", "mode", "verbose", "restore_best_weights")
"""The options that do not change where a rule stops a recorded run."""


def _settings_of(callback: MonitoredCallback) -> dict[str, Any]:
    """Return the callback as plain data for a settings file, without options at their defaults."""
    given = callback.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    return {"callback": "EarlyStopping", "monitor": callback.monitor, **given}
