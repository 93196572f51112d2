"""Stop the training when a metric has stopped improving."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, NonNegativeInt, TypeAdapter

from trainbus import Decision, MonitoredCallback, Run, decision, hookimpl
from trainbus.capabilities import Snapshotable
from trainbus.decision import Value
from trainbus.metrics.smoothing import Smoothing, check_smoothing
from trainbus.resume.checks.plugin_values import Number, Score, parsed
from trainbus.rules import Patience, stopping_rule

RULE = stopping_rule.__name__

_LIST: TypeAdapter[list[Any]] = TypeAdapter(list[Any])
_STATE: TypeAdapter[tuple[float, int, int]] = TypeAdapter(tuple[Score, Number, Number])
_SMOOTHING: TypeAdapter[list[float]] = TypeAdapter(list[Score])


class EarlyStopping(MonitoredCallback):
    """Stop when the monitored metric has not improved for ``patience`` epochs.

    Epochs that log no value of the metric do not count. A value that is not finite is never an improvement. The rule is
    that of Keras 3.15.1.

    >>> EarlyStopping(monitor="val_loss", patience=3)
    EarlyStopping(monitor='val_loss', verbose=0, mode='auto', min_delta=0.0, patience=3, baseline=None, ...
    """

    min_delta: Annotated[float, AfterValidator(abs)] = 0.0
    """Smallest change that counts as an improvement; its sign does not matter."""
    patience: NonNegativeInt = 0
    """Epochs without improvement after which the training stops; 0 means 1."""
    baseline: float | None = None
    """Value of the metric that an improvement must also beat to reset the wait."""
    restore_best_weights: bool = False
    """Whether to restore the weights of the best epoch at the end of training, unless an error ended it."""
    start_from_epoch: NonNegativeInt = 0
    """First epoch, counted from 0, whose metric is used; earlier epochs need not log it."""
    elsewhere: ClassVar[Mapping[str, str]] = {
        "early_stopping_patience": "patience",
        "early_stopping_threshold": "min_delta",
        "load_best": "restore_best_weights",
        "load_best_model_at_end": "restore_best_weights",
        "min_epochs": "start_from_epoch",
        "n_iter_no_change": "patience",
        "rounds": "patience",
        "stopping_rounds": "patience",
        "threshold": "min_delta",
        "tol": "min_delta",
        "warmup": "start_from_epoch",
    }

    smoothing: Annotated[str | None, AfterValidator(check_smoothing)] = None
    """How to smooth the metric before it is compared: "ema 0.9" is an exponential moving average with decay 0.9,
    "median 5" is the median of the last 5 values. The best epoch is then that of the smoothed metric.
    """

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return the settings with a patience of at least 1."""
        return {**super().effective_settings(subject), "patience": max(self.patience, 1)}

    def compatible_with(self, earlier: Mapping[str, Any], subject: object = None) -> bool:
        """Return whether metric, direction and smoothing are the same."""
        return super().compatible_with(earlier, subject) and earlier.get("smoothing") == self.smoothing

    def requires(self) -> tuple[type, ...]:
        """Require a subject with snapshots if the best weights are to be restored."""
        return (Snapshotable,) if self.restore_best_weights else ()

    def plugin(self) -> object:
        """Return a new plugin for one run."""
        return _Stopper(self)


class _Stopper:
    """The state of one run."""

    def __init__(self, settings: EarlyStopping) -> None:
        self.settings = settings
        self.options = settings.model_dump(include={"patience", "min_delta", "start_from_epoch"})
        self.state = Patience()
        self.smoothing = Smoothing.parse(settings.smoothing) if settings.smoothing else None
        self.smoothing_state = self.smoothing.begin() if self.smoothing else ()
        self.slot = f"best {settings.monitor}"
        self._of = f"{settings.smoothing} of " if settings.smoothing else ""

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        settings = self.settings
        self.monitor = run.monitor(settings.monitor, settings.mode, start_from_epoch=settings.start_from_epoch)
        self.state = self.state._replace(best=max(self.state.best, self.monitor.first_score))

    @hookimpl
    def on_epoch_end(self, epoch: int, metrics: Mapping[str, Any]) -> Decision | None:
        score = self.monitor.score(metrics)
        if score is None:
            return None
        if self.smoothing is not None:
            self.smoothing_state, score = self.smoothing.step(self.smoothing_state, score)
        settings, monitor = self.settings, self.monitor
        before = self.state
        baseline = -inf if settings.baseline is None else monitor.sign * settings.baseline
        self.state, verdict = stopping_rule(before, score, epoch, baseline=baseline, **self.options)
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
        # after an error, the user wants to inspect the weights that led to it
        if not self.settings.restore_best_weights or self.state.best_epoch < 0 or run.error is not None:
            return None
        best = f"{self.monitor.sign * self.state.best:.5f} in epoch {self.state.best_epoch + 1}"
        reason = f"best {self._of}{self.monitor.metric} {best}"
        return decision.restore(self.slot, reason, rule=RULE, values=self._seen(None, self.state))

    def state_dict(self) -> list[Any]:
        return [*self.state, *self.smoothing_state]

    def check_state_dict(self, saved: object) -> None:
        values, size = parsed(_LIST, saved), len(self.state)
        parsed(_STATE, values[:size])
        smoothing = parsed(_SMOOTHING, values[size:])
        if len(smoothing) != len(self.smoothing_state):
            raise ValueError(f"it has {len(smoothing)} smoothed values in place of {len(self.smoothing_state)}")

    def load_state_dict(self, saved: list[Any]) -> None:
        size = len(self.state)
        self.state, self.smoothing_state = Patience(*saved[:size]), tuple(saved[size:])

    def _seen(self, score: float | None, before: Patience) -> dict[str, Value]:
        return {
            **self.monitor.journal_values(score, before.best, before.best_epoch),
            "wait": self.state.wait,
            **self.options,
            "baseline": self.settings.baseline,
            "smoothing": self.settings.smoothing,
        }
