"""The journal of a run: the format of its file, one line of JSON for each event, and its reader.

Each line is an object whose key "event" names one of the models below. The JSON is strict: numbers that are not finite
are the strings "NaN", "Infinity" and "-Infinity". Epochs count from 0; times are seconds since 1970.

A file holds one run after another, each beginning with "begin". A resumed run continues in its old file: its "resumed"
event says how many bytes of the file are still valid, and what the run wrote after them is void. So no record is ever
deleted. If a process was killed, the last line may be incomplete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema

from .errors import JournalError

__all__ = [
    "NAME",
    "VERSION",
    "ActionRecord",
    "BestRecord",
    "CheckpointSaved",
    "DecisionMade",
    "EpochEnded",
    "Event",
    "ExceptionRaised",
    "FailureReported",
    "PluginRecord",
    "RunEnded",
    "RunJournal",
    "RunResumed",
    "RunStarted",
    "StopRequested",
    "parse",
    "read",
    "schema",
]

NAME: Final = "journal.jsonl"
"""Default name of the file."""

VERSION: Final = 1
"""Version of the schema; increased if a reader of the previous version would misread the file."""

_NOT_FINITE: Final = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}


def _parse_not_finite(value: object) -> object:
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value


Number = Annotated[float, WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": list(_NOT_FINITE)}]})]
"""A number, finite or not; pydantic reads the strings of those that are not finite as numbers."""

Value = Annotated[bool | int | float | str | None, BeforeValidator(_parse_not_finite)]
"""One value of a rule's input; the validator keeps numbers that are not finite from being read as text."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings", use_attribute_docstrings=True)


class PluginRecord(_Model):
    """One plugin of the run."""

    callback: str = ""
    """Class of the callback that made it; empty if the user listed the plugin itself."""
    settings: dict[str, Any] = Field(default_factory=dict[str, Any])
    """The options of the callback, defaults included and None left out."""


class BestRecord(_Model):
    """The best value of a metric."""

    value: Number
    epoch: int


class ActionRecord(_Model):
    """One action that was carried out."""

    kind: Literal["scale_learning_rate", "keep", "save", "restore", "forget", "stop"]
    """The function of ``trainbus.decision`` that makes it."""
    by: str
    """Name of the plugin that asked for it; "loop" for the loop, "request" for a signal or a stop file."""
    reason: str
    """Why, in words."""
    options: dict[str, Value] = Field(default_factory=dict[str, Any])
    """The options of the action: factor and floor, path, slot, source, and so on."""
    rule: str = ""
    """The rule that asked for it, such as "stopping_rule"; empty if unknown."""
    values: dict[str, Value] = Field(default_factory=dict[str, Any])
    """The rule's input: the metric, its value, its best value and epoch, the epochs waited, and the settings."""


class _Event(_Model):
    time: float
    """When it happened, in seconds since 1970."""


class _Introduction(_Event):
    run: str
    """Identifier of the run within the file; a resumed run keeps its identifier."""
    version: int = VERSION
    """Version of the schema."""
    subject: str | None
    """Type of the subject that is trained; None for a loop without one."""
    planned_epochs: int | None = None
    """Number of the last planned epoch, counted from 1; None if it is not known yet."""
    callbacks: dict[str, PluginRecord] = Field(default_factory=dict[str, PluginRecord])
    """Name of each plugin, in order, to the callback that made it."""
    environment: dict[str, str | int | None] = Field(default_factory=dict[str, str | int | None])
    """Machine, process, and versions of the relevant packages."""


class RunStarted(_Introduction):
    """A run began; earlier events in the file belong to other runs."""

    event: Literal["begin"] = "begin"


class RunResumed(_Introduction):
    """A run continues from a checkpoint; what it did after that checkpoint is void."""

    event: Literal["resumed"] = "resumed"
    checkpoint: str
    """The file from which it continues."""
    epochs: int
    """Number of finished epochs, which is also the number of the next epoch, counted from 0."""
    step: int
    """Weight updates made so far."""
    length: int = 0
    """Number of bytes of the file that are still valid: events of this run between them and this event are void."""


class EpochEnded(_Event):
    """An epoch ended."""

    event: Literal["epoch"] = "epoch"
    epoch: int
    step: int
    """Total weight updates of the run until then."""
    seconds: float
    """Duration, validation included."""
    metrics: dict[str, Number]
    """Its metrics that are single numbers, and its learning rates."""


class DecisionMade(_Event):
    """A decision was carried out."""

    event: Literal["decision"] = "decision"
    epoch: int
    step: int
    actions: tuple[ActionRecord, ...]
    """The actions that were carried out, in order; those that could not be are reported as failures instead."""
    learning_rates: dict[str, Number] | None = None
    """The new learning rates, if the decision changes them."""


class CheckpointSaved(_Event):
    """A checkpoint was written completely to the disk."""

    event: Literal["checkpoint"] = "checkpoint"
    epoch: int
    step: int
    path: str
    size: int
    digest: str
    weights_only: bool = False


class FailureReported(_Event):
    """Something failed, and the run continued."""

    event: Literal["failure"] = "failure"
    plugin: str
    hook: str
    """The hook in which an observer raised; empty for a plugin that lost something, or for a lost checkpoint."""
    lost: str = ""
    """What the plugin continues without, in a few words; empty if the error alone explains the failure."""
    error: str
    """Type and message of the exception."""


class ExceptionRaised(_Event):
    """The loop or a plugin raised an exception that ends the run."""

    event: Literal["exception"] = "exception"
    epoch: int
    step: int
    error: str
    """Type and message of the exception."""
    traceback: str = ""


class StopRequested(_Event):
    """A signal or a stop file ends the run."""

    event: Literal["signal"] = "signal"
    epoch: int
    step: int
    name: str
    """Name of the signal, such as SIGTERM, or path of the stop file."""


class RunEnded(_Event):
    """The run is over; missing if its process was killed."""

    event: Literal["end"] = "end"
    outcome: Literal["finished", "stopped", "interrupted", "failed"]
    reason: str
    """Why, in words."""
    epochs: int
    """Number of finished epochs, those before a resume included."""
    step: int
    seconds: float
    """Duration since the run began or was resumed."""
    best: dict[str, BestRecord] = Field(default_factory=dict[str, BestRecord])
    checkpoints: tuple[str, ...] = ()
    """The files that were written and not deleted since."""


Event: TypeAlias = (
    RunStarted
    | RunResumed
    | EpochEnded
    | DecisionMade
    | CheckpointSaved
    | FailureReported
    | ExceptionRaised
    | StopRequested
    | RunEnded
)

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def schema() -> dict[str, Any]:
    """Return the JSON schema of one line.

    >>> schema()["discriminator"]["propertyName"]
    'event'
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": NAME, **_EVENT.json_schema()}


@dataclass(frozen=True)
class RunJournal:
    """The events of one run in a journal."""

    path: Path
    events: tuple[Event, ...]
    """The valid events, in order; the first is ``RunStarted`` or ``RunResumed``."""
    void: int = 0
    """Number of events that a resume made void."""

    @property
    def introduction(self) -> RunStarted | RunResumed:
        """The event with which the run began or was last resumed."""
        return [each for each in self.events if isinstance(each, (RunStarted, RunResumed))][-1]

    @property
    def callbacks(self) -> Mapping[str, PluginRecord]:
        """Name of each plugin to the callback that made it."""
        return self.introduction.callbacks

    @property
    def epochs(self) -> list[EpochEnded]:
        """The finished epochs."""
        return [each for each in self.events if isinstance(each, EpochEnded)]

    @property
    def decisions(self) -> list[DecisionMade]:
        """The decisions that were carried out."""
        return [each for each in self.events if isinstance(each, DecisionMade)]

    @property
    def end(self) -> RunEnded | None:
        """The end of the run; None if it still runs or was killed."""
        return self.events[-1] if isinstance(self.events[-1], RunEnded) else None


def read(path: Path) -> list[RunJournal]:
    """Return the runs in a journal, in the order in which they began.

    Raises:
        JournalError: The file cannot be read, is not a journal, or has a damaged line before the last one.
    """
    runs: dict[str, list[tuple[int, Event]]] = {}
    void: dict[str, int] = {}
    run: list[tuple[int, Event]] | None = None
    for end, event in parse(path):
        if isinstance(event, (RunStarted, RunResumed)):
            run = runs.setdefault(event.run, [])
        assert run is not None  # `parse` raises if another event is first
        if isinstance(event, RunResumed):
            before = len(run)
            run[:] = [each for each in run if each[0] <= event.length]
            void[event.run] = void.get(event.run, 0) + before - len(run)
        run.append((end, event))
    return [RunJournal(path, tuple(event for _, event in events), void.get(name, 0)) for name, events in runs.items()]


def parse(path: Path) -> Iterator[tuple[int, Event]]:
    """Yield the end of each complete line of a journal, as an offset in bytes, and its event, void ones included.

    Raises:
        JournalError: As in ``read``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error
    data = data.rstrip(b"\0")  # a file system may append zeros when the machine crashes
    if not data:
        raise JournalError(f"{str(path)!r} is empty")
    lines = data.split(b"\n")
    last, end = len(lines) - (lines[-1] == b""), 0
    for number, line in enumerate(lines[:last], start=1):
        end += len(line) + 1
        try:
            event = _EVENT.validate_json(line)
        except ValidationError as error:
            if number == last > 1 and error.errors()[0]["type"] == "json_invalid":
                return
            raise JournalError(f"{str(path)!r} {_damage(number, error)}") from None
        if isinstance(event, (RunStarted, RunResumed)):
            if event.version > VERSION:
                raise JournalError(
                    f"{str(path)!r}, line {number}: written by a later trainbus; upgrade trainbus to read it"
                )
        elif number == 1:
            raise JournalError(f"{str(path)!r} is not a journal: its first event is {event.event!r} and not 'begin'")
        yield end, event


def _damage(number: int, error: ValidationError) -> str:
    if number == 1:
        return "is not a journal of trainbus"
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return f"is damaged in line {number}: {f'{where}: ' if where else ''}{first['msg'].lower()}"
