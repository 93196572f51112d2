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
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...limits import HISTORY_BYTES
from ...storage.atomic_file import DIFFERS, fill, make_directory, sync, write_bytes
from ...storage.backend import backend_for
from ...storage.file_kind import check_regular
from ...storage.paths import Location, relative_to
from .history_reader import BACK, BEFORE, PREFIX, HistoryReference, read_start

SEGMENT = 1 << 16
"""Bytes of records that a manifest in a store holds itself at most."""


class HistoryLog:
    """The history of one run in one directory.

    Args:
        directory: The directory.
        run: What the names of the run's history files have in common, in hexadecimal digits.
    """

    def __init__(self, directory: Location, run: str) -> None:
        self.directory = directory
        self.path = directory / f"{PREFIX}{run}-{secrets.token_hex(4)}.jsonl"
        self._run = run
        self._hash, self._digest = hashlib.sha256(), ""
        self._length = self._written = 0
        self._data = bytearray()
        """What is in the file, and the records that are not there yet."""
        self._status: tuple[int, ...] = ()
        """The identity of the file, its size and its time after it was last written or compared."""
        self._records: list[Any] = []
        """In a store, the records that the next manifest holds itself."""
        self._segments: list[tuple[Location, bytes]] = []
        """In a store, the objects that are not written yet."""

    @property
    def flaw(self) -> str:
        """What happened to the file since it was written, in words; empty if it is as it was. A store is not asked."""
        if not isinstance(self.path, Path) or not self._written:
            return ""
        try:
            status = self.path.lstat()
            if _identity(status) != self._status[:2]:
                return "was replaced"
            # two changes may have the same time, so what is read fast is always compared
            if self._written <= SEGMENT or _stamp(status) != self._status:
                if read_start(self.path, self._written) != bytes(self._data[: self._written]):
                    return "was changed"
                self._status = _stamp(status)
        except (FileNotFoundError, NotADirectoryError):
            return "was removed"
        except OSError as error:
            return f"became unreadable ({error.strerror or error})"
        return ""

    def write_again(self) -> None:
        """Replace the file by one with everything that was written to it.

        Raises:
            OSError: It could not be written, or something else than a file is there.
        """
        assert isinstance(self.path, Path)
        backend = backend_for(self.path)
        staged, data = backend.new_file(), bytes(self._data[: self._written])
        fill(staged, lambda path: write_bytes(path, data))
        backend.publish(staged)
        self._status = _stamp(self.path.lstat())

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
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > HISTORY_BYTES:
            raise OSError(errno.EINVAL, f"it is no regular file of at most {HISTORY_BYTES:,} bytes", str(path))
        data = read_start(path, status.st_size)
        self._hash.update(data)
        self.path, self._length, self._written = path, len(data), len(data)
        self._data, self._status = bytearray(data), _stamp(status)
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
        >>> from trainbus.checkpoints.history.history_reader import read_history
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
        beside = directory == self.directory
        file = self.path.name if beside else relative_to(self.directory.resolve() / self.path.name, directory.resolve())
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
        if len(self._data) > self._written and isinstance(self.path, Path):
            self._status = _stamp(_write_at(self.path, self._written, bytes(self._data[self._written :])))
            self._written = len(self._data)

    def _append(self, data: bytes) -> None:
        self._data += data
        self._hash.update(data)
        self._length += len(data)


def _line(record: Any) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return *_identity(status), status.st_size, status.st_mtime_ns


def _write_at(path: Path, position: int, data: bytes) -> os.stat_result:
    """Write to a file from a position on, sync it, and return its status; what a failed attempt left is replaced."""
    if not position:
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
        status = os.fstat(handle)
    if not position:
        sync(path.parent)
    return status
