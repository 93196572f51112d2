"""One metric of EarlyStopping: its rule, its smoothing, and its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import TypedDict

from trainbus import Run
from trainbus.callback import Mode
from trainbus.decision import Value
from trainbus.metrics.smoothing import Smoothing
from trainbus.resume.checks.plugin_values import Number, Score, Step, parsed
from trainbus.rules import Patience, early_stopping_rule, threshold_rule

from ..comparison import ComparedMetric

if TYPE_CHECKING:
    from .callback import EarlyStopping


class SavedMetric(TypedDict):
    """What a checkpoint stores of a metric."""

    state: tuple[Score, Step, Step, Score]
    smoothing: list[Score]
    at: tuple[Number, Step]


class Look(NamedTuple):
    """What one look at a metric has found."""

    stop: bool
    reason: str
    """Why to stop, in words; "" if it does not stop."""
    crossed: bool
    """Whether it stops at once, since the value has crossed a threshold or is not finite."""
    is_best: bool
    improvement: str
    """In what the value is better than all before, in words; "" if it is not."""
    values: dict[str, Value]
    """The rule's input, for the journal."""


class TrackedMetric:
    """The state of one metric in one run.

    Args:
        settings: The options of the callback.
        name: The name of the metric.
        mode: The direction in which it improves.
    """

    def __init__(self, settings: EarlyStopping, name: str, mode: Mode) -> None:
        self.settings, self.name = settings, name
        self.compared = ComparedMetric(settings, name, mode)
        self.state = Patience()
        self.at = (-1, 0)
        """Epoch and step of the best value."""
        self.smoothing = Smoothing.parse(settings.smoothing) if settings.smoothing else None
        self.smoothing_state = self.smoothing.begin() if self.smoothing else ()
        self._of = f"{settings.smoothing} of " if settings.smoothing else ""
        # inside of epochs, the rule counts looks, and the caller leaves out those before the first epoch
        start = settings.start_from_epoch if settings.frequency.in_epochs else 0
        self._rule: dict[str, Any] = {
            **settings.better(),
            "patience": settings.patience,
            "start_from_epoch": start,
        }

    def begin(self, run: Run) -> None:
        """Prepare for the run."""
        self.compared.begin(run, self.settings.start_from_epoch)
        self.state = self.compared.begun(self.state)

    def look(self, run: Run, metrics: Mapping[str, Any], number: int, *, required: bool) -> Look | None:
        """Step the rule; return None if the metric has no value."""
        seen = self.compared.read(metrics, required=required)
        if seen is None:
            return None
        score, settings, monitor, before, at = seen.score, self.settings, self.compared.monitor, self.state, self.at
        if self.smoothing is not None:
            self.smoothing_state, score = self.smoothing.step(self.smoothing_state, score)
        bounds = settings.bounds(monitor.sign)
        self.state, verdict = early_stopping_rule(before, score, number, second=seen.second, **bounds, **self._rule)
        improvement = ""
        if verdict.best:
            self.at = run.epoch, run.step
            improvement = self._of + monitor.improvement_reason(before.best, score)
        crossing = self._crossing(score) if verdict.stop else ""
        reason = crossing
        if verdict.stop and not crossing:
            reason = self._of + monitor.stall_reason(
                score,
                before.best,
                self.compared.in_words(at),
                self.state.wait,
                margin=self.compared.margin(),
                baseline=settings.baseline,
            )
        values = {**monitor.journal_values(score, before.best, at[0]), **self._counted()}
        return Look(bool(reason), reason, bool(crossing), bool(verdict.best), improvement, values)

    def restart_patience(self) -> None:
        """Wait anew."""
        self.state = self.state._replace(wait=0)

    def best_in_words(self) -> str:
        """Describe the best value."""
        monitor = self.compared.monitor
        return (
            f"best {self._of}{monitor.metric} {monitor.sign * self.state.best:.5f} in {self.compared.in_words(self.at)}"
        )

    def values(self, score: float | None) -> dict[str, Value]:
        """Return the present state for the journal."""
        return {**self.compared.monitor.journal_values(score, self.state.best, self.at[0]), **self._counted()}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"state": list(self.state), "smoothing": list(self.smoothing_state), "at": list(self.at)}

    def check_state_dict(self, saved: object) -> None:
        """Refuse what ``state_dict`` does not return."""
        smoothing = parsed(SavedMetric, saved)["smoothing"]
        if len(smoothing) != len(self.smoothing_state):
            raise ValueError(f"it has {len(smoothing)} smoothed values in place of {len(self.smoothing_state)}")

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.state, self.smoothing_state = Patience(*saved["state"]), tuple(saved["smoothing"])
        epoch, step = saved["at"]
        self.at = epoch, step

    def _crossing(self, score: float) -> str:
        """Return which threshold the score has crossed, in words; "" for none."""
        settings, monitor = self.settings, self.compared.monitor
        sign, good, bad = monitor.sign, settings.stopping_threshold, settings.divergence_threshold
        bounds = settings.bounds(sign)
        del bounds["baseline"]
        verdict = threshold_rule(score, **bounds)
        now = f"{self._of}{monitor.metric} {sign * score:.5g}"
        if verdict.not_finite:
            return f"{now} is not a finite number"
        if verdict.reached:
            return f"{now} is better than the stopping threshold {good:.5g}"
        return f"{now} is worse than the divergence threshold {bad:.5g}" if verdict.diverged else ""

    def _counted(self) -> dict[str, Value]:
        thresholds = ("stopping_threshold", "divergence_threshold", "check_finite")
        given = {name: getattr(self.settings, name) for name in thresholds}
        return {
            "wait": self.state.wait,
            **self.compared.options(),
            **{name: value for name, value in given.items() if value not in (None, False)},
        }
