"""The decisions that early stopping, plateaus and checkpoints would have made on recorded runs.

The rules of early stopping and plateaus step over all runs at once, column by column of their ``Curves``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any, Final, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from trainbus import MonitoredCallback
from trainbus.checkpoints.names.filename_template import render, template_fields
from trainbus.metrics.names import canonical, resolve
from trainbus.plugins import ModelCheckpoint
from trainbus.plugins.model_checkpoint.schedule import SaveFrequency
from trainbus.rules import Best, Kept, best_rule, retention_rule

from .curves import Curves
from .library_settings import RuleSpec
from .metric_choice import MetricChoice
from .records import Action, Recording, SimulatedAction

NEVER: Final = int(np.iinfo(np.int64).max)
"""The stop epoch of a run that no callback stops."""

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
    state = spec.initial_state
    shape = np.broadcast_shapes((runs,), *(np.shape(each) for each in arguments.values()))
    stops = np.full(shape, -1, dtype=np.int64)
    improved = np.zeros((columns, *shape), dtype=np.bool_) if improvements else None
    scores, epochs = np.ascontiguousarray(curves.scores.T), np.ascontiguousarray(curves.epochs.T)
    for column in range(columns):
        state, verdict = spec.rule(state, scores[column], epochs[column], **arguments)
        running = stops < 0
        if improved is not None:
            improved[column] = verdict.improved & running
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
    for row, stop in enumerate(stops.tolist()):
        if stop != NEVER:
            actions[row].append(SimulatedAction(stop, name, "stop", stop))
        if restores and improved is not None:
            kept = curves.epochs[row, np.flatnonzero(improved[:, row])].tolist()
            actions[row] += [SimulatedAction(epoch, name, "keep", epoch) for epoch in kept]
            if stop != NEVER and kept:
                actions[row].append(SimulatedAction(stop, name, "restore", kept[-1]))
    return stops


class RecordedRates(NamedTuple):
    """The highest recorded learning rate of each run, [run, column]; NaN if unknown.

    Some writers log a rate before its epoch and some after it, so a cut may show between an epoch and either of its
    neighbours.
    """

    at: NDArray[np.float64]
    """The rate in the epoch of the column."""
    before: NDArray[np.float64]
    """The rate in the epoch before."""
    after: NDArray[np.float64]
    """The rate in the epoch after."""

    def show_cut(self, column: int, factor: float, floor: float) -> NDArray[np.bool_]:
        """Return which runs show a cut by this factor at this column."""

        def follows(rate: NDArray[np.float64], earlier: NDArray[np.float64]) -> NDArray[np.bool_]:
            lowered = np.maximum(earlier * factor, floor)
            return np.isclose(rate, lowered, rtol=_RELATIVE_TOLERANCE, atol=0) & (rate < earlier)

        at, before, after = (each[:, column] for each in self)
        return follows(after, at) | follows(at, before)


def read_rates(recordings: Sequence[Recording], curves: Curves) -> RecordedRates:
    """Return the recorded learning rates at the columns of the curves of the same recordings."""
    at, before, after = np.full((3, *curves.scores.shape), np.nan)
    for row, recording in enumerate(recordings):
        series = [each for name, each in recording.metrics.items() if canonical(name).startswith("learning_rate")]
        if not series:
            continue
        highest = np.fmax.reduce([np.where(each.logged, each.values, np.nan) for each in series])
        known = np.flatnonzero(~np.isnan(highest))
        if not known.size:
            continue
        epochs, rates = recording.epochs[known], highest[known]
        wanted = curves.epochs[row, : curves.lengths[row]]
        index = np.searchsorted(epochs, wanted, side="right") - 1
        for values, offset in ((at, 0), (before, -1), (after, 1)):
            chosen = index + offset
            inside = (chosen >= 0) & (chosen < len(rates))
            values[row, : len(wanted)] = np.where(inside, rates[np.clip(chosen, 0, len(rates) - 1)], np.nan)
    return RecordedRates(at, before, after)


def add_cuts(
    name: str,
    callback: MonitoredCallback,
    curves: Curves,
    spec: RuleSpec,
    rates: RecordedRates,
    actions: list[list[SimulatedAction]],
) -> None:
    """Add the learning rate cuts to the list of each run; a cut that the recorded run did not make is not exact.

    A run without recorded rates is assumed to be above the floor. After a cut that the record does not show, the
    recorded rate is scaled as if the metric had stayed as recorded.
    """
    options = callback.model_dump()
    arguments = spec.arguments(options, curves.sign)
    factor, smallest_change = options["factor"], options.get("eps", 0.0)
    floor = spec.floor(options)
    state, scale = spec.initial_state, np.ones(len(curves.names))
    for column in range(curves.scores.shape[1]):
        recorded = rates.at[:, column]
        rate = np.where(scale < 1, np.maximum(recorded * scale, floor), recorded)
        unknown = np.isnan(rate)
        reducible = {"reducible": unknown | (rate > floor)} if spec.takes_reducible else {}
        state, verdict = spec.rule(state, curves.scores[:, column], **arguments, **reducible)
        lowered = np.maximum(rate * factor, floor)
        cut = verdict.reduce & (column < curves.lengths) & (unknown | (rate - lowered > smallest_change))
        shown = cut & (scale == 1) & rates.show_cut(column, factor, floor)
        scale = np.where(cut & ~shown, scale * factor, scale)
        for row in np.flatnonzero(cut).tolist():
            epoch = int(curves.epochs[row, column])
            actions[row].append(SimulatedAction(epoch, name, "scale_learning_rate", epoch, bool(shown[row])))


def save_interval(callback: ModelCheckpoint) -> int | None:
    """Return the number of epochs between saves; None if the callback saves inside epochs, which is not recorded."""
    frequency = SaveFrequency.parse(callback.save_freq)
    return frequency.every if frequency.unit == "epoch" else None


def simulate_saves(
    name: str, callback: ModelCheckpoint, recording: Recording, choice: MetricChoice | None, until: int
) -> tuple[list[SimulatedAction], list[int]]:
    """Return the saves and removals up to the epoch ``until``, and the epochs whose models the files then contain.

    The rules are those of the live callback. Both lists are empty if ``save_interval`` is None.
    """
    every = save_interval(callback)
    if every is None:
        return [], []
    monitor = choice.name_in(recording) if choice is not None else None
    sign = choice.sign if choice is not None else 1
    threshold = callback.initial_value_threshold
    best = Best() if threshold is None else Best(sign * threshold)
    kept: tuple[Kept, ...] = ()
    actions: list[SimulatedAction] = []
    files: dict[str, int] = {}
    for index, epoch in enumerate(recording.epochs.tolist()):
        if epoch > until or (epoch + 1) % every:
            continue
        value = _value_at(recording, monitor, index)
        if callback.save_best_only:
            if value is None:
                continue
            best, improved = best_rule(best, sign * value, epoch)
            if not improved:
                continue
        path = _file_name(callback.filepath, recording, index)
        forgotten: tuple[str, ...] = ()
        if callback.keep or callback.keep_last:
            new = Kept(path, epoch, epoch, nan if value is None else sign * value)
            kept, verdict = retention_rule(kept, new, best=callback.keep or 0, last=callback.keep_last or 0)
            if not verdict.save:
                continue
            forgotten = verdict.forget
        actions.append(SimulatedAction(epoch, name, "save", epoch))
        actions += [SimulatedAction(epoch, name, "forget", files.pop(old)) for old in forgotten]
        files[path] = epoch
    return actions, sorted(files.values())


def sort_actions(actions: Sequence[SimulatedAction], stop: int) -> tuple[SimulatedAction, ...]:
    """Return the actions up to the stop in the order of execution; those after an unrecorded cut are not exact."""
    # the first cut itself is exact, and so is everything else in the same epoch
    unrecorded = [each.epoch for each in actions if each.action == "scale_learning_rate" and not each.exact]
    limit = min(unrecorded, default=stop)
    ranked = sorted(actions, key=lambda each: (each.epoch, _ORDER.index(each.action), each.by, each.of))
    return tuple(each._replace(exact=each.epoch <= limit) for each in ranked if each.epoch <= stop)


def _value_at(recording: Recording, name: str | None, index: int) -> float | None:
    """Return the value of a metric at an index of the recording; None if it was not logged."""
    series = recording.metrics[name] if name is not None else None
    return float(series.values[index]) if series is not None and series.logged[index] else None


def _file_name(template: str, recording: Recording, index: int) -> str:
    """Return the file name of an epoch; a field that is not recorded is the same in all file names of the run."""
    epoch = int(recording.epochs[index])
    values: dict[str, float] = {"epoch": epoch + 1, "epoch0": epoch, "step": epoch + 1, "batch": 0}
    for name in template_fields(template):
        if name not in values:
            value = _value_at(recording, resolve(name, recording.metrics), index)
            values[name] = nan if value is None else value
    return render(template, values, lambda _: None)  # as in a run, which reports a value that does not fit its format
