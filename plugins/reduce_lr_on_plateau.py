"""Reduce the learning rate when a metric has stopped improving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, TypeAdapter
from typing_extensions import TypedDict

from trainbus import Decision, MonitoredCallback, Run, decision, hookimpl
from trainbus.capabilities import HasLearningRate, has
from trainbus.resume.checks.plugin_values import Number, Score, Step, parsed
from trainbus.rules import Plateau, plateau_rule


class ReduceLROnPlateau(MonitoredCallback):
    """Multiply every learning rate by ``factor`` when the monitored metric has not improved for ``patience`` epochs.

    Epochs that do not log the metric do not count. A value that is not finite is never an improvement. The rule is
    that of Keras 3.15.1.

    >>> ReduceLROnPlateau(factor=1.5)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: ReduceLROnPlateau: factor=1.5: give a number below 1
    """

    elsewhere: ClassVar[Mapping[str, str]] = {
        "decay": "factor",
        "epsilon": "min_delta",
        "gamma": "factor",
        "lr_factor": "factor",
        "lr_patience": "patience",
        "min_learning_rate": "min_lr",
        "threshold": "min_delta",
    }

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor by which every learning rate is multiplied."""
    patience: NonNegativeInt = 10
    """Epochs without improvement after which the rate is reduced; 0 means 1."""
    min_delta: Annotated[float, AfterValidator(abs)] = 1e-4
    """Smallest change that counts as an improvement; its sign does not matter."""
    cooldown: NonNegativeInt = 0
    """Epochs after a reduction, including its own, before counting starts again: 0 and 1 both mean no wait."""
    min_lr: NonNegativeFloat = 0.0
    """Lower bound of every learning rate."""

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return the settings with a patience and a cooldown of at least 1."""
        settings = super().effective_settings(subject)
        return {**settings, "patience": max(self.patience, 1), "cooldown": max(self.cooldown, 1)}

    def requires(self) -> tuple[type, ...]:
        """Require a subject whose learning rate can be changed."""
        return (HasLearningRate,)

    def plugin(self) -> object:
        """Return a new plugin for one run."""
        return _Reducer(self)


class _SavedState(TypedDict):
    """What a checkpoint stores of the plugin."""

    state: tuple[Score, Number, Step]
    best_epoch: Number


_STATE = TypeAdapter(_SavedState)


class _Reducer:
    """The state of one run."""

    def __init__(self, settings: ReduceLROnPlateau) -> None:
        self.settings = settings
        self.options = settings.model_dump(include={"patience", "min_delta", "cooldown"})
        self.state = Plateau()
        self.best_epoch = -1  # for the reason; the rule does not need it

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        self.monitor = run.monitor(self.settings.monitor, self.settings.mode)
        self.state = self.state._replace(best=max(self.state.best, self.monitor.first_score))

    @hookimpl
    def on_epoch_end(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> Decision | None:
        score = self.monitor.score(metrics)
        subject = run.subject
        if score is None or not has(subject, HasLearningRate):
            return None
        settings, monitor, before, best_epoch = self.settings, self.monitor, self.state, self.best_epoch
        due = before.wait + 1 >= settings.patience  # earlier epochs read no rate: that may wait for the device
        reducible = due and any(rate > settings.min_lr for rate in subject.learning_rates().values())
        self.state, verdict = plateau_rule(before, score, reducible=reducible, **self.options)
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
            values={**monitor.journal_values(score, before.best, best_epoch), "wait": waited, **self.options},
        )

    def state_dict(self) -> dict[str, Any]:
        return {"state": list(self.state), "best_epoch": self.best_epoch}

    def check_state_dict(self, saved: object) -> None:
        parsed(_STATE, saved)

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.state, self.best_epoch = Plateau(*saved["state"]), saved["best_epoch"]
