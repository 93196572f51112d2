"""A file to which only complete records are appended."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from itertools import accumulate, takewhile
from pathlib import Path


class AppendOnlyFile:
    """A file to which records are appended without buffering.

    Appended records survive the end of the process, however it ends. If only a part of a record was written, it is
    truncated, at the latest before the next record is appended.

    Args:
        path: The file.
        flags: Further flags of ``os.open``, such as ``os.O_EXCL``.
        size: Bytes of complete records at the beginning of an existing file; the rest is truncated. None keeps
            everything.

    Raises:
        OSError: The file cannot be opened or truncated.
    """

    def __init__(self, path: Path, flags: int = 0, size: int | None = None) -> None:
        self.path = path
        # unbuffered: a kill would lose Python's buffer, and a forked process would write it a second time
        flags |= os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._file = os.open(path, flags, 0o666)
        self._closing = weakref.finalize(self, os.close, self._file)  # also if the run is abandoned
        present = os.fstat(self._file).st_size
        self.size = present if size is None else size
        """Bytes of complete records."""
        self._torn = self.size < present
        """Whether an incomplete record follows them."""
        self._cut()

    def append(self, records: list[bytes]) -> None:
        """Append records; remove those that were written from the list, even if this raises.

        Raises:
            OSError: Not all records could be written.
        """
        self._cut()
        data, written = memoryview(b"".join(records)), 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        finally:
            complete = list(takewhile(lambda end: end <= written, accumulate(map(len, records))))
            del records[: len(complete)]
            end = complete[-1] if complete else 0
            self.size += end
            self._torn = end < written
            with suppress(OSError):  # the next call tries again, before it writes
                self._cut()

    def _cut(self) -> None:
        """Truncate the incomplete record at the end."""
        if self._torn:
            os.ftruncate(self._file, self.size)
            self._torn = False

    def sync(self) -> None:
        """Sync the records to the disk."""
        os.fsync(self._file)

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return not self._closing.alive

    def close(self) -> None:
        """Close the file; a second call has no effect."""
        self._closing()
        self._file = -1  # the system may give the number to another file
