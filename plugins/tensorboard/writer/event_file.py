"""TensorBoard's event files: their records, their names, and how they are truncated to a checkpoint.

tensorboardX provides the messages and the checksum. Its writers are not used: they send each scalar to a thread through
a pipe, which costs thirty times as much. If a full disk ends this thread, they block the training forever.
"""

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
import re
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tensorboardX.proto import event_pb2  # type: ignore[import-untyped]
from tensorboardX.record_writer import masked_crc32c  # type: ignore[import-untyped]

from trainbus.storage.file_kind import open_regular

from ...append_only_file import AppendOnlyFile

PREFIX = "events.out.tfevents."
_AROUND = 16
"""Bytes of a record beside its data: their length, and two checksums."""
_SECONDS = re.compile(rf"{re.escape(PREFIX)}(\d+)\.")


class EventFile:
    """A new event file in a directory, which is created if it does not exist.

    Records are buffered in memory until ``flush``. Flushed records survive the end of the process, however it ends.
    TensorBoard reads the file after all others in the directory, even if the clock was set back.

    Args:
        directory: The directory of one TensorBoard run.
        file_id: The end of the file's name, common to all files of one training run and of its resumed runs.
        first_step: The first step of a resumed run: TensorBoard drops the events that it has read from there on.
        report: As in ``AppendOnlyFile``.

    Raises:
        OSError: The file cannot be created.
    """

    def __init__(
        self,
        directory: Path,
        file_id: str,
        first_step: int | None = None,
        report: Callable[[OSError], object] = lambda _: None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        names = (_SECONDS.match(path.name) for path in directory.glob(f"{PREFIX}*"))
        seconds = max([int(time.time()), *(int(found[1]) + 1 for found in names if found)])
        name = f"{PREFIX}{seconds:010d}.{socket.gethostname()}.{os.getpid()}.{file_id}"
        self._file = AppendOnlyFile(directory / name, os.O_EXCL, report=report, complete=_complete_size)
        self._pending: list[bytes] = []
        self._events = 0
        self.write(time.time(), file_version="brain.Event:2")
        if first_step is not None:
            log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            for _ in range(2):  # TensorBoard ignores the first one
                self.write(time.time(), step=first_step, session_log=log)
        self._events = 0  # those above are no events of the training

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self._file.path

    @property
    def size(self) -> int:
        """Bytes of complete, flushed records."""
        return self._file.size

    @property
    def waiting(self) -> int:
        """Number of events that are not flushed yet."""
        return min(len(self._pending), self._events)

    def write(self, wall_time: float, **content: Any) -> None:
        """Append one event."""
        data: bytes = event_pb2.Event(wall_time=wall_time, **content).SerializeToString()
        length = struct.pack("<Q", len(data))
        checks = struct.pack("<I", masked_crc32c(length)), struct.pack("<I", masked_crc32c(data))
        self._pending.append(b"".join([length, checks[0], data, checks[1]]))
        self._events += 1

    def flush(self) -> None:
        """Pass all records to the operating system; if that fails, keep complete records and buffer the rest."""
        self._file.append(self._pending)

    def sync(self) -> None:
        """Sync the flushed records to the disk."""
        self._file.sync()

    def close(self) -> None:
        """Write and sync everything, and close the file; a second call has no effect."""
        if not self._file.closed:
            with closing(self._file):
                self.flush()
                self.sync()


def _complete_size(path: Path) -> int:
    """Return the size of an event file without an incomplete record at its end."""
    end = 0
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        while size - end >= _AROUND:
            file.seek(end)
            (length,) = struct.unpack("<Q", file.read(8))
            if end + _AROUND + length > size:
                break
            end += _AROUND + int(length)
    return end


def truncate_event_files(
    directories: Iterable[Path], file_id: str, sizes: Mapping[Path, int], is_own: Callable[[Path], bool] = Path.exists
) -> None:
    """Truncate the event files of one training run to an earlier state; other files stay as they are.

    Args:
        directories: The directories of the files.
        file_id: The end of their names.
        sizes: The earlier size of each file; files without one did not exist and are removed.
        is_own: Returns whether a file is one of the run; a link to a file elsewhere is not.
    """
    for directory in directories:
        for path in directory.glob(f"{PREFIX}*.{file_id}"):
            size = sizes.get(path)
            if not is_own(path):
                continue
            if size is None:
                path.unlink(missing_ok=True)
            elif path.stat().st_size > size:
                os.truncate(path, size)
