"""One metric of a run, watched: which way it improves, its score, its best value."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..capabilities import HasDirections, missing
from ..decision import Value
from ..errors import MissingMetric, UnknownDirection
from ..failures import LOG
from ..rules import Best, best_rule
from .direction import direction_of
from .names import canonical, hint, resolve
from .scalars import as_number

if TYPE_CHECKING:
    from ..engine.run_state import RunState

__all__ = ["BestValue", "Monitor"]


class BestValue(NamedTuple):
    """The best value of a metric and the epoch, counted from 0, that reached it."""

    value: float
    epoch: int


class Monitor:
    """One metric of a run, watched: its direction is settled once, its score taken at each epoch end.

    A score is the metric's value turned so that higher is better.
    """

    def __init__(self, run: RunState, metric: str, mode: Literal["auto", "min", "max"] = "auto") -> None:
        self.run = run
        self.metric = metric
        """The name as asked for, and once it was seen, the name under which it is logged."""
        self.mode = mode
        self.seen = False
        self._direction: Literal["min", "max"] | None = None if mode == "auto" else mode
        self._best = Best()
        self._told = False
        self._past = list(run.past)
        """Epochs that were over before anybody watched, of a run that was resumed."""
        # only a subject that knows its metrics as objects can tell more than the name, and perhaps not before training
        if self._direction is None and missing(run.subject, HasDirections):
            self._direction = direction_of(metric)

    @property
    def direction(self) -> Literal["min", "max"]:
        """Which way the metric improves.

        Raises:
            UnknownDirection: neither the metric object nor the name tells.
        """
        if self._direction is None:
            subject = self.run.subject
            declared = subject.direction_of(self.metric) if isinstance(subject, HasDirections) else None
            self._direction = declared or direction_of(self.metric)
        return self._direction

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        return 1 if self.direction == "max" else -1

    @property
    def best(self) -> BestValue | None:
        """The best value so far, None while there is none."""
        self._catch_up()
        return BestValue(self.sign * self._best.score, self._best.epoch) if self._best.epoch >= 0 else None

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """The metric's value among `metrics`; None where this epoch does not carry it.

        Raises:
            MissingMetric: no epoch carried it yet, though this one should have; or it is no single number.
        """
        name = resolve(self.metric, metrics)
        if name is None or metrics[name] is None:
            if not self.seen and self._expected():
                raise MissingMetric(self._missing_text(metrics))
            return None
        self.metric, self.seen = name, True
        try:
            return as_number(metrics[name])
        except TypeError as error:
            raise MissingMetric(f"{name!r} cannot be monitored: {error}") from None

    def score(self, metrics: Mapping[str, Any]) -> float | None:
        """The metric's value, turned so that higher is better; None where this epoch does not carry it.

        Raises:
            MissingMetric: as `value` does.
            UnknownDirection: as `direction` does.
        """
        value = self.value(metrics)
        return None if value is None else self.sign * value

    def improvement(self, best: float, score: float) -> str:
        """In words, that `score` improved on `best`, both turned so that higher is better; -inf for no best yet."""
        before = "None" if best == -inf else f"{self.sign * best:.5f}"
        return f"{self.metric} improved from {before} to {self.sign * score:.5f}"

    def stalled(
        self,
        score: float,
        best: float,
        epoch: int,
        times: int,
        *,
        min_delta: float = 0.0,
        baseline: float | None = None,
    ) -> str:
        """In words, that `score` did not improve on `best`, both turned so that higher is better.

        Args:
            score: the present one.
            best: that of `epoch`; -inf for none.
            epoch: counted from 0.
            times: how often that has happened since.
            min_delta: least change that would have counted.
            baseline: the metric's value that was to be beaten, too.
        """
        often, now = f"for the {_ordinal(times)} time", f"{self.metric} {self.sign * score:.5g}"
        if best == -inf:
            return f"{now} is no finite number {often}"
        least = f" by more than {min_delta:g}" if min_delta else ""
        line = "" if baseline is None else f" and the baseline {baseline:.5g}"
        return f"{now} did not improve on {self.sign * best:.5g} (epoch {epoch + 1}){line}{least} {often}"

    def values(self, score: float | None, best: float, epoch: int) -> dict[str, Value]:
        """What a rule saw of the metric: its present value, its best and when that came, as they are logged.

        Args:
            score: the present one, turned so that higher is better.
            best: that of `epoch`, likewise; -inf for none.
            epoch: counted from 0.
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
        """Take the epoch's value into account for `best`."""
        self._catch_up()
        score = self.score(metrics)
        if self.metric in self.run.means.coarse and not self._told:
            self._told = True
            LOG.warning(
                "%r is logged in bfloat16, which has two or three digits: small improvements do not show; "
                "log it in float32, as by loss.float()",
                self.metric,
            )
        if score is not None:
            self._best, _ = best_rule(self._best, score, epoch)

    def _catch_up(self) -> None:
        """Watch the epochs of the past, once the direction is known."""
        try:
            sign = self.sign if self._past else 1
        except UnknownDirection:  # the metric object that tells is not built yet
            return
        for epoch, metrics in self._past:
            name = resolve(self.metric, metrics)
            if name is not None and metrics[name] is not None:
                self.metric, self.seen = name, True
                self._best, _ = best_rule(self._best, sign * as_number(metrics[name]), epoch)
        self._past = []

    def _expected(self) -> bool:
        """Whether this epoch's end should have carried the metric."""
        return not canonical(self.metric).startswith("val_") or self.run.validates(self.run.epoch)

    def _missing_text(self, metrics: Mapping[str, Any]) -> str:
        unvalidated = canonical(self.metric).startswith("val_") and not self.run.validated
        why = "; there was no validation in this epoch" if unvalidated else ""
        return (
            f"{self.metric!r} is not logged{hint(self.metric, metrics)} logged: {', '.join(metrics) or 'nothing'}{why}"
        )


def _ordinal(number: int) -> str:
    """A number as one says which time it is.

    >>> [_ordinal(number) for number in (1, 2, 3, 4, 11, 112, 23)]
    ['1st', '2nd', '3rd', '4th', '11th', '112th', '23rd']
    """
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
