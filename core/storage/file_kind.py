"""The kind and size of the file at a path. Reading a special file may block forever; replacing it destroys it."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Literal

from ..limits import MANIFEST_BYTES, SEARCHED
from .paths import Location

Kind = Literal["file", "directory", "FIFO", "socket", "device", "broken link", ""]

_KINDS: dict[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
}


def kind_of(path: Path) -> Kind:
    """Return the kind of file at a path, following links; empty if there is none.

    Raises:
        OSError: The path cannot be looked up, for example because it is too long.

    >>> kind_of(Path("/")), kind_of(Path("/no/such/file"))
    ('directory', '')
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "broken link" if path.is_symlink() else ""
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "broken link"
        raise
    except ValueError:  # a null character
        return ""
    return _KINDS.get(stat.S_IFMT(mode), "device")


def check_regular(path: Path, what: str = "a regular file") -> None:
    """Raise an error if a path is a directory or a special file; a missing file is accepted.

    Raises:
        OSError: The path is a directory, a FIFO, a socket or a device.
    """
    check_kind(kind_of(path), path, what)


def check_kind(kind: Kind, path: Path, what: str = "a regular file") -> None:
    """Do the same as ``check_regular`` for a path whose kind is known."""
    if kind == "directory":
        raise IsADirectoryError(errno.EISDIR, f"it is a directory; give {what}", os.fspath(path))
    if kind in ("FIFO", "socket", "device"):
        raise OSError(errno.EINVAL, f"it is a {kind}; give {what}", os.fspath(path))


def check_directory(path: Path) -> None:
    """Raise an error if a directory cannot be made at a path, because it or the beginning of the path is no directory.

    Raises:
        OSError: The path, or a directory in it, is a file, a FIFO, a socket, a device or a broken link.
    """
    for place in (path, *path.parents):
        kind = kind_of(place)
        if kind == "directory":
            return
        if kind:
            raise OSError(f"{os.fspath(place)!r} is a {kind}; give a directory")


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading; refuse a special file without waiting for it or reading it.

    Raises:
        OSError: The file does not exist, cannot be opened, or is a directory, a FIFO, a socket or a device.
    """
    check_regular(path)  # opening a device may have an effect
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):  # the file was replaced between the two calls
            raise OSError(errno.EINVAL, "it is a special file; give a regular file", os.fspath(path))
        if hasattr(os, "set_blocking"):
            os.set_blocking(file, True)
        return os.fdopen(file, "rb")
    except BaseException:
        os.close(file)
        raise


def check_size(size: int, path: Location) -> None:
    """Refuse a file that is too long to be read whole.

    Raises:
        OSError: It has more than ``MANIFEST_BYTES`` bytes.
    """
    if size > MANIFEST_BYTES:
        raise OSError(errno.EFBIG, f"it has {size:,} bytes; at most {MANIFEST_BYTES:,} are read", str(path))


def check_searched(number: int, directory: Location) -> None:
    """Refuse to search a directory that has too many files below it.

    Raises:
        OSError: They are more than ``SEARCHED``.
    """
    if number > SEARCHED:
        raise OSError(errno.EFBIG, f"more than {SEARCHED:,} files are below it", str(directory))
