"""The cuts of the learning rate on plateaus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainbus import MonitoredCallback
from trainbus.plugins import ReduceLROnPlateau
from trainbus.plugins.frequency import EVERY_EPOCH

from ..curves import build_curves
from ..libraries.library import RuleSpec
from ..metric_choice import MetricChoice
from ..records import Recording, SimulatedAction
from .rates import SimulatedRates, read_rates
from .stepped_stops import look_at


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
    bound = options["min_lr"] if spec.has_floor else 0.0
    rates = read_rates(recordings, curves, bound, options.get("groups"), spec.store_rate)
    floor = rates.floor
    simulated = SimulatedRates(rates)
    rule, state = spec.chosen(options), spec.initial_state
    for column in range(curves.scores.shape[1]):
        rate = simulated.at(column)
        unknown = np.isnan(rate).all(axis=0)
        lowered = (rate > floor) & (rate - np.maximum(rate * factor, floor) > smallest_change)
        changes = unknown | lowered.any(axis=0)
        observed = {"reducible": changes} if spec.takes_reducible else {}
        observed |= {} if seconds is None else {"second": seconds[:, column]}
        state, verdict = rule(state, curves.scores[:, column], **arguments, **observed)
        cut = verdict.reduce & (column < curves.lengths) & changes
        shown = cut & ~simulated.differ & rates.show_cut(column, factor, lowered)
        simulated.cut(cut & ~shown, lowered, factor)
        for row in np.flatnonzero(cut).tolist():
            look = look_at(recordings[row], int(curves.rows[row, column]), frequency)
            actions[row].append(look.action(name, "scale_learning_rate", exact=bool(shown[row])))
