"""Stop the training when a metric has stopped improving."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Annotated, Any

from pydantic import AfterValidator, NonNegativeInt

from trainbus import Decision, MonitoredCallback, Run, decision, hookimpl
from trainbus.capabilities import Snapshotable
from trainbus.decision import Value
from trainbus.rules import Patience, Smoothing, check_smoothing, stopping_rule

__all__ = ["EarlyStopping"]

RULE = stopping_rule.__name__


class EarlyStopping(MonitoredCallback):
    """Stop when the monitored metric has not improved for `patience` epochs.

    Epochs that do not log the metric do not count. A value that is not finite is never an improvement. The rule is
    that of Keras 3.15.1.

    >>> EarlyStopping(monitor="val_loss", patience=3)
    EarlyStopping(monitor='val_loss', verbose=0, mode='auto', min_delta=0.0, patience=3, baseline=None, ...
    """

    min_delta: Annotated[float, AfterValidator(abs)] = 0.0
    """Least change that counts as an improvement; its sign does not matter."""
    patience: NonNegativeInt = 0
    """Epochs without improvement after which the training stops; 0 means 1."""
    baseline: float | None = None
    """Waiting starts anew only at improvements that also beat this value of the metric."""
    restore_best_weights: bool = False
    """Whether the weights of the best epoch are brought back at the end, whatever ended the training but an error."""
    start_from_epoch: NonNegativeInt = 0
    """First epoch, counted from 0, that is looked at."""
    smoothing: Annotated[str | None, AfterValidator(check_smoothing)] = None
    """What is looked at in place of the metric itself: such as "ema 0.9", its average of which that part stays at each
    epoch, or "median 5", the median of its last values. The best epoch, too, is then that of the smooth metric."""

    def compatible_with(self, earlier: Mapping[str, Any]) -> bool:
        """Also: it is smoothed in the same way."""
        return super().compatible_with(earlier) and earlier.get("smoothing") == self.smoothing

    def requires(self) -> tuple[type, ...]:
        """A subject that can be remembered, where the best weights shall be restored."""
        return (Snapshotable,) if self.restore_best_weights else ()

    def plugin(self) -> object:
        """A new listener for one run."""
        return _Stopper(self)


class _Stopper:
    def __init__(self, settings: EarlyStopping) -> None:
        self.settings = settings
        self.state = Patience()
        self.smoothing = Smoothing.parse(settings.smoothing) if settings.smoothing else None
        self.smooth = self.smoothing.begin() if self.smoothing else ()
        self.slot = f"best {settings.monitor}"
        self._of = f"{settings.smoothing} of " if settings.smoothing else ""

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        self.monitor = run.monitor(self.settings.monitor, self.settings.mode)

    @hookimpl
    def on_epoch_end(self, epoch: int, metrics: Mapping[str, Any]) -> Decision | None:
        score = self.monitor.score(metrics)
        if score is None:
            return None
        if self.smoothing is not None:
            self.smooth, score = self.smoothing.step(self.smooth, score)
        settings, monitor = self.settings, self.monitor
        before = self.state
        self.state, verdict = stopping_rule(
            before,
            score,
            epoch,
            patience=settings.patience,
            min_delta=settings.min_delta,
            baseline=-inf if settings.baseline is None else monitor.sign * settings.baseline,
            start_from_epoch=settings.start_from_epoch,
        )
        if verdict.improved and settings.restore_best_weights:
            reason = monitor.improvement_reason(before.best, score)
            return decision.keep(self.slot, self._of + reason, rule=RULE, values=self._seen(score, before))
        if verdict.stop:
            reason = monitor.stall_reason(
                score,
                before.best,
                before.best_epoch,
                self.state.wait,
                min_delta=settings.min_delta,
                baseline=settings.baseline,
            )
            return decision.stop(self._of + reason, rule=RULE, values=self._seen(score, before))
        return None

    @hookimpl
    def on_train_end(self, run: Run) -> Decision | None:
        # after an error the user wants to see the weights that led to it
        if not self.settings.restore_best_weights or self.state.best_epoch < 0 or run.error is not None:
            return None
        best = f"{self.monitor.sign * self.state.best:.5f} in epoch {self.state.best_epoch + 1}"
        reason = f"best {self._of}{self.monitor.metric} {best}"
        return decision.restore(self.slot, reason, rule=RULE, values=self._seen(None, self.state))

    def state_dict(self) -> list[Any]:
        return [*self.state, *self.smooth]

    def load_state_dict(self, saved: list[Any]) -> None:
        own = len(self.state)
        self.state, self.smooth = Patience(*saved[:own]), tuple(saved[own:])

    def _seen(self, score: float | None, before: Patience) -> dict[str, Value]:
        settings = self.settings
        return {
            **self.monitor.journal_values(score, before.best, before.best_epoch),
            "wait": self.state.wait,
            "patience": settings.patience,
            "min_delta": settings.min_delta,
            "baseline": settings.baseline,
            "start_from_epoch": settings.start_from_epoch,
            "smoothing": settings.smoothing,
        }
