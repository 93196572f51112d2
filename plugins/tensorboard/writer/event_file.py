"""TensorBoard's event files: records, their names, and what a killed run left beyond a checkpoint.

tensorboardX gives the messages and the checksum. Its writers are not used: they hand each scalar to a thread through a
pipe, cost thirty times as much, and block the training for ever once that thread has died of a full disk.
"""

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
import re
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Any

from tensorboardX.proto import event_pb2  # type: ignore[import-untyped]
from tensorboardX.record_writer import masked_crc32c  # type: ignore[import-untyped]

PREFIX = "events.out.tfevents."
_SECONDS = re.compile(rf"{re.escape(PREFIX)}(\d+)\.")


class EventFile:
    """A new event file in a directory, which is made where it is not there.

    Records are gathered in memory until `flush`. What was flushed survives the end of the process, however it ends.
    The file is read after all that are in the directory already, whatever the clock says.

    Args:
        directory: of one TensorBoard run.
        line: what tells the files of one training run, also where it is resumed, from those of others.
        start: the first step of a run that was resumed: TensorBoard drops what it holds from there on.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, directory: Path, line: str, start: int | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        there = (_SECONDS.match(path.name) for path in directory.glob(f"{PREFIX}*"))
        seconds = max([int(time.time()), *(int(found[1]) + 1 for found in there if found)])
        self.path = directory / f"{PREFIX}{seconds:010d}.{socket.gethostname()}.{os.getpid()}.{line}"
        # without a buffer of Python's own, which a forked process would write a second time
        self._file = self.path.open("xb", buffering=0)
        self._pending: list[bytes] = []
        self.size = 0
        """Bytes that were flushed."""
        self.write(time.time(), file_version="brain.Event:2")
        if start is not None:
            log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            for _ in range(2):  # TensorBoard takes the first one that it sees for no restart
                self.write(time.time(), step=start, session_log=log)
        self._headings = len(self._pending)  # of which none is an event of the training

    def write(self, wall_time: float, **content: Any) -> None:
        """Append one event."""
        data: bytes = event_pb2.Event(wall_time=wall_time, **content).SerializeToString()
        length = struct.pack("<Q", len(data))
        checks = struct.pack("<I", masked_crc32c(length)), struct.pack("<I", masked_crc32c(data))
        self._pending.append(b"".join([length, checks[0], data, checks[1]]))

    @property
    def waiting(self) -> int:
        """How many events are not flushed."""
        return max(len(self._pending) - self._headings, 0)

    def flush(self) -> None:
        """Hand everything to the operating system; where that fails halfway, whole records stay, the others wait."""
        data = memoryview(b"".join(self._pending))
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:]) or 0
        finally:
            ends = list(takewhile(lambda end: end <= written, accumulate(map(len, self._pending))))
            whole = ends[-1] if ends else 0
            self.size += whole
            del self._pending[: len(ends)]
            self._headings = max(self._headings - len(ends), 0)
            if whole < written:
                self._file.seek(self.size)
                self._file.truncate()

    def sync(self) -> None:
        """Bring what was flushed to the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Bring everything to the disk; may be called again, without effect."""
        if not self._file.closed:
            with self._file:
                self.flush()
                self.sync()


def cut_back(directories: Iterable[Path], line: str, sizes: Mapping[Path, int]) -> None:
    """Let the event files of one training run hold what they held at an earlier moment.

    Args:
        directories: where they are; files of other runs there stay as they are.
        line: what they have in their names.
        sizes: how many bytes each had then; those that are not named were not there, and go.
    """
    for directory in directories:
        for path in directory.glob(f"{PREFIX}*.{line}"):
            size = sizes.get(path)
            if size is None:
                path.unlink(missing_ok=True)
            elif path.stat().st_size > size:
                os.truncate(path, size)
