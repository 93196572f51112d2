"""The file in a directory to which the history of a run is appended, so that a manifest needs to name it only.

A manifest names a file, how much of it counts, and the digest of that much. The file is written and synced before the
manifest, so whatever a crash leaves, each manifest finds what it names. What a run appends after it was resumed from an
older checkpoint does not replace what follows that checkpoint, which other manifests may name: a record says from where
on the records before it do not count.

A store cannot append. There the newest records are in the manifest itself; whenever they exceed ``SEGMENT`` bytes,
they become an object of their own, which names the one before it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ..errors import CheckpointError
from ..limits import HISTORY_BYTES
from ..storage.atomic_file import DIFFERS, make_directory, sync
from ..storage.backend import backend_for
from ..storage.file_kind import check_regular, open_regular
from ..storage.paths import Location, relative_to, resolve_relative

PREFIX = "trainbus.history-"
NAME = re.compile(r"trainbus\.history-([0-9a-f]+)-[0-9a-f]+\.jsonl")
"""The names of these files; the first number is that of the run."""
SEGMENT = 1 << 16
"""Bytes of records that a manifest in a store holds itself at most."""
BACK, BEFORE = "back", "before"
"""The kinds of records about the file: from which byte on the records before this one do not count; which object is
before this one."""

_HERE = re.compile(rf"(\.\./)*{NAME.pattern}")


class HistoryKey(NamedTuple):
    """A part of a file that counts as a history."""

    file: str
    length: int
    digest: str


class HistoryReference(BaseModel):
    """What a manifest names of a history."""

    model_config = ConfigDict(frozen=True)

    file: str = ""
    """The file, relative to the directory of the manifest; empty if there is none yet."""
    length: int = Field(default=0, ge=0)
    """How many bytes of it count."""
    digest: str = ""
    """The SHA-256 digest of these bytes."""
    records: list[Any] = Field(default_factory=list[Any])
    """The records after these."""

    @property
    def key(self) -> HistoryKey:
        """What identifies the part of the file that counts."""
        return HistoryKey(self.file, self.length, self.digest)


class HistoryLog:
    """The history of one run in one directory.

    Args:
        directory: The directory.
        run: The identifier of the run, in hexadecimal digits.
    """

    def __init__(self, directory: Location, run: str) -> None:
        self.directory = directory
        self.path = directory / f"{PREFIX}{run}-{secrets.token_hex(4)}.jsonl"
        self._run = run
        self._hash, self._digest = hashlib.sha256(), ""
        self._length = self._written = 0
        self._data = bytearray()
        """The records that are not in the file yet."""
        self._records: list[Any] = []
        """In a store, the records that the next manifest holds itself."""
        self._segments: list[tuple[Location, bytes]] = []
        """In a store, the objects that are not written yet."""

    @property
    def is_there(self) -> bool:
        """Whether the file, if it was written before, still has what was written to it; a store is not asked."""
        if not isinstance(self.path, Path) or not self._written:
            return True
        try:
            return self.path.stat().st_size >= self._written
        except OSError:
            return False

    def follow(self, path: Location, reference: HistoryReference) -> None:
        """Continue the file that a checkpoint names, after what it names of it.

        Args:
            path: The file.
            reference: What the checkpoint names of it, which was read.

        Raises:
            OSError: The file cannot be read, or is too long.
        """
        if not isinstance(path, Path):
            self.path, self._length, self._digest = path, reference.length, reference.digest
            self._records = list(reference.records)
            return
        size = path.stat().st_size
        if size > HISTORY_BYTES:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes", str(path))
        data = _read(path, size)
        self._hash.update(data)
        self.path, self._length, self._written = path, len(data), len(data)
        if len(data) > reference.length:
            line = b"" if data.endswith(b"\n") else b"\n"  # the record of a process that died
            self._append(line + _line([BACK, reference.length]))

    def add(self, records: Iterable[Any]) -> None:
        """Add records: lists whose first item names the kind; the next ``write`` writes them."""
        if isinstance(self.path, Path):
            self._append(b"".join(map(_line, records)))
            return
        self._records += records
        data = b"".join(map(_line, self._records))
        if len(data) > SEGMENT:
            if self._length:
                before = {"file": self.path.name, "length": self._length, "digest": self._digest}
                data = _line([BEFORE, before]) + data
            self.path = self.directory / f"{PREFIX}{self._run}-{secrets.token_hex(4)}.jsonl"
            self._length, self._digest = len(data), hashlib.sha256(data).hexdigest()
            self._segments.append((self.path, data))
            self._records = []

    def reference(self, directory: Location) -> HistoryReference:
        """Return what a manifest in a directory names, once ``write`` was called.

        >>> import tempfile
        >>> log = HistoryLog(Path(tempfile.mkdtemp()), "2a")
        >>> log.add([["epoch", 0, {"loss": 1.0}]])
        >>> reference = log.reference(log.directory)
        >>> log.write()
        >>> read_history(log.directory, reference)
        [['epoch', 0, {'loss': 1.0}]]
        """
        if not self._length:
            return HistoryReference(records=list(self._records))
        digest = self._hash.hexdigest() if isinstance(self.path, Path) else self._digest
        file = relative_to(self.directory.resolve() / self.path.name, directory.resolve())
        return HistoryReference(file=file, length=self._length, digest=digest, records=list(self._records))

    def write(self) -> None:
        """Write what was added, and sync it; call this before the manifest is written.

        Raises:
            OSError: It could not be written; the next call tries again.
        """
        while self._segments:
            path, data = self._segments[0]
            backend_for(path).replace(data.decode())
            del self._segments[0]
        if self._data and isinstance(self.path, Path):
            _write_at(self.path, self._written, bytes(self._data))
            self._written += len(self._data)
            self._data.clear()

    def _append(self, data: bytes) -> None:
        self._data += data
        self._hash.update(data)
        self._length += len(data)


def read_history(directory: Location, reference: HistoryReference) -> list[Any]:
    """Return the records that a manifest names.

    Args:
        directory: The directory of the manifest.
        reference: What the manifest names.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    records = list(reference.records)
    seen: set[str] = set()
    total = 0
    while reference.file:
        place = history_file(directory, reference)
        if place.name in seen:
            raise CheckpointError(f"{str(place)!r} names itself")
        seen.add(place.name)
        total += reference.length
        if total > HISTORY_BYTES:
            raise CheckpointError(f"{str(place)!r} is not read: a history has at most {HISTORY_BYTES:,} bytes")
        try:
            data = _read(place, reference.length)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            why = "is missing; move it together with the checkpoint" if missing else f"cannot be read: {error}"
            raise CheckpointError(f"{str(place)!r} {why}") from error
        if hashlib.sha256(data).hexdigest() != reference.digest:
            raise CheckpointError(f"{str(place)!r} is damaged: its bytes are not those that were written")
        found = _valid_records(data)
        before = found[0][1] if found and found[0][0] == BEFORE else None
        records = [*(found if before is None else found[1:]), *records]
        directory = place.parent
        reference = HistoryReference() if before is None else _reference_before(before)
    return records


def history_file(directory: Location, reference: HistoryReference) -> Location:
    """Return the file that a manifest in a directory names.

    Raises:
        CheckpointError: It is no file of a history.
    """
    if not _HERE.fullmatch(reference.file):
        raise CheckpointError(f"{reference.file[:80]!r} is not the name of a history")
    return resolve_relative(directory.resolve() if "/" in reference.file else directory, reference.file)


def find_history_flaws(references: Iterable[tuple[Location, HistoryReference]]) -> dict[HistoryKey, str]:
    """Verify histories, each file once, although many checkpoints name the beginning of one file.

    Args:
        references: The directory of each manifest, and what it names.

    Returns:
        The key of each reference to a file that is missing or damaged, with what is wrong, in words.
    """
    flaws: dict[HistoryKey, str] = {}
    by_file: dict[Location, set[HistoryKey]] = {}
    for directory, reference in references:
        if reference.file:
            try:
                by_file.setdefault(history_file(directory, reference), set()).add(reference.key)
            except CheckpointError as error:
                flaws[reference.key] = str(error)
    for place, keys in by_file.items():
        try:
            data = memoryview(_read(place, min(HISTORY_BYTES, max(key.length for key in keys))))
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            flaws.update(dict.fromkeys(keys, f"its history is {'missing' if missing else f'unreadable: {error}'}"))
            continue
        digest, done = hashlib.sha256(), 0
        for key in sorted(keys, key=lambda key: key.length):
            digest.update(data[done : key.length])
            done = max(done, key.length)
            if key.length > len(data) or digest.hexdigest() != key.digest:
                flaws[key] = "its history is damaged"
    return flaws


def remove_unnamed(directory: Location, named: Callable[[], Iterable[str]]) -> None:
    """Remove the histories in a directory that no manifest names.

    Args:
        directory: The directory.
        named: Returns the names of the files that manifests name; called only if there are any files, and read only
            until each of them is named.
    """
    whole = isinstance(directory, Path)  # objects name those before them, so that one that is named needs the others
    unused: dict[str, set[str]] = {}
    for name in backend_for(directory).list_names():
        if found := NAME.fullmatch(name):
            unused.setdefault(name if whole else found[1], set()).add(name)
    for name in named() if unused else ():
        if found := NAME.fullmatch(name):
            unused.pop(name if whole else found[1], None)
        if not unused:
            return
    for name in set[str]().union(*unused.values()):
        backend_for(directory / name).remove()


def reference_in(run_state: Mapping[str, Any]) -> HistoryReference | None:
    """Return what the state of a run names; None if it names no history, or something else."""
    try:
        return HistoryReference.model_validate(run_state["history"])
    except (KeyError, ValueError):
        return None


def _reference_before(found: Any) -> HistoryReference:
    """Return what an object names before it, which is in the same directory.

    Raises:
        CheckpointError: It is no history.
    """
    try:
        reference = HistoryReference.model_validate(found)
    except ValueError:
        raise CheckpointError("the history names no history before it") from None
    if not NAME.fullmatch(reference.file) or reference.records:
        raise CheckpointError(f"{reference.file[:80]!r} is not the name of a history")
    return reference


def _read(path: Location, length: int) -> bytes:
    """Return the first bytes of a file."""
    if not isinstance(path, Path):
        return backend_for(path).read()[:length]
    with open_regular(path) as file:
        return file.read(min(length, os.fstat(file.fileno()).st_size))


def _line(record: Any) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _valid_records(data: bytes) -> list[Any]:
    """Return the records of a file that count.

    Raises:
        CheckpointError: One is no record.
    """
    starts = [0, *(found.end() for found in re.finditer(rb"\n", data))]
    lines = list(zip(starts, data.splitlines(), strict=False))
    found: list[Any] = []
    valid = len(data)
    for start, line in reversed(lines):
        if start >= valid or not line.strip():
            continue
        try:
            record = _list_in(line)
            kind = record[0] if record else None
            if not isinstance(kind, str):
                raise ValueError(f"it begins with {line[:20]!r}")  # noqa: TRY004 - one error for all of them
            valid = int(record[1]) if kind == BACK else valid
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
            raise CheckpointError(f"the history has a line that is no record: {error}") from None
        if kind != BACK:
            found.append(record)
    return found[::-1]


def _write_at(path: Path, position: int, data: bytes) -> None:
    """Write to a file from a position on, and sync it; what a failed attempt has left there is replaced."""
    make_directory(path.parent)
    check_regular(path)
    flags = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(path, flags if position else flags | os.O_CREAT, 0o666)
    with os.fdopen(handle, "r+b", buffering=0) as file:
        file.seek(position)
        written, view = 0, memoryview(data)
        while written < len(data):
            written += file.write(view[written:]) or 0
        os.fsync(handle)
        file.seek(position)
        if file.read(len(data)) != data:
            raise OSError(DIFFERS)
    if not position:
        sync(path.parent)


def _list_in(line: bytes) -> list[Any]:
    match json.loads(line):
        case [*items]:
            return items
        case _:
            return []
