"""The decisions that early stopping, plateaus and checkpoints would have made on recorded runs.

The rules of early stopping and plateaus step over all runs at once, column by column of their ``Curves``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf, nan
from typing import Any, Final, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from trainbus import MonitoredCallback, SettingsError
from trainbus.checkpoints.names.filename_template import render, template_fields
from trainbus.metrics.names import canonical, resolve
from trainbus.plugins import ModelCheckpoint, ReduceLROnPlateau
from trainbus.plugins.frequency import EVERY_EPOCH, Frequency
from trainbus.plugins.rate_groups import unknown_rate
from trainbus.rules import Best, Kept, best_rule, retention_rule

from .curves import Curves, build_curves
from .libraries.settings import RuleSpec
from .metric_choice import MetricChoice
from .records import Action, Recording, SimulatedAction
from .stepped_stops import NEVER, Look, look_at, stop_actions
from .unrecorded import due_saves

_ORDER: Final = get_args(Action)
_RELATIVE_TOLERANCE: Final = 1e-4
"""Relative difference up to which two rates are equal: event files and Keras store them in single precision."""


class SimulatedStops(NamedTuple):
    """The columns at which a policy stops each run."""

    column: NDArray[np.int64]
    """The column of the value at which the run stops, -1 if it does not; [run] or [policy, run]."""
    improved: NDArray[np.bool_] | None = None
    """Which values up to the stop were improvements, [column, run]; None unless requested."""


def simulate_stops(
    curves: Curves, spec: RuleSpec, options: Mapping[str, Any], *, improvements: bool = False
) -> SimulatedStops:
    """Return where runs stop with these options.

    Args:
        curves: The runs.
        spec: The rule to step.
        options: Numbers by name, or columns of numbers with one row for each policy.
        improvements: Whether to return the improvements too.
    """
    arguments = spec.arguments(options, curves.sign)
    runs, columns = curves.scores.shape
    rule, state = spec.chosen(options), spec.initial_state
    shape = np.broadcast_shapes((runs,), *(np.shape(each) for each in arguments.values()))
    stops = np.full(shape, -1, dtype=np.int64)
    improved = np.zeros((columns, *shape), dtype=np.bool_) if improvements else None
    scores, epochs = np.ascontiguousarray(curves.scores.T), np.ascontiguousarray(curves.epochs.T)
    for column in range(columns):
        observed = {"step": curves.steps[:, column]} if arguments.get("min_steps") else {}
        state, verdict = rule(state, scores[column], epochs[column], **arguments, **observed)
        running = stops < 0
        if improved is not None:
            improved[column] = verdict.best & running
        stops[running & verdict.stop] = column
        if not running.any():
            break
    return SimulatedStops(stops, improved)


def add_stops(
    name: str,
    callback: MonitoredCallback,
    curves: Curves,
    spec: RuleSpec,
    actions: list[list[SimulatedAction]],
) -> NDArray[np.int64]:
    """Add the actions of early stopping to the list of each run.

    Returns:
        The epoch in which the callback stops each run, ``NEVER`` if it does not.
    """
    options = callback.model_dump()
    restores = bool(options.get("restore_best_weights"))
    smooth = curves.smoothed(options.get("smoothing"))
    columns, improved = simulate_stops(smooth, spec, options, improvements=True)
    stops = np.where(columns < 0, NEVER, curves.epochs[np.arange(len(columns)), columns])
    for row, stop in enumerate(columns.tolist()):
        looks = np.flatnonzero(improved[:, row]).tolist() if restores and improved is not None else []
        kept = [_look_in(curves, row, each) for each in looks]
        actions[row] += stop_actions(name, None if stop < 0 else _look_in(curves, row, stop), kept)
    return stops


def _look_in(curves: Curves, row: int, column: int) -> Look:
    """Return the look at the end of an epoch."""
    found = (each[row, column] for each in (curves.rows, curves.epochs, curves.steps))
    place, epoch, step = map(int, found)
    return Look(place, epoch, None, step)


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

    def show_cut(self, column: int, factor: float, cut: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which runs show a cut by this factor of all the rates in ``cut``, [rate, run], at this column."""

        def follows(rate: NDArray[np.float64], earlier: NDArray[np.float64]) -> NDArray[np.bool_]:
            lowered = np.maximum(earlier * factor, self.floor)
            return np.isclose(rate, lowered, rtol=_RELATIVE_TOLERANCE, atol=0) & (rate < earlier)

        at, before, after = (each[:, :, column] for each in self[:3])
        shown: NDArray[np.bool_] = ~cut | follows(after, at) | follows(at, before)
        every, some = np.logical_and.reduce(shown), np.logical_or.reduce(cut)
        return np.asarray(every & some, dtype=np.bool_)


def read_rates(
    recordings: Sequence[Recording],
    curves: Curves,
    min_lr: float | Mapping[str, float] = 0.0,
    groups: Sequence[str] | None = None,
    convert: Callable[[float], float] = float,
) -> RecordedRates:
    """Return the recorded learning rates at the columns of the curves of the same recordings.

    Args:
        recordings: The runs.
        curves: Their curves.
        min_lr: The lower bound of every rate, or of each that is named.
        groups: The names of the rates that may be cut; None for all.
        convert: Converts a lower bound as the library does.

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
            floors[number, row] = convert(named.get(name, 0.0) if isinstance(min_lr, Mapping) else min_lr)
            known = np.flatnonzero(~np.isnan(rates))
            index = np.searchsorted(known, wanted, side="right") - 1
            for values, offset in ((at, 0), (before, -1), (after, 1)):
                place = index + offset
                inside = (place >= 0) & (place < known.size)
                if known.size:
                    given = rates[known][np.clip(place, 0, known.size - 1)]
                    values[number, row, : len(wanted)] = np.where(inside, given, np.nan)
        if not series:
            floors[:, row] = 0.0 if isinstance(min_lr, Mapping) else convert(min_lr)
    return RecordedRates(at, before, after, floors)


def _series_of(
    recording: Recording, names: Sequence[str], groups: Sequence[str] | None
) -> dict[str, NDArray[np.float64]]:
    """Return the rates of a run by name, NaN where they are not logged; only the highest if no option names a rate."""
    found = {
        name: np.where(each.logged, each.values, np.nan)
        for name, each in recording.metrics.items()
        if canonical(name).startswith("learning_rate")
    }
    if not found or not names:
        return {"": np.fmax.reduce(list(found.values()))} if found else {}
    given = {canonical(name): name for name in names}
    for label, name in given.items():
        if label not in map(canonical, found):
            raise SettingsError(f"{recording.name}: {unknown_rate(name, found)}")
    named = {given.get(canonical(name), name): rates for name, rates in found.items()}
    return {name: rates for name, rates in named.items() if groups is None or name in groups}


def add_cuts(
    name: str,
    callback: MonitoredCallback,
    choice: MetricChoice,
    spec: RuleSpec,
    recordings: Sequence[Recording],
    actions: list[list[SimulatedAction]],
    tie_breaker: MetricChoice | None = None,
) -> None:
    """Add the learning rate cuts to the list of each run; a cut that the recorded run did not make is not exact.

    A run without recorded rates is assumed to be above the floor. After a cut that the record does not show, the
    recorded rates are scaled as if the metric had stayed as recorded.

    Raises:
        SettingsError: An option names a rate that a run with rates has not logged.
    """
    options = callback.model_dump()
    frequency = callback.frequency if isinstance(callback, ReduceLROnPlateau) else EVERY_EPOCH
    recordings = [each.at(frequency) for each in recordings]
    curves = build_curves(recordings, choice)
    if frequency.skips_values:
        due = [each.due(frequency) for each in recordings]
        never = [np.zeros(len(each.epochs), np.bool_) for each in recordings]
        curves = curves.at(recordings, [no if each is None else each for each, no in zip(due, never, strict=True)])
    arguments = spec.arguments(options, curves.sign)
    last = frequency.skips_values
    seconds = None if tie_breaker is None else curves.scores_of(recordings, tie_breaker, last=last)
    factor, smallest_change = options["factor"], options.get("eps", 0.0)
    bound = 0.0 if spec.floor is None else options["min_lr"]
    rates = read_rates(recordings, curves, bound, options.get("groups"), spec.floor or float)
    floor = rates.floor
    rule, state, scale = spec.chosen(options), spec.initial_state, np.ones(len(curves.names))
    for column in range(curves.scores.shape[1]):
        recorded = rates.at[:, :, column]
        rate = np.where(scale < 1, np.maximum(recorded * scale, floor), recorded)
        unknown = np.isnan(rate).all(axis=0)
        lowered = (rate > floor) & (rate - np.maximum(rate * factor, floor) > smallest_change)
        changes = unknown | lowered.any(axis=0)
        observed = {"reducible": changes} if spec.takes_reducible else {}
        observed |= {} if seconds is None else {"second": seconds[:, column]}
        state, verdict = rule(state, curves.scores[:, column], **arguments, **observed)
        cut = verdict.reduce & (column < curves.lengths) & changes
        shown = cut & (scale == 1) & rates.show_cut(column, factor, lowered)
        scale = np.where(cut & ~shown, scale * factor, scale)
        for row in np.flatnonzero(cut).tolist():
            look = look_at(recordings[row], int(curves.rows[row, column]), frequency)
            actions[row].append(look.action(name, "scale_learning_rate", exact=bool(shown[row])))


def simulate_saves(
    name: str,
    callback: ModelCheckpoint,
    recording: Recording,
    choice: MetricChoice | None,
    until: int,
    tie_breaker: MetricChoice | None = None,
) -> tuple[list[SimulatedAction], list[int]]:
    """Return the saves and removals up to the epoch ``until``, and the epochs whose models the files then contain.

    The rules are those of the live callback. Both lists are empty if it may save where nothing is recorded.
    """
    frequency = Frequency.parse(callback.save_freq)
    due = due_saves(callback, recording)
    if due is None:
        return [], []
    if frequency.unit == "validation":
        due &= recording.validated
    waits, waiting = callback.monitors(), False
    saves_last = recording.unit == "validation" and callback.keep_last is not None and not callback.save_best_only
    saves_now = frequency.in_epochs or saves_last
    monitor = choice.name_in(recording) if choice is not None else None
    sign = choice.sign if choice is not None else 1
    second_name = tie_breaker.name_in(recording) if tie_breaker is not None else None
    ties = callback.ties == "newer"
    threshold = callback.initial_value_threshold
    best = Best() if threshold is None else Best(sign * threshold)
    kept: tuple[Kept, ...] = ()
    actions: list[SimulatedAction] = []
    files: dict[str, int] = {}
    for index, epoch in enumerate(recording.epochs.tolist()):
        if epoch > until or not (due[index] or waiting):
            continue
        value, other = _value_at(recording, monitor, index), _value_at(recording, second_name, index)
        waiting = waits and value is None
        if waiting and not (due[index] and saves_now):
            continue  # the save that is due comes with the next value
        second = -inf if tie_breaker is None or other is None else tie_breaker.sign * other
        if callback.save_best_only:
            if value is None:
                continue
            best, improved = best_rule(best, sign * value, epoch, second=second, ties=ties)
            if not improved:
                continue
        path = _file_name(callback.filepath, recording, index)
        forgotten: tuple[str, ...] = ()
        if callback.keep or callback.keep_last:
            new = Kept(path, epoch, epoch, nan if value is None else sign * value, second)
            counts = {"best": callback.keep or 0, "last": callback.keep_last or 0}
            kept, verdict = retention_rule(kept, new, **counts, ties=ties)
            if not verdict.save:
                continue
            forgotten = verdict.forget
        actions.append(SimulatedAction(epoch, name, "save", epoch))
        actions += [SimulatedAction(epoch, name, "forget", files.pop(old)) for old in forgotten]
        files[path] = epoch
    return actions, sorted(files.values())


def sort_actions(
    actions: Sequence[SimulatedAction], stop: int, recording: Recording, unsure: Collection[str] = ()
) -> tuple[SimulatedAction, ...]:
    """Return the actions up to the stop in the order of execution; those after an unrecorded cut are not exact.

    Args:
        actions: The actions.
        stop: The epoch of the stop.
        recording: The run. If it has gone on in this epoch, with further validations, what follows there is not exact.
        unsure: The callbacks of which no action is exact.
    """
    # the first cut itself is exact, and so is everything else until the next values
    cuts = [each for each in actions if each.action == "scale_learning_rate" and not each.exact]
    stops = [each for each in actions if each.action == "stop" and recording.goes_on_after(each)]
    limits = (each.moment if recording.goes_on_after(each) else (each.epoch, inf) for each in (*cuts, *stops))
    limit = min(limits, default=(stop, inf))
    ranked = sorted(actions, key=lambda each: (each.moment, _ORDER.index(each.action), each.by, each.of))
    return tuple(
        each._replace(exact=each.moment <= limit and each.by not in unsure) for each in ranked if each.epoch <= stop
    )


def _value_at(recording: Recording, name: str | None, index: int) -> float | None:
    """Return the value of a metric at an index of the recording; None if it was not logged."""
    series = recording.metrics[name] if name is not None else None
    return float(series.values[index]) if series is not None and series.logged[index] else None


def _file_name(template: str, recording: Recording, index: int) -> str:
    """Return the file name of an epoch; a field that is not recorded is the same in all file names of the run."""
    epoch = int(recording.epochs[index])
    values: dict[str, float | str] = {
        "run": "{run}",
        "part": "{part}",
        "epoch": epoch + 1,
        "epoch0": epoch,
        "step": epoch + 1 if recording.steps is None else int(recording.steps[index]),
        "batch": 0,
    }
    for name in template_fields(template):
        if name not in values:
            value = _value_at(recording, resolve(name, recording.metrics), index)
            values[name] = nan if value is None else value
    return render(template, values, lambda _: None)  # as in a run, which reports a value that does not fit its format
