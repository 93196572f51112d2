"""A section of a file, as a file."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any


class FileSection(io.RawIOBase):
    """Some bytes of a file, to be read as a file of their own.

    Args:
        path: The file.
        start: Offset of the first byte.
        length: Number of bytes.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "text"
    >>> _ = path.write_bytes(b"abcdef")
    >>> with FileSection(path, 2, 3) as section:
    ...     section.read()
    b'cde'
    """

    def __init__(self, path: Path, start: int, length: int) -> None:
        self._file = path.open("rb")
        self._start, self._length, self._place = start, length, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, target: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a byte of the section."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._length}[whence]
        self._place = max(origin + target, 0)
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer with the next bytes; return their number, 0 at the end."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._start + self._place)
        read = self._file.readinto(view[: max(self._length - self._place, 0)])
        self._place += read
        return read

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
