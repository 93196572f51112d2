"""What a run has done, in the files beside its checkpoints: its history, its past decisions, and its files."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from ..checkpoints import Checkpoint
from ..checkpoints.history.history_log import HistoryLog
from ..checkpoints.history.history_reader import NAME, HistoryReference, read_history
from ..checkpoints.run_files import RunFiles
from ..decision import REQUEST, Decision
from ..decision.json_format import decision_from_json, decision_to_json
from ..errors import CheckpointError, TrainbusError
from ..limits import EPOCHS
from ..storage.paths import Location, StartDirectory, as_text, location, relative_to, resolve_relative
from .serialization import from_json_data, to_json_data

EPOCH, DECISION, WRITTEN, DELETED = "epoch", "decision", "written", "deleted"
"""The kinds of records."""


class Past(NamedTuple):
    """What a run did before a checkpoint."""

    epochs: list[tuple[int, Mapping[str, Any]]]
    """Each epoch that ended, with its metrics."""
    decisions: list[tuple[int, Decision]]
    """Each decision that was executed, with its epoch."""
    files: list[Location]
    """The files that were written and not deleted."""


class Followed(NamedTuple):
    """The history of the checkpoint from which a run was resumed."""

    file: Location | None
    """Its file; None if it has none, or if that is missing or damaged."""
    reference: HistoryReference
    counts: tuple[int, int, int]
    """How many epochs, decisions and changes of files of the run it has."""


class HistorySource(Protocol):
    """The data of a run that its history holds; ``RunState`` documents the members."""

    # ruff: noqa: D102
    @property
    def epoch_metrics(self) -> Sequence[tuple[int, Mapping[str, Any]]]: ...
    @property
    def decision_log(self) -> Sequence[tuple[int, Decision]]: ...
    @property
    def files(self) -> RunFiles: ...
    @property
    def followed(self) -> Followed | None: ...


class RunHistory:
    """Appends what a run does to a history in each directory in which it saves.

    Args:
        source: The data of the run.
        report: Called with the name of this part, an error that says what happened to a file, and what is lost.
    """

    def __init__(
        self, source: HistorySource, report: Callable[[str, Exception, str], object] = lambda _, __, ___: None
    ) -> None:
        self.directories: tuple[Location, ...] = ()
        """The directories that the run owns."""
        self._source, self._report = source, report
        self._id = secrets.token_hex(8)
        self._logs: dict[Location, tuple[HistoryLog, list[int]]] = {}
        """A directory to its history, and how many epochs, decisions and changes of files it has."""

    def log_for(self, path: Location, *, restored: bool = False) -> HistoryLog:
        """Return the history of a checkpoint, with everything until now.

        Args:
            path: The absolute path of the checkpoint.
            restored: Whether to leave out what the run has done since it was resumed.
        """
        source, directory = self._source, self._directory_of(path)
        own = source.files.start.identity(directory)
        if own not in self._logs:
            self._logs[own] = self._new(directory, own, first=True)
        if flaw := self._logs[own][0].flaw:
            self._make_again(directory, own, flaw)
        log, done = self._logs[own]
        now = len(source.epoch_metrics), len(source.decision_log), len(source.files.log)
        until = source.followed.counts if restored and source.followed is not None else now
        log.add(self._records(done, until, directory))
        done[:] = map(max, done, until)
        return log

    def whole(self, directory: Location) -> HistoryReference:
        """Return everything until now as a reference without a file.

        Args:
            directory: The absolute directory that paths are also given relative to.
        """
        source = self._source
        now = len(source.epoch_metrics), len(source.decision_log), len(source.files.log)
        return HistoryReference(records=list(self._records((0, 0, 0), now, directory)))

    def _make_again(self, directory: Location, own: Location, flaw: str) -> None:
        """Write a history again that someone has changed; if that fails, begin another one with all that is known."""
        log = self._logs[own][0]
        what, lost = f"{str(log.path)!r} {flaw} during the run", ""
        try:
            log.write_again()
            what += "; it is written again, with the whole history"
        except OSError as error:
            lost = "checkpoints before this lost their history"
            what += (
                f", and cannot be written again: {error}; later checkpoints name another file with the whole history"
            )
            self._logs[own] = self._new(directory, own, first=False)
        self._report("history", CheckpointError(what), lost)

    def _new(self, directory: Location, own: Location, *, first: bool) -> tuple[HistoryLog, list[int]]:
        source, followed = self._source, self._source.followed
        log = HistoryLog(directory, self._identifier())
        file = None if followed is None or not first else followed.file
        if followed is not None and file is not None and source.files.start.identity(file.parent) == own:
            with suppress(OSError):  # it has gone since it was read
                log.follow(file, followed.reference)
                return log, list(followed.counts)
        return log, [0, 0, 0]

    def _identifier(self) -> str:
        """Return what the names of the files have in common: in a store, they name those of the resumed run."""
        followed = self._source.followed
        found = NAME.fullmatch(followed.file.name) if followed is not None and followed.file is not None else None
        return found[1] if found else self._id

    def _records(self, done: Sequence[int], until: Sequence[int], directory: Location) -> Iterator[list[Any]]:
        source = self._source
        for epoch, metrics in source.epoch_metrics[done[0] : until[0]]:
            yield [EPOCH, epoch, storable(metrics)]
        for epoch, decision in source.decision_log[done[1] : until[1]]:
            if REQUEST not in decision.askers:
                yield [DECISION, epoch, decision_to_json(decision)]
        for path, written in source.files.log[done[2] : until[2]]:
            place = relative_to(source.files.start.fixed(path), directory)
            yield [WRITTEN if written else DELETED, as_text(path), place]

    def _directory_of(self, path: Location) -> Location:
        """Return the innermost owned directory around a file, else its own directory."""
        start, directory = self._source.files.start, path.parent
        if directory in map(start.fixed, self.directories):  # as it is for most files, without asking the disk
            return directory
        owned = set(map(start.identity, self.directories))
        while start.identity(directory) not in owned:
            if directory.parent == directory:
                return path.parent
            directory = directory.parent
        return directory


def read_past(checkpoint: Checkpoint, reference: HistoryReference, start: StartDirectory) -> Past:
    """Return what a run did before a checkpoint.

    Args:
        checkpoint: The checkpoint.
        reference: The history that it names.
        start: Where relative paths start.

    Raises:
        CheckpointError: The history is missing or damaged.
    """
    directory = checkpoint.path.parent
    records = read_history(directory, reference)
    # the files are named relative to the directory of the history
    origin = resolve_relative(directory, reference.file).parent if reference.file else directory
    past, files = Past([], [], []), dict[Location, Location]()
    try:
        for kind, *values in records:
            if kind == EPOCH:
                past.epochs.append((checked_epoch(values[0]), dict(from_json_data(values[1]))))
            elif kind == DECISION:
                past.decisions.append((checked_epoch(values[0]), decision_from_json(values[1])))
            elif kind in (WRITTEN, DELETED):
                file = location(start.present(values[0], values[1], origin))
                files.pop(start.identity(file), None)
                if kind == WRITTEN:
                    files[start.identity(file)] = file
    except (ValueError, TypeError, LookupError, TrainbusError) as error:
        raise CheckpointError(f"its history cannot be read: {error}") from error
    return past._replace(files=list(files.values()))


def checked_epoch(epoch: Any) -> int:
    """Return the number of an epoch.

    Raises:
        ValueError: It is no such number.
    """
    if type(epoch) is not int or not 0 <= epoch <= EPOCHS:
        raise ValueError(f"an epoch is {str(epoch)[:40]!r}")
    return epoch


def storable(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics that are numbers or arrays of them, as plain data."""
    found: dict[str, Any] = {}
    for name, value in metrics.items():
        try:
            found[name] = to_json_data(value)
        except TypeError:
            continue
    return found
