"""A file to which only complete records are appended."""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate, takewhile
from pathlib import Path

from trainbus.storage.atomic_file import PIECE, make_directory
from trainbus.storage.locks.file_lock import check_locks

# unbuffered: a kill would lose Python's buffer, and a forked process would write it a second time
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


class AppendOnlyFile:
    """A file to which records are appended without buffering.

    Appended records survive the end of the process, however it ends. If only a part of a record was written, it is
    truncated, at the latest before the next record is appended.

    If the file, or its directory, is removed while it is open, the next call makes it again with all of its records. If
    it is truncated, its records are lost: the next call reports it, and begins with the first record again, which says
    what the file is.

    Args:
        path: The file.
        flags: Further flags of ``os.open``, such as ``os.O_EXCL``.
        size: Bytes of complete records at the beginning of an existing file; the rest is truncated. None keeps
            everything.
        report: Called, in the thread that appends, with an error that says what happened to the file.
        complete: Returns how many bytes of complete records are in a truncated file; without it, all are.

    Raises:
        OSError: The file cannot be opened or truncated.
    """

    def __init__(
        self,
        path: Path,
        flags: int = 0,
        size: int | None = None,
        report: Callable[[OSError], object] = lambda _: None,
        complete: Callable[[Path], int] | None = None,
    ) -> None:
        self.path, self._report, self._complete = path, report, complete
        self._first = b""
        """The first record that was appended; empty if there is none yet."""
        self._nameless = False
        """Whether the path holds no file, or another one, and the file cannot be made again."""
        self._hold(os.open(path, _FLAGS | flags, 0o666))
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
        self._restore()
        self._cut()
        if records and self._first and not self.size and records[0] != self._first:
            records.insert(0, self._first)
        first = records[0] if records else b""
        data, written = memoryview(b"".join(records)), 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        finally:
            complete = list(takewhile(lambda end: end <= written, accumulate(map(len, records))))
            del records[: len(complete)]
            end = complete[-1] if complete else 0
            self._first = self._first or (first if complete else b"")
            self.size += end
            self._torn = end < written
            with suppress(OSError):  # the next call tries again, before it writes
                self._cut()

    def _hold(self, file: int) -> None:
        self._file = file
        self._closing = weakref.finalize(self, os.close, file)  # also if the run is abandoned

    def _restore(self) -> None:
        """Make the file again if it was removed; while that fails, the records go to the open file without a name."""
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode):
            return
        name = repr(str(self.path))
        if status.st_size != self.size:
            self._compare_size(name, status.st_size)
        try:
            check_locks(self.path)
            try:
                at_path = os.path.samestat(status, self.path.stat())
            except (FileNotFoundError, NotADirectoryError):
                self._copy_to_path()
                self._report(
                    FileNotFoundError(f"{name} was removed during the run; it is created again, with all records")
                )
            else:
                if not at_path:
                    raise FileExistsError(errno.EEXIST, "another file is there now")
        except OSError as error:
            if not self._nameless:
                why = error.strerror or error
                self._report(OSError(f"{name} was removed during the run, and cannot be created again: {why}"))
            self._nameless = True
        else:
            self._nameless = False

    def _compare_size(self, name: str, size: int) -> None:
        """Report that another program has truncated the file or appended to it."""
        if size < self.size:
            lost, self.size = self.size, size
            with suppress(OSError):  # the path may hold another file now
                self.size = min(size, size if self._complete is None else self._complete(self.path))
            self._torn = self.size < size
            lost -= self.size
            self._report(OSError(f"{name} was truncated during the run; {lost:,} bytes of records are lost"))
        elif size > self.size and not self._torn:
            more, self.size = size - self.size, size
            self._report(OSError(f"another program has appended {more:,} bytes to {name} during the run"))

    def _copy_to_path(self) -> None:
        make_directory(self.path.parent)
        file = os.open(self.path, _FLAGS | os.O_EXCL, 0o666)
        try:
            for begin in range(0, self.size, PIECE):
                piece = memoryview(os.pread(self._file, min(PIECE, self.size - begin), begin))
                while piece:
                    piece = piece[os.write(file, piece) :]
        except BaseException:
            self.path.unlink(missing_ok=True)
            os.close(file)
            raise
        self._closing()
        self._hold(file)
        self._torn = False

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
