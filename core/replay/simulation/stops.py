"""Where early stopping stops runs: its rule steps over all runs at once, column by column of their ``Curves``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainbus import MonitoredCallback
from trainbus.plugins.frequency import EVERY_EPOCH, Frequency

from ..curves import Curves
from ..libraries.library import RuleSpec
from ..records import Recording, SimulatedAction
from .stepped_stops import NEVER, Look, look_at, stop_actions


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
    arguments = {**spec.arguments(options, curves.sign), **spec.recorded(curves)}
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
    recordings: Sequence[Recording],
    actions: list[list[SimulatedAction]],
    frequency: Frequency = EVERY_EPOCH,
) -> NDArray[np.int64]:
    """Add the actions of early stopping to the list of each run.

    Args:
        name: The name of the callback.
        callback: The callback.
        curves: The runs, with the rows of ``Recording.at``.
        spec: The rule to step.
        recordings: The runs, with the same rows.
        actions: The actions so far, to which those of the callback are added.
        frequency: After what the library looks at the metrics.

    Returns:
        The epoch in which the callback stops each run, ``NEVER`` if it does not.
    """
    options = callback.model_dump()
    restores = bool(options.get("restore_best_weights"))
    smooth = curves.smoothed(options.get("smoothing"))
    columns, improved = simulate_stops(smooth, spec, options, improvements=True)
    stops = np.where(columns < 0, NEVER, curves.epochs[np.arange(len(columns)), columns])

    def look_in(row: int, column: int) -> Look:
        own = frequency if recordings[row].validations is not None else EVERY_EPOCH
        return look_at(recordings[row], int(curves.rows[row, column]), own)

    for row, stop in enumerate(columns.tolist()):
        looks = np.flatnonzero(improved[:, row]).tolist() if restores and improved is not None else []
        actions[row] += stop_actions(
            name, None if stop < 0 else look_in(row, stop), [look_in(row, each) for each in looks]
        )
    return stops
