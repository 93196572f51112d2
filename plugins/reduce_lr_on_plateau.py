"""Reduce the learning rate when a metric has stopped improving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationInfo,
    field_validator,
)
from typing_extensions import TypedDict

from trainbus import Decision, Run, TrainbusError, decision, hookimpl
from trainbus.callback.planned_training import PlannedTraining
from trainbus.capabilities import HasLearningRate, has
from trainbus.decision import ScaleLearningRate
from trainbus.resume.checks.plugin_values import Number, Score, Step, parsed
from trainbus.rules import Plateau, plateau_rule, torch_plateau_rule

from .comparison import ComparedMetric, ComparisonSettings, looking
from .rate_groups import Floors, Groups, check_floors_in_groups, unknown_names

RULES = {"keras": plateau_rule, "torch": torch_plateau_rule}


class ReduceLROnPlateau(ComparisonSettings):
    """Multiply every learning rate by ``factor`` when the monitored metric has not improved for ``patience`` epochs.

    Epochs that do not log the metric do not count. A value that is not finite is never an improvement. By default the
    rule is that of Keras 3.15.1.

    >>> ReduceLROnPlateau(factor=1.5)
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: ReduceLROnPlateau: factor=1.5: give a number below 1
    """

    elsewhere: ClassVar[Mapping[str, str]] = {
        "decay": "factor",
        "epsilon": "min_delta",
        "event_name": 'nothing: run.history["learning_rate"] has the rates',
        "frequency": 'every, as in every="2 epochs"',
        "gamma": "factor",
        "interval": 'every, as in every="500 steps"',
        "lr_factor": "factor",
        "lr_patience": "patience",
        "metric_name": "monitor",
        "min_learning_rate": "min_lr",
        "optimizer": "nothing: the subject of the run has the optimizer",
        "param_group_index": 'groups, as in groups=["learning_rate/0"]',
        "policy": 'rule="torch"',
        "save_history": 'nothing: run.history["learning_rate"] has the rates',
        "step_every": 'every, as in every="1 steps"',
        "threshold": "min_delta",
        "threshold_mode": "min_delta_mode",
        "trainer": "nothing: the run has the loop",
    }

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor by which every learning rate is multiplied."""
    patience: NonNegativeInt = 10
    """Epochs without improvement after which the rate is reduced; 0 means 1. With ``rule="torch"``, the rate is reduced
    one epoch later. With ``every``, looks instead of epochs."""
    min_delta: Annotated[float, AfterValidator(abs)] = 1e-4
    """Smallest change that counts as an improvement; its sign does not matter. With ``rule="torch"`` it is a fraction
    of the best value, unless ``min_delta_mode="abs"``."""
    cooldown: NonNegativeInt = 0
    """Epochs after a reduction, including its own, before counting starts again: 0 and 1 both mean no wait. With
    ``rule="torch"``, its own epoch does not count."""
    rule: Literal["keras", "torch"] = "keras"
    """Whose counting and whose ``min_delta_mode`` to use: those of Keras's or of PyTorch's callback of this name."""
    min_lr: Floors = 0.0
    """Lower bound of every learning rate; a mapping gives one for each name, and 0 for the others."""
    groups: Groups = None
    """Names of the learning rates that are cut, such as "learning_rate/0"; None for all."""
    eps: NonNegativeFloat = 0.0
    """A rate that a cut would not lower by more than this is not changed."""

    @field_validator("groups")
    @classmethod
    def _check_floors(cls, groups: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        check_floors_in_groups(info.data.get("min_lr", 0.0), groups)
        return groups

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @field_validator("rule")
    @classmethod
    def _check_relative(cls, rule: str, info: ValidationInfo) -> str:
        delta: float = info.data.get("min_delta", 0.0)
        if rule == "torch" and info.data.get("min_delta_mode", "abs") is None and delta >= 1:
            raise ValueError(
                f"its min_delta is a fraction, but min_delta={delta:g} is not below 1; "
                'give a fraction, or min_delta_mode="abs"'
            )
        return rule

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return the settings with a patience and a cooldown of at least 1, for the rule of Keras."""
        settings = super().effective_settings(subject)
        if self.groups is not None:
            settings["groups"] = sorted(self.groups)
        if self.rule == "torch":
            return settings
        return {**settings, "patience": max(self.patience, 1), "cooldown": max(self.cooldown, 1)}

    def idle_reason(self, planned: PlannedTraining) -> str:
        """Return why it never looks at the metric, its patience cannot run out, or a cut changes no rate."""
        if reason := self.never_looks(planned):
            return reason
        needed = self.patience + 1 if self.rule == "torch" else max(self.patience, 1)
        reason = self.never_waits_out(planned, self.patience, needed)
        return f"it never cuts the learning rate: {reason}" if reason else self._no_effect(planned)

    def cut(self) -> ScaleLearningRate:
        """Return the change of the rates that it asks for."""
        return ScaleLearningRate(self.factor, self.min_lr, self.groups or (), self.eps)

    def _no_effect(self, planned: PlannedTraining) -> str:
        """Return why a cut changes no rate as the training begins; a run that is resumed may have cut it."""
        rates = {name: rate for name, rate in planned.learning_rates.items() if name in (self.groups or [name])}
        cut = self.cut()
        if (
            planned.resumed
            or not rates
            or any(not 0 < rate == cut.applied_to(rate, name) for name, rate in rates.items())
        ):
            return ""  # a warm-up begins at 0
        unless = "it never cuts the learning rate unless the rate rises"
        free = {name: rate for name, rate in rates.items() if rate > cut.floor_of(name)}
        highest = max(free or rates, key=rates.__getitem__)
        rate, floor = rates[highest], cut.floor_of(highest)
        if not free:
            return f"{unless}: min_lr is {floor:g}, but {highest} begins with {rate:g}"
        change = rate - max(rate * self.factor, floor)
        return f"{unless}: eps is {self.eps:g}, but a cut of {highest}, which begins with {rate:g}, is only {change:g}"

    def compatible_with(self, earlier: Mapping[str, Any], subject: object = None) -> bool:
        """Return whether the metric, its direction and the rule are the same."""
        return super().compatible_with(earlier, subject) and earlier.get("rule", "keras") == self.rule

    def requires(self) -> tuple[type, ...]:
        """Require a subject whose learning rate can be changed."""
        return (HasLearningRate,)

    def validate_for(self, subject: object) -> Iterator[TrainbusError]:
        """Also yield the names in ``min_lr`` and ``groups`` that are no learning rates of the subject."""
        yield from super().validate_for(subject)
        floors = self.min_lr if isinstance(self.min_lr, Mapping) else ()
        yield from unknown_names(type(self).__name__, subject, {"min_lr": floors, "groups": self.groups or ()})

    def plugin(self) -> object:
        """Return a new plugin for one run."""
        return looking(self, _Reducer(self))


class _SavedState(TypedDict):
    """What a checkpoint stores of the plugin."""

    state: tuple[Score, Number, Step, Score]
    at: tuple[Number, Step]


class _Reducer:
    """The state of one run."""

    def __init__(self, settings: ReduceLROnPlateau) -> None:
        self.settings = settings
        self.metric = ComparedMetric(settings, *settings.monitored()[0])
        self.compared, self.first_epoch = [self.metric], 0
        self.options = {**settings.better(), **settings.model_dump(include={"patience", "cooldown"})}
        self.cut = settings.cut()
        self.state = Plateau()
        self.at = (-1, 0)  # for the reason: epoch and step of the best value; the rule does not need it

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        self.metric.begin(run)
        self.state = self.metric.begun(self.state)

    def check_epoch(self, run: Run, plugin: object) -> None:
        """It waits for nothing but the metric."""

    @hookimpl
    def on_epoch_end(self, run: Run, metrics: Mapping[str, Any]) -> Decision | None:
        return self.look(run, metrics, required=True)

    def look_between(self, run: Run, metrics: Mapping[str, Any]) -> Decision | None:
        return self.look(run, metrics, required=False)

    def look(self, run: Run, metrics: Mapping[str, Any], *, required: bool) -> Decision | None:
        seen, subject = self.metric.read(metrics, required=required), run.subject
        if seen is None or not has(subject, HasLearningRate):
            return None
        settings, monitor, before, at = self.settings, self.metric.monitor, self.state, self.at
        due = before.wait + 1 >= settings.patience  # earlier epochs read no rate: that may wait for the device
        rates = subject.learning_rates().items() if due else ()
        reducible = any(self.cut.applied_to(rate, name) != rate for name, rate in rates)
        rule = RULES[settings.rule]
        self.state, verdict = rule(before, seen.score, second=seen.second, reducible=reducible, **self.options)
        if verdict.best:
            self.at = run.epoch, run.step
        if not verdict.reduce:
            return None
        waited, counted = before.wait + 1, {name: self.options[name] for name in ("patience", "cooldown")}
        return decision.scale_learning_rate(
            settings.factor,
            floor=settings.min_lr,
            groups=settings.groups or (),
            eps=settings.eps,
            reason=monitor.stall_reason(
                seen.score, before.best, self.metric.in_words(at), waited, margin=self.metric.margin()
            ),
            rule=rule.__name__,
            values={
                **monitor.journal_values(seen.score, before.best, at[0]),
                "wait": waited,
                **self.metric.options(),
                **counted,
            },
        )

    def state_dict(self) -> dict[str, Any]:
        return {"state": list(self.state), "at": list(self.at)}

    def check_state_dict(self, saved: object) -> None:
        parsed(_SavedState, saved)

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        epoch, step = saved["at"]
        self.state, self.at = Plateau(*saved["state"]), (epoch, step)
