"""A file to which complete lines are appended without buffering."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from pathlib import Path

from trainbus.journal import parse
from trainbus.storage.atomic_file import make_directory

_BEGINNING = b'{"time":'
"""The start of every line, including an incomplete one."""


class JournalFile:
    """A file to which lines are appended.

    Written lines survive the end of the process, however it ends. An incomplete last line, as a killed process may
    leave, is cut off.

    Args:
        path: The file; created if it does not exist.

    Raises:
        OSError: The file cannot be written.
        JournalError: The file exists and is not a journal.
    """

    def __init__(self, path: Path) -> None:
        make_directory(path.parent)
        _check(path)
        self.path = path
        # unbuffered: a kill would lose Python's buffer, and a forked process would write it a second time
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._closing = weakref.finalize(self, os.close, self._file)  # also if the run is abandoned
        self.size = _complete_size(path)
        """Bytes of complete lines."""
        self._torn = self.size < os.fstat(self._file).st_size
        """Whether an incomplete line follows them."""
        if self._torn:
            self._cut()

    def write(self, line: str) -> None:
        """Append one line; if only a part can be written, cut it off now or before the next line."""
        if self._torn:
            self._cut()
        data = memoryview(f"{line}\n".encode())
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except BaseException:
            self._torn = written > 0
            if self._torn:
                with suppress(OSError):
                    self._cut()
            raise
        self.size += len(data)

    def _cut(self) -> None:
        """Cut off the incomplete line at the end."""
        os.ftruncate(self._file, self.size)
        self._torn = False

    def close(self) -> None:
        """Close the file; a second call has no effect."""
        self._closing()


def _check(path: Path) -> None:
    """Raise ``JournalError`` if the file is not a journal."""
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            first = file.readline()
        if first.endswith(b"\n") or not first.startswith(_BEGINNING):
            next(parse(path))


def _complete_size(path: Path) -> int:
    """Return the size of the file without an incomplete last line."""
    end = path.stat().st_size
    with path.open("rb") as file:
        while end:
            begin = max(end - 65536, 0)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            end = begin
    return 0
