"""The journal of a run: a line of JSON for each thing that happened, written as it happens, and how it is read.

Each line is an object whose key "event" tells which of the models below it is. Everything is strict JSON: numbers that
are not finite are the texts "NaN", "Infinity" and "-Infinity". Epochs count from 0, times are seconds since 1970.

A file holds one run after another, each from its "begin" on. A run that was resumed goes on in the file in which it
began: its "resumed" event says how many bytes of the file hold still, and what the run wrote after them is void. No
record is ever destroyed, and yet the file tells the story of one run. Where a process was killed, the last line may be
torn.
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
    "Best",
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
"""What a journal is called where nobody says otherwise."""

VERSION: Final = 1
"""Of the schema; a new one where a reader of the old one would misunderstand."""

_NOT_FINITE: Final = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}
_NUMBER: Final = {"anyOf": [{"type": "number"}, {"enum": list(_NOT_FINITE)}]}


def _number_in(value: object) -> object:
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value


Number = Annotated[float, BeforeValidator(_number_in), WithJsonSchema(_NUMBER)]
"""A number, finite or not."""

Value = Annotated[bool | int | float | str | None, BeforeValidator(_number_in)]
"""One thing that a rule has looked at."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings", use_attribute_docstrings=True)


class PluginRecord(_Model):
    """One plugin of the run."""

    callback: str = ""
    """Class of the callback that made it; empty where the user listed the plugin itself."""
    settings: dict[str, Any] = Field(default_factory=dict[str, Any])
    """The options of the callback as they were given, defaults included; None is left out."""


class Best(_Model):
    """The best value of a metric."""

    value: Number
    epoch: int


class ActionRecord(_Model):
    """One action that was carried out."""

    kind: Literal["scale_learning_rate", "keep", "save", "restore", "forget", "stop"]
    """What it is: the function of `trainbus.decision` that makes it."""
    by: str
    """Name of the plugin that asked for it; "loop" for the loop itself, "request" for a signal or a stop file."""
    reason: str
    """Why, in words."""
    options: dict[str, Value] = Field(default_factory=dict[str, Any])
    """What the action was asked with: factor and floor, path, slot, source ..."""
    rule: str = ""
    """The rule that asked for it: "early stopping", say; empty where nobody told."""
    values: dict[str, Value] = Field(default_factory=dict[str, Any])
    """What the rule saw: the name of the metric, its value, the best and its epoch, how long it has waited, and the
    settings that it was compared with."""


class _Event(_Model):
    time: float
    """When it happened, in seconds since 1970."""


class _Introduction(_Event):
    run: str
    """What tells this run from the others in the file, also after it was resumed."""
    version: int = VERSION
    """Of the schema."""
    subject: str | None
    """The type of what is trained, as its adapter presents it; None for a loop that only has numbers."""
    planned_epochs: int | None = None
    """Number of the last epoch, counted from 1; None where nothing tells, or not yet."""
    callbacks: dict[str, PluginRecord] = Field(default_factory=dict[str, PluginRecord])
    """Name of each plugin, in their order, to what made it."""
    environment: dict[str, str | int | None] = Field(default_factory=dict[str, str | int | None])
    """Machine, process, and the version of each package that matters."""


class RunStarted(_Introduction):
    """A run began; what is before it in the file belongs to other runs."""

    event: Literal["begin"] = "begin"


class RunResumed(_Introduction):
    """A run goes on from a checkpoint; what it did after that checkpoint is void."""

    event: Literal["resumed"] = "resumed"
    checkpoint: str
    """The file that it goes on from."""
    epochs: int
    """Epochs that are over, which is also the number of the one to go on with."""
    step: int
    """Weight updates that were made."""
    length: int = 0
    """So many bytes of the file hold still: later events of this run, before this one, are void."""


class EpochEnded(_Event):
    """An epoch is over."""

    event: Literal["epoch"] = "epoch"
    epoch: int
    step: int
    """Weight updates made in the whole run."""
    seconds: float
    """How long it took, validation included."""
    metrics: dict[str, Number]
    """Its metrics that are single numbers, and the learning rates that it trained with."""


class DecisionMade(_Event):
    """A decision was carried out."""

    event: Literal["decision"] = "decision"
    epoch: int
    step: int
    actions: tuple[ActionRecord, ...]
    """What was carried out, in that order; what could not be is missing, and told as a failure."""
    learning_rates: dict[str, Number] | None = None
    """The learning rates that follow, where the decision is about them."""


class CheckpointSaved(_Event):
    """A checkpoint is complete and on the disk."""

    event: Literal["checkpoint"] = "checkpoint"
    epoch: int
    step: int
    path: str
    size: int
    digest: str
    weights_only: bool = False


class FailureReported(_Event):
    """Something went wrong, and the run went on."""

    event: Literal["failure"] = "failure"
    plugin: str
    hook: str
    """The hook in which an observer raised; empty where the plugin goes on without something, or a checkpoint that it
    asked for was not written."""
    lost: str = ""
    """What the plugin goes on without, in a few words; empty where the error tells it all."""
    error: str
    """The type of what was raised, and what it says."""


class ExceptionRaised(_Event):
    """The loop or a plugin raised what ends the run."""

    event: Literal["exception"] = "exception"
    epoch: int
    step: int
    error: str
    """The type of what was raised, and what it says."""
    traceback: str = ""


class StopRequested(_Event):
    """A signal or a stop file ends the run here."""

    event: Literal["signal"] = "signal"
    epoch: int
    step: int
    name: str
    """SIGTERM, say, or the path of the stop file."""


class RunEnded(_Event):
    """The run is over, in whatever way; missing where its process was killed."""

    event: Literal["end"] = "end"
    outcome: Literal["finished", "stopped", "interrupted", "failed"]
    reason: str
    """Why, in words."""
    epochs: int
    """Epochs that were trained to their end, those before a resume included."""
    step: int
    seconds: float
    """Since it began or was resumed."""
    best: dict[str, Best] = Field(default_factory=dict[str, Best])
    checkpoints: tuple[str, ...] = ()
    """The files that were written and not forgotten since."""


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
    """The JSON schema of one line.

    >>> schema()["discriminator"]["propertyName"]
    'event'
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": NAME, **_EVENT.json_schema()}


@dataclass(frozen=True)
class RunJournal:
    """What a journal tells of one run."""

    path: Path
    events: tuple[Event, ...]
    """Those that hold, in their order; the first is `RunStarted` or `RunResumed`."""
    void: int = 0
    """Number of events that were taken back by a resume."""

    @property
    def introduction(self) -> RunStarted | RunResumed:
        """How the run began, or was resumed last: the callbacks and the environment that it went on with."""
        return [each for each in self.events if isinstance(each, (RunStarted, RunResumed))][-1]

    @property
    def callbacks(self) -> Mapping[str, PluginRecord]:
        """Name of each plugin to what made it."""
        return self.introduction.callbacks

    @property
    def epochs(self) -> list[EpochEnded]:
        """Each epoch that is over."""
        return [each for each in self.events if isinstance(each, EpochEnded)]

    @property
    def decisions(self) -> list[DecisionMade]:
        """What was decided."""
        return [each for each in self.events if isinstance(each, DecisionMade)]

    @property
    def end(self) -> RunEnded | None:
        """How it ended; None where it goes on still, or was killed."""
        return self.events[-1] if isinstance(self.events[-1], RunEnded) else None


def read(path: Path) -> list[RunJournal]:
    """The story of each run in a journal, in the order in which they began.

    Raises:
        JournalError: it cannot be read, is no journal, or a line before the last is damaged.
    """
    runs: dict[str, list[tuple[int, Event]]] = {}
    void: dict[str, int] = {}
    run: list[tuple[int, Event]] | None = None
    for end, event in parse(path):
        if isinstance(event, (RunStarted, RunResumed)):
            run = runs.setdefault(event.run, [])
        assert run is not None  # `parse` lets no other come first
        if isinstance(event, RunResumed):
            before = len(run)
            run[:] = [each for each in run if each[0] <= event.length]
            void[event.run] = void.get(event.run, 0) + before - len(run)
        run.append((end, event))
    return [RunJournal(path, tuple(event for _, event in events), void.get(name, 0)) for name, events in runs.items()]


def parse(path: Path) -> Iterator[tuple[int, Event]]:
    """Each event of a journal, void ones too, and where in the file its line ends; a torn last line is left out.

    Raises:
        JournalError: as `read` does.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error
    data = data.rstrip(b"\0")  # which may follow where the machine died
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
            raise JournalError(f"{str(path)!r} {_flaw(number, error)}") from None
        if isinstance(event, (RunStarted, RunResumed)):
            if event.version > VERSION:
                raise JournalError(
                    f"{str(path)!r}, line {number}, was written by a later trainbus: upgrade it to read this"
                )
        elif number == 1:
            raise JournalError(f"{str(path)!r} is no journal: it begins with {event.event!r} and not with 'begin'")
        yield end, event


def _flaw(number: int, error: ValidationError) -> str:
    if number == 1:
        return "is no journal of trainbus"
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return f"is damaged in line {number}: {f'{where}: ' if where else ''}{first['msg'].lower()}"
