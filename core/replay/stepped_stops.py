"""Early stopping on one recorded run, epoch by epoch, for options that depend on more than one metric."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf, isnan
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainbus import Callback
from trainbus.metrics.smoothing import Smoothing
from trainbus.plugins import EarlyStopping
from trainbus.plugins.comparison import ComparisonSettings
from trainbus.plugins.frequency import EVERY_EPOCH
from trainbus.rules import Patience, early_stopping_rule, held_back, threshold_rule

from .metric_choice import MetricChoice
from .records import UNKNOWN, Recording, SimulatedAction

NEVER: Final = int(np.iinfo(np.int64).max)
"""The stop epoch of a run that no callback stops."""


class Moment(NamedTuple):
    """When a callback looks at the metrics."""

    epoch: int
    part: int
    """0 at the end of the validation, 1 at the end of the epoch."""


class SteppedStops(NamedTuple):
    """Where early stopping stops a run, and where the first metric was the best so far. Epochs count from 0."""

    stop: int | None
    bests: tuple[int, ...]


def needs_steps(callback: EarlyStopping) -> bool:
    """Return whether the rule cannot step many runs at once with these options."""
    return bool(
        len(callback.monitored()) > 1
        or callback.tie_breaker
        or callback.reset_on_lr_cut
        or callback.frequency != EVERY_EPOCH
    )


def part_of(callback: Callback) -> int:
    """Return in which part of an epoch a callback looks, as in ``Moment``."""
    return int(not (isinstance(callback, ComparisonSettings) and callback.frequency.unit == "validation"))


def add_stepped_stops(
    name: str,
    callback: EarlyStopping,
    recordings: Sequence[Recording],
    choices: Sequence[MetricChoice],
    tie_breaker: MetricChoice | None,
    actions: list[list[SimulatedAction]],
    others: Mapping[str, Callback],
) -> NDArray[np.int64]:
    """Do the same as ``simulation.add_stops``, run by run; the lists of actions have the cuts already.

    Args:
        name: The name of the callback.
        callback: The callback.
        recordings: The runs.
        choices: The metrics that the callback monitors.
        tie_breaker: The metric that breaks ties.
        actions: The actions so far, to which those of the callback are added.
        others: All callbacks by name.

    Returns:
        The epoch in which the callback stops each run, ``NEVER`` if it does not.
    """
    stops = np.full(len(recordings), NEVER)
    for row, recording in enumerate(recordings):
        cut = (each for each in actions[row] if each.action == "scale_learning_rate")
        cuts = {Moment(each.epoch, part_of(others[each.by])) for each in cut}
        found = step_stops(callback, recording, choices, tie_breaker, cuts)
        stops[row] = NEVER if found.stop is None else found.stop
        actions[row] += stop_actions(name, found.stop, found.bests if callback.restore_best_weights else ())
    return stops


def stop_actions(name: str, stop: int | None, kept: Sequence[int]) -> list[SimulatedAction]:
    """Return the actions of early stopping: keeping the weights of some epochs, the stop, restoring the last."""
    actions = [SimulatedAction(epoch, name, "keep", epoch) for epoch in kept]
    if stop is not None:
        actions.append(SimulatedAction(stop, name, "stop", stop))
        actions += [SimulatedAction(stop, name, "restore", kept[-1])] if kept else []
    return actions


def step_stops(
    callback: EarlyStopping,
    recording: Recording,
    choices: Sequence[MetricChoice],
    tie_breaker: MetricChoice | None = None,
    cuts: Collection[Moment] = (),
) -> SteppedStops:
    """Step the rules of the live callback over the epochs of one run.

    Args:
        callback: The callback; without a known moment of each look, it never stops.
        recording: The run.
        choices: The metrics that the callback monitors.
        tie_breaker: The metric that breaks ties.
        cuts: When the learning rate is cut.
    """
    metrics = [_Metric(callback, recording, each, tie_breaker) for each in choices]
    stalled, bests = [False] * len(metrics), list[int]()
    frequency, by_epoch = callback.frequency, callback.frequency.in_epochs
    looks, last, part = 0, Moment(-1, 0), part_of(callback)
    due_rows = recording.due(frequency)
    rows = [] if due_rows is None else np.flatnonzero(due_rows).tolist()
    for index in rows:
        epoch = int(recording.epochs[index])
        if not by_epoch and epoch < callback.start_from_epoch:
            continue
        now = Moment(epoch, part)
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
            bests.append(epoch)
        stops = [each is not None and bool(each.stop) for each in verdicts]
        at_once = any(each.crossed for each, stop in zip(metrics, stops, strict=True) if stop)
        due = all(stalled) if callback.stop_when == "all" and not at_once else any(stops)
        step = UNKNOWN if recording.steps is None else int(recording.steps[index])
        if not due or held_back(epoch, step, min_epochs=callback.min_epochs, min_steps=callback.min_steps):
            continue
        if not (callback.reset_on_lr_cut and now in cuts):
            return SteppedStops(epoch, tuple(bests))
    return SteppedStops(None, tuple(bests))


class _Metric:
    """One metric of a run, with the state of its rule."""

    def __init__(
        self, callback: EarlyStopping, recording: Recording, choice: MetricChoice, tie_breaker: MetricChoice | None
    ) -> None:
        self.state = Patience()
        self.crossed = False
        """Whether the last value has crossed a threshold, or was not finite where this stops the run."""
        self.scores = _scores(recording, choice)
        self.seconds = None if tie_breaker is None else _scores(recording, tie_breaker)
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
        """Step the rule; return its verdict, None if the metric was not logged."""
        score = self.scores[index]
        if score is None:
            return None
        if self.smoothing is not None:
            self.smoothing_state, score = self.smoothing.step(self.smoothing_state, score)
        second = None if self.seconds is None else self.seconds[index]
        self.state, verdict = early_stopping_rule(
            self.state, score, number, second=-inf if second is None or isnan(second) else second, **self.options
        )
        thresholds = {name: bound for name, bound in self.bounds.items() if name != "baseline"}
        self.crossed = bool(threshold_rule(score, **thresholds).stop)
        return verdict


def _scores(recording: Recording, choice: MetricChoice) -> list[float | None]:
    """Return the score of each epoch; None where the metric was not logged."""
    name = choice.name_in(recording)
    if name is None:
        return [None] * len(recording.epochs)
    values, logged = recording.metrics[name]
    return [
        choice.sign * value if known else None for value, known in zip(values.tolist(), logged.tolist(), strict=True)
    ]
