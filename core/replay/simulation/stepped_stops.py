"""Early stopping on one recorded run, look by look, for options that depend on more than one metric."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainbus.metrics.smoothing import Smoothing
from trainbus.plugins import EarlyStopping
from trainbus.plugins.frequency import EVERY_EPOCH, Frequency
from trainbus.rules import Patience, early_stopping_rule, held_back, threshold_rule

from ..curves import filled_forward, last_unseen
from ..metric_choice import MetricChoice
from ..records import UNKNOWN, Action, Recording, SimulatedAction

NEVER: Final = int(np.iinfo(np.int64).max)
"""The stop epoch of a run that no callback stops."""


class Look(NamedTuple):
    """A row of a recording in which a callback looks at the metrics."""

    row: int
    epoch: int
    """Counted from 0."""
    look: int | None
    """After which validation of its epoch, counted from 0; None at the end of the epoch."""
    step: int
    """Weight updates until then; ``UNKNOWN`` if they are not recorded."""

    @property
    def moment(self) -> tuple[int, float]:
        """When it comes, as in ``SimulatedAction.moment``."""
        return self.epoch, inf if self.look is None else self.look

    def action(self, by: str, action: Action, of: int | None = None, *, exact: bool = True) -> SimulatedAction:
        """Return an action that follows from it.

        Args:
            by: The name of the callback.
            action: What it does.
            of: The epoch whose model it concerns; None for this one.
            exact: Whether the recorded run has done the same.
        """
        step = None if self.look is None or self.step == UNKNOWN else self.step
        return SimulatedAction(self.epoch, by, action, self.epoch if of is None else of, exact, self.look, step)


def look_at(rows: Recording, row: int, frequency: Frequency) -> Look:
    """Return the look in a row of ``Recording.at``.

    Args:
        rows: What ``Recording.at`` returns.
        row: The number of the row.
        frequency: When the callback looks.
    """
    number = int(rows.looks[row]) if frequency.unit == "validation" else None
    return Look(row, int(rows.epochs[row]), number, UNKNOWN if rows.steps is None else int(rows.steps[row]))


class SteppedStops(NamedTuple):
    """Where early stopping stops a run, and where the first metric was the best so far."""

    stop: Look | None
    bests: tuple[Look, ...]


def needs_steps(callback: EarlyStopping) -> bool:
    """Return whether the rule cannot step many runs at once with these options."""
    return bool(
        len(callback.monitored()) > 1
        or callback.tie_breaker
        or callback.reset_on_lr_cut
        or callback.frequency != EVERY_EPOCH
    )


def add_stepped_stops(
    name: str,
    callback: EarlyStopping,
    recordings: Sequence[Recording],
    choices: Sequence[MetricChoice],
    tie_breaker: MetricChoice | None,
    actions: list[list[SimulatedAction]],
) -> NDArray[np.int64]:
    """Do the same as ``add_stops``, run by run; the lists of actions have the cuts already.

    Args:
        name: The name of the callback.
        callback: The callback.
        recordings: The runs.
        choices: The metrics that the callback monitors.
        tie_breaker: The metric that breaks ties.
        actions: The actions so far, to which those of the callback are added.

    Returns:
        The epoch in which the callback stops each run, ``NEVER`` if it does not.
    """
    stops = np.full(len(recordings), NEVER)
    for row, recording in enumerate(recordings):
        cuts = {each.moment for each in actions[row] if each.action == "scale_learning_rate"}
        found = step_stops(callback, recording, choices, tie_breaker, cuts)
        stops[row] = NEVER if found.stop is None else found.stop.epoch
        actions[row] += stop_actions(name, found.stop, found.bests if callback.restore_best_weights else ())
    return stops


def stop_actions(name: str, stop: Look | None, kept: Sequence[Look]) -> list[SimulatedAction]:
    """Return the actions of early stopping: keeping the weights at some looks, the stop, restoring the last."""
    actions = [each.action(name, "keep") for each in kept]
    if stop is not None:
        actions.append(stop.action(name, "stop"))
        actions += [stop.action(name, "restore", kept[-1].epoch)] if kept else []
    return actions


def step_stops(
    callback: EarlyStopping,
    recording: Recording,
    choices: Sequence[MetricChoice],
    tie_breaker: MetricChoice | None = None,
    cuts: Collection[tuple[int, float]] = (),
) -> SteppedStops:
    """Step the rules of the live callback over the looks at one run.

    Args:
        callback: The callback; without a known moment of each look, it never stops.
        recording: The run.
        choices: The metrics that the callback monitors.
        tie_breaker: The metric that breaks ties.
        cuts: The moments at which the learning rate is cut.
    """
    frequency, by_epoch = callback.frequency, callback.frequency.in_epochs
    rows = recording.at(frequency)
    due = rows.due(frequency)
    if due is None:
        return SteppedStops(None, ())
    used = np.ones(len(rows.epochs), np.bool_) if frequency == EVERY_EPOCH else rows.epochs >= callback.start_from_epoch
    places = np.flatnonzero(due & used)
    metrics = [_Metric(callback, rows, each, tie_breaker, used, places) for each in choices]
    stalled, bests = [False] * len(metrics), list[Look]()
    looks, last = 0, (-1, 0.0)
    for index in places.tolist():
        look = look_at(rows, index, frequency)
        epoch, now = look.epoch, look.moment
        if callback.reset_on_lr_cut and any(last <= cut < now for cut in cuts):
            for each in metrics:
                each.state = each.state._replace(wait=0)
            stalled = [False] * len(metrics)
        verdicts = [each.look(index, epoch if by_epoch else looks) for each in metrics]
        if all(each is None for each in verdicts):
            continue
        last, looks = now, looks + 1
        stalled = [was if each is None else bool(each.stop) for was, each in zip(stalled, verdicts, strict=True)]
        if verdicts[0] is not None and verdicts[0].best:
            bests.append(look)
        stops = [each is not None and bool(each.stop) for each in verdicts]
        at_once = any(each.crossed for each, stop in zip(metrics, stops, strict=True) if stop)
        asks = all(stalled) if callback.stop_when == "all" and not at_once else any(stops)
        held = held_back(epoch, look.step, min_epochs=callback.min_epochs, min_steps=callback.min_steps)
        if asks and not held and not (callback.reset_on_lr_cut and now in cuts):
            return SteppedStops(look, tuple(bests))
    return SteppedStops(None, tuple(bests))


class _Metric:
    """One metric of a run, with the state of its rule.

    Args:
        callback: The callback.
        rows: The rows in which it may look.
        choice: The metric.
        tie_breaker: The metric that breaks its ties.
        used: The rows whose values are used.
        looks: The rows in which it looks.
    """

    def __init__(
        self,
        callback: EarlyStopping,
        rows: Recording,
        choice: MetricChoice,
        tie_breaker: MetricChoice | None,
        used: NDArray[np.bool_],
        looks: NDArray[np.int64],
    ) -> None:
        self.state = Patience()
        self.crossed = False
        """Whether the last value has crossed a threshold, or was not finite where this stops the run."""
        values, logged = choice.series_in(rows)
        places = np.flatnonzero(logged & used)
        columns, seen = last_unseen(places, looks)
        self.scores = dict(zip(seen.tolist(), (choice.sign * values[places[columns]]).tolist(), strict=True))
        """The row of each look that sees a value to its score."""
        self.seconds = np.full(len(rows.epochs), -inf)
        if tie_breaker is not None:
            values, logged = tie_breaker.series_in(rows)
            if callback.frequency.skips_values:
                values, logged = filled_forward(values, logged & used)
            self.seconds = np.where(logged & ~np.isnan(values), tie_breaker.sign * values, -inf)
        self.smoothing = Smoothing.parse(callback.smoothing) if callback.smoothing else None
        self.smoothing_state = self.smoothing.begin() if self.smoothing else ()
        by_epoch = callback.frequency.in_epochs
        self.bounds = callback.bounds(choice.sign)
        self.options: Mapping[str, Any] = {
            **callback.better(),
            **self.bounds,
            "patience": callback.patience,
            "start_from_epoch": callback.start_from_epoch if by_epoch else 0,
        }

    def look(self, index: int, number: int) -> Any:
        """Step the rule; return its verdict, None if the metric has no new value."""
        score = self.scores.get(index)
        if score is None:
            return None
        if self.smoothing is not None:
            self.smoothing_state, score = self.smoothing.step(self.smoothing_state, score)
        second = float(self.seconds[index])
        self.state, verdict = early_stopping_rule(self.state, score, number, second=second, **self.options)
        thresholds = {name: bound for name, bound in self.bounds.items() if name != "baseline"}
        self.crossed = bool(threshold_rule(score, **thresholds).stop)
        return verdict
