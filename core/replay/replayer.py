"""Replay of recorded runs with a list of callbacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from trainbus import Callback, MonitoredCallback, SettingsError, callbacks_from
from trainbus.lifecycle.step_training import epoch_problems
from trainbus.metrics.names import first_free
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.plugins.frequency import EVERY_EPOCH, Frequency
from trainbus.settings.plugin_list import CallbackLike, as_list

from .axis import AXES
from .curves import Curves, build_curves
from .libraries.library import Library, LibraryName
from .libraries.settings import find_library, name_of, translate
from .metric_choice import (
    MetricChoice,
    choose_metric,
    choose_metrics,
    choose_tie_breaker,
    shortened_list,
    with_metrics,
    with_monitor,
)
from .records import Recording, RunOutcome, SavedFile, SimulatedAction, units_of
from .simulation.action_order import sort_actions
from .simulation.cuts import add_cuts
from .simulation.known_values import values_at
from .simulation.saves import simulate_library_saves, simulate_saves
from .simulation.stepped_stops import NEVER, add_stepped_stops, needs_steps
from .simulation.stops import add_stops
from .simulation.unrecorded import counts_rows, limitations


@dataclass(frozen=True)
class Replay:
    """What a list of callbacks would have decided on recorded runs."""

    callbacks: tuple[Callback, ...]
    """The replayed callbacks, with the options of the library."""
    library: LibraryName
    choice: MetricChoice
    """The monitored metric, and why it was chosen; if callbacks monitor different metrics, the first callback's."""
    outcomes: tuple[RunOutcome, ...]
    """One outcome per run, in the order of the runs."""
    notes: tuple[str, ...] = ()
    """What was left out or cannot be known, one sentence each."""

    @property
    def epochs(self) -> int:
        """The number of recorded epochs, and of validations of loops by steps, of all runs."""
        return sum(each.epochs for each in self.outcomes)

    @property
    def epochs_saved(self) -> int:
        """The number of these after the stops, of all runs."""
        return sum(each.epochs_saved for each in self.outcomes)

    @property
    def seconds(self) -> float | None:
        """The seconds from first to last record, of all runs with times; None if no run has any."""
        known = [each.seconds for each in self.outcomes if each.seconds is not None]
        return sum(known) if known else None

    @property
    def seconds_saved(self) -> float | None:
        """The seconds after the stops, of all runs with times; None if no run has any."""
        known = [each.seconds_saved for each in self.outcomes if each.seconds_saved is not None]
        return sum(known) if known else None

    @property
    def quality_lost(self) -> tuple[float, float]:
        """The mean and the highest quality lost, of the runs where it is known."""
        known = [each.quality_lost for each in self.outcomes if each.quality_lost is not None]
        return (float(np.mean(known)), max(known)) if known else (0.0, 0.0)

    @property
    def censored(self) -> int:
        """The number of runs that nothing stops up to their last recorded epoch."""
        return sum(each.censored for each in self.outcomes)

    def as_data(self) -> dict[str, Any]:
        """Return the replay as plain data for machines. Epochs and validations count from 0."""
        mean, worst = self.quality_lost
        counts = dict[str, int]()
        for row in sorted({AXES[unit].row for unit in units_of(self.outcomes)}):
            same = [each for each in self.outcomes if AXES[each.unit].row == row]
            counts |= {f"{row}s": sum(each.epochs for each in same)}
            counts |= {f"{row}s_saved": sum(each.epochs_saved for each in same)}
        return {
            "library": self.library,
            **self.choice._asdict(),
            "callbacks": [{**each.settings(), "callback": name_of(type(each))} for each in self.callbacks],
            "runs": [each.as_data() for each in self.outcomes],
            "total": {
                "runs": len(self.outcomes),
                "censored": self.censored,
                **counts,
                "seconds": self.seconds,
                "seconds_saved": self.seconds_saved,
                "quality_lost_mean": mean,
                "quality_lost_worst": worst,
            },
            "notes": list(self.notes),
        }

    def as_rows(self) -> list[dict[str, Any]]:
        """Return a table for machines, with one row for each run. Of loops by steps, other columns have values."""
        return [each.as_row() for each in self.outcomes]


def replay(
    recordings: Sequence[Recording],
    callbacks: CallbackLike | Sequence[CallbackLike],
    *,
    by: str = "trainbus",
    monitor: str | None = None,
    mode: Literal["auto", "min", "max"] = "auto",
    unset: MetricChoice | None = None,
) -> Replay:
    """Return the decisions that these callbacks would have made on these runs.

    Stops and checkpoints are exact up to the last recorded epoch; a run that no callback stops by then is ``censored``.
    The first learning rate cut is exact. If the recorded run did not make this cut, later actions are hypothetical.

    Args:
        recordings: The runs.
        callbacks: Callbacks, or their settings as plain data. Those that decide nothing are left out.
        by: The library whose rules apply: "trainbus", "keras", "torch", "lightning", "ignite" or "hf". Options that are
            not set have that library's defaults.
        monitor: The metric that all callbacks monitor. By default, each callback monitors its own metric. One that
            sets none monitors the metric that the record itself names, else its default, val_loss, as in a live run,
            else the logged metric that a practitioner would look at.
        mode: The direction in which ``monitor`` improves; "auto" infers it from the name.
        unset: The metric of callbacks that set none, in place of their default, as ``choose_metric`` returns it.

    Returns:
        The outcome of each run, and totals.

    Raises:
        SettingsError: There are no runs, no callback decides anything, or an option is wrong or unknown to the library;
            or it counts epochs, and a run is a loop by steps.
        MissingMetric: No run logs the metric.
        UnknownDirection: The direction of the metric cannot be inferred from its name.

    >>> from trainbus.replay import Series
    >>> loss = np.array([3.0, 2.0, 2.5, 2.2, 1.0])
    >>> run = Recording("a", np.arange(5), {"loss": Series(loss, np.isfinite(loss))})
    >>> result = replay([run], EarlyStopping(patience=2))
    >>> result.outcomes[0].stop, result.outcomes[0].quality_lost
    (SimulatedAction(epoch=3, by='EarlyStopping', action='stop', of=3, exact=True, look=None, step=None), 1.0)
    >>> replay([run], EarlyStopping(patience=3)).outcomes[0].censored
    True
    """
    library = find_library(by)
    named = dict(_named(callbacks, library))
    refuse_epochs(named, recordings)
    stopping, saving = library.stopping.settings, library.checkpoints
    kinds = (stopping, library.plateau.settings, saving.settings if saving else ModelCheckpoint)
    deciders = {name: each for name, each in named.items() if isinstance(each, kinds)}
    if not deciders:
        raise SettingsError(
            "none of these callbacks can be replayed; give an EarlyStopping, a ModelCheckpoint or a ReduceLROnPlateau"
        )
    if saving is not None:
        stoppers = [each for each in deciders.values() if isinstance(each, stopping)]
        deciders |= {
            n: saving.beside(each, stoppers) for n, each in deciders.items() if isinstance(each, saving.settings)
        }
    choices = {name: choose_metrics(each, recordings, monitor, mode, unset) for name, each in deciders.items()}
    deciders = {name: with_monitor(each, choices[name]) for name, each in deciders.items()}
    named |= deciders
    ties = {name: choose_tie_breaker(each, recordings) for name, each in deciders.items()}
    monitored = [each for several in choices.values() for each in several]
    first = monitored[0] if monitored else choose_metric(recordings, monitor, mode)
    wanted = list(dict.fromkeys([first, *monitored, *filter(None, ties.values())]))
    runs, left_out = with_metrics(recordings, wanted)
    curves = {choice: build_curves(runs, choice, library.looks) for choice in wanted}
    looked = [each.at(library.looks) for each in runs]
    actions: list[list[SimulatedAction]] = [[] for _ in runs]
    files: list[tuple[SavedFile, ...]] = [() for _ in runs]
    stops = np.full(len(runs), NEVER)
    for name, callback in deciders.items():
        if isinstance(callback, library.plateau.settings):
            add_cuts(name, callback, choices[name][0], library.plateau, runs, actions, ties[name])
    for name, callback in deciders.items():  # after the cuts, on which they may depend
        if not isinstance(callback, library.stopping.settings):
            continue
        if isinstance(callback, EarlyStopping) and needs_steps(callback):
            found = add_stepped_stops(name, callback, runs, choices[name], ties[name], actions)
        else:
            found = add_stops(
                name, callback, curves[choices[name][0]], library.stopping, looked, actions, library.looks
            )
        stops = np.minimum(stops, found)
    for name, callback in deciders.items():
        choice = choices[name][0] if choices[name] else None
        for row, run in enumerate(runs):
            if isinstance(callback, ModelCheckpoint):
                saved = simulate_saves(name, callback, run, choice, int(stops[row]), ties[name])
            elif saving is not None and isinstance(callback, saving.settings):
                stop = min((each.moment for each in actions[row] if each.action == "stop"), default=None)
                saved = simulate_library_saves(name, callback, library, run, choice, stop)
            else:
                continue
            actions[row] += saved.actions
            files[row] += saved.files
    units = {_look_unit(each, library) for each in deciders.values() if isinstance(each, stopping)}
    seen = [(each, build_curves(runs, first, each)) for each in units]
    outcomes = _outcomes(runs, curves[first], seen, stops, actions, files, deciders)
    notes = (*left_out, *limitations(named, deciders, library, runs))
    return Replay(tuple(named.values()), library.name, first, tuple(outcomes), notes)


def refuse_epochs(named: Mapping[str, Callback], recordings: Sequence[Recording]) -> None:
    """Refuse options that count epochs, as a live loop by steps does.

    Args:
        named: The callbacks by name.
        recordings: The runs.

    Raises:
        SettingsError: There are such options, and a run is a loop by steps.
    """
    by_steps = [each.name for each in recordings if each.by_steps]
    problems = [*epoch_problems(named.items())] if by_steps else []
    if problems:
        others = "" if len(by_steps) == len(recordings) else f", or leave out {shortened_list(by_steps)}"
        raise SettingsError("\n".join(f"{each}{others}" for each in problems))


def _named(callbacks: CallbackLike | Sequence[CallbackLike], library: Library) -> Iterator[tuple[str, Callback]]:
    """Yield each callback, converted to the options of the library, with its name in a run."""
    taken: set[str] = set()
    for item in as_list(callbacks):
        built = callbacks_from([cast("Mapping[str, Any]", item)])[0] if isinstance(item, Mapping) else item
        if not isinstance(built, Callback):
            raise SettingsError(f"{built!r} is not a callback; give trainbus callbacks or their settings")
        callback = translate(library, built)
        name = first_free(name_of(type(callback)), taken)
        taken.add(name)
        yield name, callback


def _outcomes(
    runs: Sequence[Recording],
    curves: Curves,
    seen: Sequence[tuple[Frequency, Curves]],
    stops: NDArray[np.int64],
    actions: Sequence[Sequence[SimulatedAction]],
    files: Sequence[tuple[SavedFile, ...]],
    callbacks: Mapping[str, MonitoredCallback],
) -> Iterator[RunOutcome]:
    for row, run in enumerate(runs):
        last = int(stops[row])
        unsure = tuple(name for name, each in callbacks.items() if counts_rows(each, run))
        decisions = sort_actions(actions[row], last, run, unsure)
        stop = next((each for each in decisions if each.action == "stop"), None)
        known = values_at([(frequency, own) for frequency, own in seen], row, run)
        if not len(known.scores) and stop is None:
            known = values_at([(EVERY_EPOCH, curves)], row, run)
        until = known
        if stop is not None:
            until = known.until(stop.moment if run.goes_on_after(stop) else (stop.epoch, inf))
        steps = dict[int, int]()
        if run.by_steps and run.steps is not None:
            steps = dict(zip(run.epochs.tolist(), run.steps.tolist(), strict=True))
        stopped_at = curves.end[row] if stop is None or run.times is None else run.times[run.epochs == stop.epoch].sum()
        yield RunOutcome(
            run.name,
            first_epoch=int(curves.first[row]),
            last_epoch=int(curves.last[row]),
            decisions=decisions,
            best_seen=known.best(curves.sign, steps),
            best_at_stop=until.best(curves.sign, steps),
            kept=tuple(sorted({each.epoch for each in files[row]})),
            files=files[row],
            seconds=_none_if_nan(curves.end[row] - curves.begin[row]),
            seconds_saved=_none_if_nan(curves.end[row] - stopped_at),
            unit=run.unit,
            steps=steps,
            unsure=unsure,
        )


def _look_unit(callback: MonitoredCallback, library: Library) -> Frequency:
    """Return the frequency of all rows in which the callback may look: every validation, or every epoch."""
    if not isinstance(callback, EarlyStopping):
        return library.looks
    at_validations = callback.frequency.unit == "validation"
    return _EVERY_VALIDATION if at_validations else EVERY_EPOCH


_EVERY_VALIDATION: Final = Frequency(1, "validation")


def _none_if_nan(seconds: Any) -> float | None:
    return None if np.isnan(seconds) else float(seconds)
