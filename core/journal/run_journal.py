"""The runs in a journal, and the reader of its lines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ..errors import JournalError
from ..limits import JOURNAL_BYTES, JOURNAL_LINE
from ..storage.file_kind import open_regular
from .events import (
    EVENT_ADAPTER,
    VERSION,
    DecisionMade,
    EpochEnded,
    Event,
    PluginRecord,
    RunEnded,
    RunResumed,
    RunStarted,
)


@dataclass(frozen=True)
class RunJournal:
    """The events of one run in a journal."""

    path: Path
    events: tuple[Event, ...]
    """The valid events, in order; the first is ``RunStarted`` or ``RunResumed``."""
    void: int = 0
    """Number of events that became void because the run was resumed."""

    @property
    def introduction(self) -> RunStarted | RunResumed:
        """The event that records the start of the run, or its last resume."""
        return [each for each in self.events if isinstance(each, (RunStarted, RunResumed))][-1]

    @property
    def callbacks(self) -> Mapping[str, PluginRecord]:
        """Name of each plugin to the callback that made it."""
        return self.introduction.callbacks

    @property
    def by_steps(self) -> bool:
        """Whether the loop was one by steps, which has no epochs."""
        return self.introduction.validate_every is not None or any(each.unit != "epoch" for each in self.epochs)

    @property
    def epochs(self) -> list[EpochEnded]:
        """The finished epochs; in a loop by steps, the validations."""
        return [each for each in self.events if isinstance(each, EpochEnded)]

    @property
    def decisions(self) -> list[DecisionMade]:
        """The executed decisions."""
        return [each for each in self.events if isinstance(each, DecisionMade)]

    @property
    def end(self) -> RunEnded | None:
        """The end of the run; None if the run is still active or was killed."""
        return self.events[-1] if isinstance(self.events[-1], RunEnded) else None


def read(path: Path) -> list[RunJournal]:
    """Return the runs in a journal, in the order in which they began.

    Args:
        path: The journal.

    Raises:
        JournalError: The file cannot be read, is not a journal, or has a damaged line before the last one.

    >>> import tempfile
    >>> from trainbus import Run
    >>> from trainbus.plugins import Journal
    >>> path = Path(tempfile.mkdtemp()) / "journal.jsonl"
    >>> with Run(callbacks=Journal(str(path))) as run:
    ...     for epoch in run.epochs(2):
    ...         run.log(loss=1.0)
    >>> [len(each.epochs) for each in read(path)]
    [2]
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
    """Yield the end of each complete line of a journal, as a byte offset, and its event, including void events.

    Args:
        path: The journal.

    Raises:
        JournalError: As in ``read``.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > JOURNAL_BYTES:
                raise JournalError(f"{str(path)!r} has {size:,} bytes; a journal has at most {JOURNAL_BYTES:,}")
            data = file.read(JOURNAL_BYTES + 1)
    except OSError as error:
        raise JournalError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error
    data = data.rstrip(b"\0")  # a file system may append zeros when the machine crashes
    if not data:
        raise JournalError(f"{str(path)!r} is empty")
    lines = data.split(b"\n")
    last, end = len(lines) - (lines[-1] == b""), 0
    for number, line in enumerate(lines[:last], start=1):
        end += len(line) + 1
        if len(line) > JOURNAL_LINE:
            raise JournalError(
                f"{str(path)!r}, line {number}: it has {len(line):,} bytes; the limit is {JOURNAL_LINE:,}"
            )
        try:
            event = EVENT_ADAPTER.validate_json(line)
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
