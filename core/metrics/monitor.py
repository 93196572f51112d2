"""The monitored metrics of a run: their directions, their scores at each epoch end, and their best values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Literal, Protocol

from ..capabilities import HasDirections, missing
from ..decision import Value
from ..errors import MissingMetric, SettingsError, UnknownDirection
from ..failures import LOG
from ..rules import Best, best_rule
from .best_value import BestValue
from .direction import direction_for, direction_of
from .history import STEP
from .missing_metric import MetricAdvice, explain_missing
from .names import check_name, is_validated, resolve
from .origin import Origin
from .running_means import RunningMeans
from .scalars import as_number, is_missing


class MetricSource(Protocol):
    """The part of a run that a monitor reads."""

    @property
    def subject(self) -> object:
        """The trained object; its metric objects may declare their directions."""
        ...

    @property
    def epoch_metrics(self) -> Sequence[tuple[int, Mapping[str, Any]]]:
        """Each finished epoch, counted from 0, with its metrics."""
        ...

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 0."""
        ...

    @property
    def origin(self) -> Origin:
        """How far the training had come before the run began, with its best values."""
        ...

    @property
    def means(self) -> RunningMeans:
        """The running means of the current epoch; they also record which metrics were logged in low precision."""
        ...

    @property
    def validated(self) -> bool:
        """Whether the current epoch has run a validation."""
        ...

    @property
    def metric_advice(self) -> MetricAdvice:
        """What the user writes to have a metric logged."""
        ...

    def validates(self, epoch: int) -> bool:
        """Return whether this epoch must log the metrics named ``val_...`` before it ends."""
        ...


class Monitor:
    """One monitored metric of a run: its direction, its score at each epoch end, its best value.

    A score is the metric's value, negated if the metric improves downwards, so that higher is better.

    Args:
        source: The run that logs the metric.
        metric: Name of the metric, or an alias of it.
        mode: Direction in which it improves; "auto" asks the subject's metric object, then the name.
        start_from_epoch: The first epoch, counted from 0, that must log the metric.

    Raises:
        UnknownDirection: ``mode`` is "auto", the subject has no metric objects, and the name has no known direction.
    """

    def __init__(
        self,
        source: MetricSource,
        metric: str,
        mode: Literal["auto", "min", "max"] = "auto",
        *,
        start_from_epoch: int = 0,
    ) -> None:
        self.metric = metric
        """The name as given; after the first epoch that logs the metric, the name under which it is logged."""
        self._source = source
        self._known = False
        """Whether an epoch has logged the metric, even as None."""
        self.start_from_epoch = start_from_epoch
        """The first epoch, counted from 0, that must log the metric."""
        self._direction: Literal["min", "max"] | None = None if mode == "auto" else mode
        self._best = Best()
        self._warned = False
        self._past = list(source.epoch_metrics)
        """Epochs that a resumed run finished before this monitor existed."""
        any(self._logged(metrics) is not None for _, metrics in self._past)  # finds the name, for reasons that have it
        self._begun = False
        """Whether the best value includes that of the origin."""
        # a subject may build its metric objects only when training begins
        if self._direction is None and missing(source.subject, HasDirections):
            self._direction = direction_of(metric)

    @property
    def direction(self) -> Literal["min", "max"]:
        """The direction in which the metric improves.

        Raises:
            UnknownDirection: The metric object and the name do not determine it.
        """
        if self._direction is None:
            self._direction = direction_for(self._source.subject, self.metric)
        return self._direction

    @property
    def sign(self) -> int:
        """1 if higher is better, else -1."""
        return 1 if self.direction == "max" else -1

    @property
    def first_score(self) -> float:
        """The best score of the training before the run began, as ``Run(start=...)`` gives it; -inf if unknown.

        Raises:
            UnknownDirection: As in ``direction``.
        """
        best = self._source.origin.best
        name = resolve(self.metric, best)
        return -inf if name is None else self.sign * best[name]

    @property
    def best(self) -> BestValue | None:
        """The best value so far; None if there is none yet."""
        self._catch_up()
        best = self._best
        return BestValue(self.sign * best.score, best.epoch, self._step_of(best.epoch)) if best.epoch >= 0 else None

    def _step_of(self, epoch: int) -> int | None:
        """Return the weight updates at the end of an interval of a loop by steps; None in a loop over epochs."""
        rows = self._source.epoch_metrics
        if not rows or STEP not in rows[-1][1]:
            return None
        return next((metrics[STEP] for number, metrics in reversed(rows) if number == epoch), self._source.origin.step)

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """Return the metric's value in ``metrics``; None if this epoch has no value.

        Raises:
            MissingMetric: The metric is due in this epoch, but no epoch has logged it, not even as None; or its value
                is not a single number.
        """
        value = self._logged(metrics)
        if value is None:
            if not self._known and self._due():
                raise MissingMetric(
                    explain_missing(self.metric, metrics, self._source.metric_advice, validated=self._source.validated)
                )
            return None
        try:
            return as_number(value)
        except TypeError as error:
            raise MissingMetric(f"{self.metric!r} cannot be monitored: {error}") from None

    def score(self, metrics: Mapping[str, Any]) -> float | None:
        """Return the metric's score in ``metrics``; None if this epoch has no value.

        Raises:
            MissingMetric: As in ``value``.
            UnknownDirection: As in ``direction``.
        """
        value = self.value(metrics)
        return None if value is None else self.sign * value

    def improvement_reason(self, best: float, score: float) -> str:
        """Describe in words that ``score`` improved on the score ``best``, which is -inf if there was none."""
        if best == -inf:
            return f"{self.metric} {self.sign * score:.5f} is the first value"
        return f"{self.metric} improved from {self.sign * best:.5f} to {self.sign * score:.5f}"

    def stall_reason(
        self, score: float, best: float, at: str, times: int, *, margin: str = "", baseline: float | None = None
    ) -> str:
        """Describe in words that the metric did not improve.

        Args:
            score: The current score.
            best: The best score; -inf if there is none.
            at: When ``best`` was reached, such as "epoch 3"; "" if that was before the run.
            times: Number of looks without an improvement, this one included.
            margin: By how much a value must be better to count as an improvement, such as "0.1" or "1 %".
            baseline: A value of the metric that an improvement must also beat.
        """
        often, now = f"for the {_ordinal(times)} time", f"{self.metric} {self.sign * score:.5g}"
        if best == -inf:
            return f"{now} is not a finite number {often}"
        least = f" by more than {margin}" if margin else ""
        line = "" if baseline is None else f" and the baseline {baseline:.5g}"
        when = f" ({at})" if at else ", the best before the run"
        return f"{now} did not improve on {self.sign * best:.5g}{when}{line}{least} {often}"

    def journal_values(self, score: float | None, best: float, epoch: int) -> dict[str, Value]:
        """Return the input of a rule for the journal, which stores values of the metric, not scores.

        Args:
            score: The current score.
            best: The best score; -inf if there is none.
            epoch: The epoch of ``best``, counted from 0.
        """
        known = best != -inf
        return {
            "metric": self.metric,
            "mode": self.direction,
            "value": None if score is None else self.sign * score,
            "best": self.sign * best if known else None,
            "best_epoch": epoch if known and epoch >= 0 else None,
        }

    def watch(self, metrics: Mapping[str, Any], epoch: int) -> None:
        """Update ``best`` with the metrics of a finished epoch."""
        self._catch_up()
        score = self.score(metrics)
        if self.metric in self._source.means.low_precision and not self._warned:
            self._warned = True
            LOG.warning(
                "%r is logged in bfloat16, which keeps only two or three digits, so that small improvements are lost; "
                "log it in float32: loss.float()",
                self.metric,
            )
        if score is not None:
            self._best, _ = best_rule(self._best, score, epoch)

    def _catch_up(self) -> None:
        """Update the best value with past epochs, once the direction is known."""
        try:
            sign = self.sign if self._past else 1
            if not self._begun:
                self._best, _ = best_rule(self._best, self.first_score, self._source.origin.last_epoch)
        except UnknownDirection:  # the metric object is not built yet
            return
        self._begun = True
        for epoch, metrics in self._past:
            value = self._logged(metrics)
            if value is not None:
                self._best, _ = best_rule(self._best, sign * as_number(value), epoch)
        self._past = []

    def _logged(self, metrics: Mapping[str, Any]) -> Any:
        """Return the metric's value in ``metrics``, by its name or an alias, and store the name; None if missing."""
        name = self.metric if self.metric in metrics else resolve(self.metric, metrics)
        if name is None:
            return None
        self.metric, self._known = name, True
        return None if is_missing(metrics[name]) else metrics[name]

    def _due(self) -> bool:
        """Return whether the current epoch must log the metric before it ends."""
        epoch = self._source.epoch
        return epoch >= self.start_from_epoch and (not is_validated(self.metric) or self._source.validates(epoch))


class Monitors:
    """The monitored metrics of one run.

    Args:
        source: The run that the monitors read.
    """

    def __init__(self, source: MetricSource) -> None:
        self._source = source
        self._monitors: dict[tuple[str, str], Monitor] = {}

    def get(self, metric: str, mode: Literal["auto", "min", "max"] = "auto", *, start_from_epoch: int = 0) -> Monitor:
        """Return the monitor of a metric; calls with the same metric and mode return the same monitor.

        Args:
            metric: Name of the metric, or an alias of it.
            mode: Direction in which it improves.
            start_from_epoch: The first epoch, counted from 0, that must log the metric; the lowest of all calls counts.

        Raises:
            UnknownDirection: ``mode`` is "auto", and the direction in which the metric improves is unknown.
            SettingsError: The metric is not text, or the mode is not "auto", "min" or "max".
        """
        check_name(metric)
        if mode not in ("auto", "min", "max"):
            raise SettingsError(f"mode={mode!r} of {metric!r}: give 'min', 'max' or 'auto'")
        known = self._monitors.get((metric, mode))
        if known is None:
            known = Monitor(self._source, metric, mode, start_from_epoch=start_from_epoch)
            self._monitors[metric, mode] = known
        known.start_from_epoch = min(known.start_from_epoch, start_from_epoch)
        return known

    def update(self, metrics: Mapping[str, Any], epoch: int) -> None:
        """Update every monitor with the metrics of the epoch that ended.

        Raises:
            MissingMetric: A monitored metric is missing.
        """
        problems: list[str] = []
        for monitor in self._monitors.values():
            try:
                monitor.watch(metrics, epoch)
            except SettingsError as error:
                if len(self._monitors) == 1:
                    raise
                problems.append(str(error))
        if problems:
            raise MissingMetric("\n".join(dict.fromkeys(problems)))

    def names(self) -> list[str]:
        """Return the name of each monitored metric."""
        return [each.metric for each in self._monitors.values()]

    def directions(self) -> dict[str, Literal["min", "max"]]:
        """Return the direction of each metric that has a best value."""
        return {each.metric: each.direction for each in self._monitors.values() if each.best is not None}

    def best(self) -> dict[str, BestValue]:
        """Return the best value of each metric that has one."""
        return {each.metric: each.best for each in self._monitors.values() if each.best is not None}


def _ordinal(number: int) -> str:
    """Return the ordinal of a number.

    >>> [_ordinal(number) for number in (1, 2, 3, 4, 11, 112, 23)]
    ['1st', '2nd', '3rd', '4th', '11th', '112th', '23rd']
    """
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
