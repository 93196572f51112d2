"""Reduce the learning rate when a metric has stopped improving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt

from trainbus import Decision, MonitoredCallback, Run, decision, hookimpl
from trainbus.capabilities import HasLearningRate
from trainbus.rules import Plateau, plateau_rule

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(MonitoredCallback):
    """Multiply every learning rate by `factor` when the monitored metric has not improved for `patience` epochs.

    Epochs that do not log the metric do not count. A value that is not finite is never an improvement. The rule is
    that of Keras 3.15.1.

    >>> ReduceLROnPlateau(factor=1.5)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: ReduceLROnPlateau: factor=1.5: input should be less than 1
    """

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """New rate = factor x old rate."""
    patience: NonNegativeInt = 10
    """Epochs without improvement after which the rate is reduced; 0 means 1."""
    min_delta: Annotated[float, AfterValidator(abs)] = 1e-4
    """Least change that counts as an improvement; its sign does not matter."""
    cooldown: NonNegativeInt = 0
    """Epochs to rest after a reduction, that of the reduction counted: 0 and 1 both mean no rest."""
    min_lr: NonNegativeFloat = 0.0
    """No rate is reduced below this."""

    def requires(self) -> tuple[type, ...]:
        """A subject whose learning rate can be changed."""
        return (HasLearningRate,)

    def plugin(self) -> object:
        """A new listener for one run."""
        return _Reducer(self)


class _Reducer:
    def __init__(self, settings: ReduceLROnPlateau) -> None:
        self.settings = settings
        self.state = Plateau()
        self.best_epoch = -1  # the rule does not need it, people do

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        self.monitor = run.monitor(self.settings.monitor, self.settings.mode)

    @hookimpl
    def on_epoch_end(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> Decision | None:
        score = self.monitor.score(metrics)
        subject = run.subject
        if score is None or not isinstance(subject, HasLearningRate):
            return None
        settings, monitor, before, best_epoch = self.settings, self.monitor, self.state, self.best_epoch
        due = before.wait + 1 >= settings.patience  # before, no rate is asked for: it may lie on a device that computes
        self.state, verdict = plateau_rule(
            before,
            score,
            patience=settings.patience,
            min_delta=settings.min_delta,
            cooldown=settings.cooldown,
            reducible=due and any(rate > settings.min_lr for rate in subject.learning_rates().values()),
        )
        if verdict.improved:
            self.best_epoch = epoch
        if not verdict.reduce:
            return None
        waited = before.wait + 1
        return decision.scale_learning_rate(
            settings.factor,
            floor=settings.min_lr,
            reason=monitor.stall_reason(score, before.best, best_epoch, waited, min_delta=settings.min_delta),
            rule=plateau_rule.__name__,
            values={
                **monitor.journal_values(score, before.best, best_epoch),
                "wait": waited,
                "patience": settings.patience,
                "min_delta": settings.min_delta,
                "cooldown": settings.cooldown,
            },
        )

    def state_dict(self) -> dict[str, Any]:
        return {"state": list(self.state), "best_epoch": self.best_epoch}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.state, self.best_epoch = Plateau(*saved["state"]), saved["best_epoch"]
