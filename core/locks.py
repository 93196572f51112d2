"""One run to a directory that it writes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from .errors import CheckpointError
from .files import make_directory

__all__ = ["LOCK", "Use", "owning"]

LOCK = ".trainbus.lock"
"""Name of the file in a directory that the owner of its checkpoints holds locked."""


class Use(NamedTuple):
    """What a directory is owned for; one run may own it for each use."""

    lock: str
    """Name of the file that is held locked."""
    what: str
    """What its owner writes."""
    callback: str
    """The callback that asks for it."""


CHECKPOINTS = Use(LOCK, "checkpoints", "ModelCheckpoint")


def owning(directories: Iterable[Path], use: Use = CHECKPOINTS) -> ExitStack:
    """Own directories, made where they are missing, until the returned stack is closed or this process ends.

    The operating system gives a lock back when its process dies, so a lock that is held has a living holder.

    Raises:
        CheckpointError: another run owns one of them, or it cannot be written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with owning([folder]):
    ...     owning([folder])
    Traceback (most recent call last):
        ...
    trainbus.errors.CheckpointError: another run (process ... on ...) saves its checkpoints in ...
    """
    owned = ExitStack()
    try:
        for directory in sorted(set(directories)):
            owned.callback(_owned(directory, use).release)
    except BaseException:
        owned.close()
        raise
    return owned


def _owned(directory: Path, use: Use) -> FileLock:
    path = directory / use.lock
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        make_directory(directory)
        lock.acquire()
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
    except Timeout:
        holder = path.read_text(encoding="utf-8").strip() or "starting"
        raise CheckpointError(
            f"another run ({holder}) saves its {use.what} in {str(directory)!r}; give each run a directory of its own, "
            f"or where several processes train one model, list {use.callback} in one of them only"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{use.what} cannot be saved in {str(directory)!r}: {error}") from error
    return lock
