"""What kind of file a path is: reading or replacing a special one may hang, never end, or destroy it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Literal

Kind = Literal["file", "directory", "FIFO", "socket", "device", "broken link", ""]

_KINDS: tuple[tuple[int, Kind], ...] = (
    (stat.S_IFREG, "file"),
    (stat.S_IFDIR, "directory"),
    (stat.S_IFIFO, "FIFO"),
    (stat.S_IFSOCK, "socket"),
)


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
    kinds = dict(_KINDS)
    return kinds.get(stat.S_IFMT(mode), "device")


def check_regular(path: Path, what: str = "a regular file") -> None:
    """Raise an error if a path is a special file; one that does not exist is none.

    Raises:
        OSError: It is a FIFO, a socket or a device.
    """
    kind = kind_of(path)
    if kind in ("FIFO", "socket", "device"):
        raise OSError(errno.EINVAL, f"it is a {kind}; give {what}", os.fspath(path))
