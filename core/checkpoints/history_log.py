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
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..limits import HISTORY_BYTES
from ..storage.atomic_file import DIFFERS, make_directory, sync
from ..storage.backend import backend_for
from ..storage.file_kind import check_regular
from ..storage.paths import Location, relative_to
from .history_reader import BACK, BEFORE, PREFIX, HistoryReference, read_start

SEGMENT = 1 << 16
"""Bytes of records that a manifest in a store holds itself at most."""


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
        data = read_start(path, size)
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
        >>> from trainbus.checkpoints.history_reader import read_history
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


def _line(record: Any) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


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
