"""The events in a journal, one model for each kind of line."""

from __future__ import annotations

from math import inf, nan
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    WithJsonSchema,
    model_serializer,
)

from ..limits import EPOCHS, STEPS

NAME: Final = "journal.jsonl"
"""Default name of the file."""

VERSION: Final = 1
"""Version of the schema; a change that readers of the previous version would misread increases it."""

_NOT_FINITE: Final = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}


def _parse_not_finite(value: object) -> object:
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value


Number = Annotated[float, WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": list(_NOT_FINITE)}]})]
"""A number that may be infinite or NaN; pydantic parses the strings of such numbers as numbers."""

Value = Annotated[bool | int | float | str | None, BeforeValidator(_parse_not_finite)]
"""One value in a rule's input; the validator prevents pydantic from parsing infinite numbers and NaN as text."""

Option: TypeAlias = Value | dict[str, Number] | dict[str, str] | list[str]
"""One option of an action: a value, values by the names of learning rates, files by the names of models, or names."""

Count = Annotated[int, Field(ge=-1, le=EPOCHS)]
"""The number of an epoch; -1 before the first epoch."""
Steps = Annotated[int, Field(ge=-1, le=STEPS)]
"""The number of weight updates."""

Seconds = Annotated[float, Field(ge=-1e15, le=1e15)]
"""A time, or a duration."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings", use_attribute_docstrings=True)


class PluginRecord(_Model):
    """One plugin of the run."""

    callback: str = ""
    """Class of the callback that made the plugin; empty if the user listed the plugin itself."""
    settings: dict[str, Any] = Field(default_factory=dict[str, Any])
    """The options of the callback, defaults included and None left out."""


class BestRecord(_Model):
    """The best value of a metric."""

    value: Number
    epoch: Count
    step: Steps | None = None
    """Weight updates at that time, in a loop by steps."""


class ValidationRecord(_Model):
    """One validation of an epoch."""

    step: Steps
    """Weight updates of the run at its end."""
    metrics: dict[str, Number]
    """The metrics that it logged, and the learning rates at its end."""


class ActionRecord(_Model):
    """One executed action."""

    kind: Literal["scale_learning_rate", "set_learning_rate", "keep", "save", "restore", "forget", "stop"]
    """The function of ``trainbus.decision`` that makes this action."""
    by: str
    """Name of the plugin that requested the action; "loop" for the loop, "request" for a signal or a stop file."""
    reason: str
    """Why, in words."""
    options: dict[str, Option] = Field(default_factory=dict[str, Any])
    """The options of the action: factor and floor, rate, path, slot, source, and so on."""
    rule: str = ""
    """The rule that requested the action, such as "stopping_rule"; empty if unknown."""
    values: dict[str, Value] = Field(default_factory=dict[str, Any])
    """The rule's input: the metric, its value, its best value and epoch, the epochs waited, and the settings."""


class _Event(_Model):
    time: Seconds
    """When it happened, in seconds since 1970."""


class _Introduction(_Event):
    run: str
    """Identifier of the run within the file; a resumed run keeps its identifier."""
    version: int = VERSION
    """Version of the schema."""
    subject: str | None
    """Type of the trained subject; None for a loop without a subject."""
    planned_epochs: Count | None = None
    """Number of the last planned epoch, counted from 1; None if it is not known yet, and in a loop by steps."""
    planned_steps: Steps | None = None
    """Number of the last planned step, counted from 1; None if it is not known yet, and in a loop over epochs."""
    validate_every: Steps | None = None
    """Steps from one validation to the next, in a loop by steps."""
    hparams: dict[str, Any] = Field(default_factory=dict[str, Any])
    """The hyperparameters of the run, as plain data."""
    callbacks: dict[str, PluginRecord] = Field(default_factory=dict[str, PluginRecord])
    """Name of each plugin, in order, to the callback that made it."""
    environment: dict[str, str | int | None] = Field(default_factory=dict[str, str | int | None])
    """Machine, process, and versions of the relevant packages."""


class RunStarted(_Introduction):
    """A run began; earlier events in the file belong to other runs."""

    event: Literal["begin"] = "begin"


class RunResumed(_Introduction):
    """A run continues from a checkpoint; its events after that checkpoint are void."""

    event: Literal["resumed"] = "resumed"
    checkpoint: str
    """The checkpoint file from which the run continues."""
    epochs: Count
    """Number of finished epochs, which is also the number of the next epoch, counted from 0."""
    step: Steps
    """Weight updates made so far."""
    length: int = 0
    """Number of bytes of the file that are still valid: events of this run between them and this event are void."""


class EpochEnded(_Event):
    """An epoch ended; or, in a loop by steps, the steps up to a validation, whose number ``epoch`` is then."""

    event: Literal["epoch"] = "epoch"
    unit: Literal["epoch", "validation"] = "epoch"
    """What the run counts."""
    epoch: Count
    step: Steps
    """Total weight updates of the run up to the end of this epoch."""
    seconds: Seconds
    """Duration of the epoch, including its validation."""
    metrics: dict[str, Number]
    """The metrics of the epoch that are single numbers, and its learning rates."""
    stats: dict[str, Number] = Field(default_factory=dict[str, Any])
    """Measurements of the epoch that are no metrics: of the ranks, and of DeviceStats."""
    validations: tuple[ValidationRecord, ...] | None = ()
    """The validations of the epoch, in order; left out if there was one at the end of the epoch, or none. None if they
    are not known: no callback decided at validations, so the ranks did not share their values."""

    @model_serializer(mode="wrap")
    def _leave_out_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Most epochs have one validation, whose metrics are those of the epoch."""
        data: dict[str, Any] = handler(self)
        if self.validations == ():
            del data["validations"]
        return data


class DecisionMade(_Event):
    """The run executed a decision."""

    event: Literal["decision"] = "decision"
    epoch: Count
    step: Steps
    actions: tuple[ActionRecord, ...]
    """The executed actions, in order; an action that failed is recorded as a failure instead."""
    learning_rates: dict[str, Number] | None = None
    """The new learning rates, if the decision changes them."""


class CheckpointSaved(_Event):
    """A checkpoint was written completely to the disk."""

    event: Literal["checkpoint"] = "checkpoint"
    epoch: Count
    step: Steps
    path: str
    size: int
    digest: str
    weights_only: bool = False


class EventEmitted(_Event):
    """The loop emitted an event of its own."""

    event: Literal["emitted"] = "emitted"
    epoch: Count
    step: Steps
    name: str
    count: int
    """How often this event was emitted so far, counted from 1 over the whole run."""
    values: dict[str, Value] = Field(default_factory=dict[str, Any])
    """Its values; of one that is neither a number nor text, the name of its type."""


class FailureReported(_Event):
    """Something failed, and the run continued."""

    event: Literal["failure"] = "failure"
    plugin: str
    hook: str
    """The hook in which an observer raised; empty if a plugin lost data, or if a checkpoint was lost."""
    lost: str = ""
    """A short description of what the plugin continues without; empty if the error explains the failure."""
    error: str
    """Type and message of the exception."""


class ExceptionRaised(_Event):
    """The loop or a plugin raised an exception that ends the run."""

    event: Literal["exception"] = "exception"
    epoch: Count
    step: Steps
    error: str
    """Type and message of the exception."""
    traceback: str = ""


class HangReported(_Event):
    """A rank had no event for so long; it may still hang."""

    event: Literal["hang"] = "hang"
    rank: int
    reason: str
    """How long, since when and, of several ranks, on which, in words."""
    stacks: str
    """The stack of each thread of that rank."""


class StopRequested(_Event):
    """A signal or a stop file ends the run."""

    event: Literal["signal"] = "signal"
    epoch: Count
    step: Steps
    name: str
    """Name of the signal, such as SIGTERM, or path of the stop file."""


class RunEnded(_Event):
    """The run is over; missing if its process was killed."""

    event: Literal["end"] = "end"
    outcome: Literal["finished", "stopped", "interrupted", "failed"]
    reason: str
    """Why, in words."""
    epochs: Count
    """Number of finished epochs, including those before a resume."""
    step: Steps
    seconds: Seconds
    """Duration of the training: that of each process, up to the checkpoint from which the next one was resumed."""
    best: dict[str, BestRecord] = Field(default_factory=dict[str, BestRecord])
    checkpoints: tuple[str, ...] = ()
    """The files that the run wrote and did not delete."""


Event: TypeAlias = (
    RunStarted
    | RunResumed
    | EpochEnded
    | DecisionMade
    | CheckpointSaved
    | EventEmitted
    | FailureReported
    | ExceptionRaised
    | HangReported
    | StopRequested
    | RunEnded
)

EVENT_ADAPTER: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def schema() -> dict[str, Any]:
    """Return the JSON schema of one line.

    >>> schema()["discriminator"]["propertyName"]
    'event'
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": NAME, **EVENT_ADAPTER.json_schema()}
