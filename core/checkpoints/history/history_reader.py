"""The history that a manifest names: a file, how much of it counts, and the digest of that much."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ...errors import CheckpointError
from ...limits import HISTORY_BYTES
from ...storage.backend import backend_for
from ...storage.file_kind import open_regular
from ...storage.paths import Location, resolve_relative

PREFIX = "trainbus.history-"
NAME = re.compile(r"trainbus\.history-([0-9a-f]+)-[0-9a-f]+\.jsonl")
"""The names of these files; the first number is that of the run."""
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
            raise CheckpointError(f"{str(place)!r} is damaged: it refers to itself")
        seen.add(place.name)
        total += reference.length
        if total > HISTORY_BYTES:
            raise CheckpointError(f"{str(place)!r} is too large: a history has at most {HISTORY_BYTES:,} bytes")
        try:
            data = read_start(place, reference.length)
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
        raise CheckpointError(f"{reference.file[:80]!r} is not the name of a history file")
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
            data = memoryview(read_start(place, min(HISTORY_BYTES, max(key.length for key in keys))))
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
            until each of them is named. If it raises ``OSError``, nothing is removed.
    """
    whole = isinstance(directory, Path)  # objects name those before them, so that one that is named needs the others
    unused: dict[str, set[str]] = {}
    for name in backend_for(directory).list_names():
        if found := NAME.fullmatch(name):
            unused.setdefault(name if whole else found[1], set()).add(name)
    try:
        for name in named() if unused else ():
            if found := NAME.fullmatch(name):
                unused.pop(name if whole else found[1], None)
            if not unused:
                return
    except OSError:  # a manifest that could not be read may name any of them
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
        raise CheckpointError("the history has a damaged reference to the one before it") from None
    if not NAME.fullmatch(reference.file) or reference.records:
        raise CheckpointError(f"{reference.file[:80]!r} is not the name of a history file")
    return reference


def read_start(path: Location, length: int) -> bytes:
    """Return the first bytes of a file, or fewer if it is shorter."""
    if not isinstance(path, Path):
        return backend_for(path).read()[:length]
    with open_regular(path) as file:
        return file.read(min(length, os.fstat(file.fileno()).st_size))


def _valid_records(data: bytes) -> list[Any]:
    """Return the records of a file that count.

    Raises:
        CheckpointError: One is no record.
    """
    starts = [0, *(found.end() for found in re.finditer(rb"\n", data))]
    lines = list(zip(starts, data.split(b"\n"), strict=False))
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
            raise CheckpointError(f"the history has an invalid line: {error}") from None
        if kind != BACK:
            found.append(record)
    return found[::-1]


def _list_in(line: bytes) -> list[Any]:
    match json.loads(line):
        case [*items]:
            return items
        case _:
            return []
