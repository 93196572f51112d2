"""Locks that allow only one run at a time to write to a directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from ..errors import CheckpointError, DirectoryLocked
from .backend import backend_for
from .file_lock import process_name
from .paths import Location

LOCK = ".trainbus.lock"
"""Name of the lock file for checkpoints in their directory."""


class LockKind(NamedTuple):
    """The purpose of a lock; different runs may hold locks with different purposes on one directory."""

    lock: str
    """Name of the lock file."""
    what: str
    """What the holder of the lock writes, for error messages."""


CHECKPOINTS = LockKind(LOCK, "checkpoints")


def lock_directories(
    directories: Iterable[Location],
    use: LockKind = CHECKPOINTS,
    report: Callable[[Location], object] = lambda _: None,
) -> ExitStack:
    """Lock directories until the returned stack is closed or this process ends; make missing directories.

    A dead process holds no lock. On this machine's disk, its locks are released at once. In a remote store, another
    run can take them over when the process is known to be dead or has not renewed them for a while.

    Args:
        directories: The directories.
        use: The purpose of the locks.
        report: Called with a directory on this machine's disk if its lock file, or the directory itself, was removed
            while the lock was held, and has been made again. The next write detects this.

    Raises:
        CheckpointError: Another run holds one of the locks, or a directory cannot be written.

    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> with lock_directories([folder]):
    ...     lock_directories([folder])
    Traceback (most recent call last):
        ...
    trainbus.errors.CheckpointError: a run of this process that has not ended saves its checkpoints in ...
    """
    locked = ExitStack()
    try:
        for directory in sorted(set(directories), key=str):
            locked.callback(_lock(directory, use, partial(report, directory)))
    except BaseException:
        locked.close()
        raise
    return locked


def _lock(directory: Location, use: LockKind, report: Callable[[], object]) -> Callable[[], object]:
    try:
        return backend_for(directory).acquire_lock(use.lock, report)
    except DirectoryLocked as error:
        remedy = f"; {error.remedy}" if error.remedy else ""
        if str(error) == process_name():
            raise CheckpointError(
                f"a run of this process that has not ended saves its {use.what} in {str(directory)!r}; end it first, "
                f"with `with run:` or its end(), or give each run its own directory{remedy}"
            ) from None
        raise CheckpointError(
            f"another run ({str(error) or 'starting'}) saves its {use.what} in {str(directory)!r}; give each run its "
            "own directory; if several processes train one model, connect them (init_process_group, jax.distributed) "
            f"before you make their runs: then rank 0 alone writes{remedy}"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{use.what} cannot be saved in {str(directory)!r}: {error}") from error
