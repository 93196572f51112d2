"""A monitored metric of one run, and the second metric that breaks its ties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, NamedTuple, TypeVar

from trainbus import Run
from trainbus.callback import Mode
from trainbus.decision import Value
from trainbus.metrics.monitor import Monitor
from trainbus.metrics.names import resolve
from trainbus.rules import Patience, Plateau

from ..frequency import EVERY_EPOCH
from .settings import ComparisonSettings

S = TypeVar("S", Patience, Plateau)


class Observation(NamedTuple):
    """The score of a metric at a look, and that of the metric that breaks ties."""

    score: float
    second: float = -inf


class ComparedMetric:
    """Reads the scores of a metric.

    Args:
        settings: What counts as better.
        metric: The name of the metric.
        mode: The direction in which it improves.
    """

    monitor: Monitor
    """The monitor of the metric; set by ``begin``."""
    _moment: Callable[[int, int], str]

    def __init__(self, settings: ComparisonSettings, metric: str, mode: Mode) -> None:
        self.settings, self.name = settings, metric
        self.mode: Mode = mode
        self._second: Monitor | None = None

    def begin(self, run: Run, start_from_epoch: int = 0) -> None:
        """Ask the run for the monitors; ``start_from_epoch`` is the first epoch that must log the metrics."""
        settings, self._moment = self.settings, run.state.moment
        self.monitor = run.monitor(self.name, self.mode, start_from_epoch=start_from_epoch)
        if settings.tie_breaker:
            mode = settings.tie_breaker_mode
            self._second = run.monitor(settings.tie_breaker, mode, start_from_epoch=start_from_epoch)

    def begun(self, state: S) -> S:
        """Return the state of a rule with the best scores of the training before the run, if they are better."""
        best, second = self.monitor.first_score, self._second
        if best <= state.best:  # the plugin may have loaded its state before
            return state
        return state._replace(best=best, second=-inf if second is None else second.first_score)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the metric, and of the one that breaks ties."""
        return (self.monitor.metric, *([self._second.metric] if self._second is not None else []))

    def read(self, metrics: Mapping[str, Any], *, required: bool = True) -> Observation | None:
        """Return the scores; None if the metric has no value.

        Args:
            metrics: Metrics by name.
            required: Whether a metric that no epoch has logged by its end is an error.

        Raises:
            MissingMetric: As in ``Monitor.value``.
        """
        if not required and resolve(self.monitor.metric, metrics) is None:
            return None
        score = self.monitor.score(metrics)
        if score is None:
            return None
        second = self._second
        if second is None or (not required and resolve(second.metric, metrics) is None):
            return Observation(score)
        other = second.score(metrics)
        return Observation(score, -inf if other is None else other)

    def in_words(self, at: tuple[int, int]) -> str:
        """Describe an epoch, counted from 0, and a step: by the step if the callback looks inside epochs.

        An epoch of -1 is before the run, and is described by "".
        """
        epoch, step = at
        if epoch < 0:
            return ""
        return f"step {step}" if step and not self.settings.frequency.in_epochs else self._moment(epoch, step)

    def margin(self) -> str:
        """Return in words by how much a value must be better; "" for any difference."""
        delta = self.settings.min_delta
        if not delta:
            return ""
        return f"{100 * delta:g} %" if self.settings.relative else f"{delta:g}"

    def options(self) -> dict[str, Value]:
        """Return the options that say what counts as better, for the journal."""
        settings = self.settings
        options: dict[str, Value] = {"min_delta": settings.min_delta}
        if settings.relative:
            options["min_delta_mode"] = "rel"
        if not settings.cumulative_delta:
            options["cumulative_delta"] = False
        if settings.ties != "older":
            options["ties"] = settings.ties
        if settings.tie_breaker:
            options["tie_breaker"] = settings.tie_breaker
        if settings.frequency != EVERY_EPOCH:
            options["every"] = str(settings.frequency)
        return options
