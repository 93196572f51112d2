"""One run to a directory that it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import NamedTuple

from ..errors import CheckpointError, DirectoryLocked
from .backend import backend_for
from .paths import Location

__all__ = ["LOCK", "LockKind", "lock_directories"]

LOCK = ".trainbus.lock"
"""Name of the file in a directory that the owner of its checkpoints holds locked."""


class LockKind(NamedTuple):
    """What a directory is owned for; one run may own it for each use."""

    lock: str
    """Name of the file that is held locked."""
    what: str
    """What its owner writes."""


CHECKPOINTS = LockKind(LOCK, "checkpoints")


def lock_directories(directories: Iterable[Location], use: LockKind = CHECKPOINTS) -> ExitStack:
    """Own directories, made where they are missing, until the returned stack is closed or this process ends.

    What a process owned that died is free: on this machine's disk at once, in a store when its owner is known to be
    dead or was not heard of for a while.

    Raises:
        CheckpointError: another run owns one of them, or it cannot be written.

    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> with lock_directories([folder]):
    ...     lock_directories([folder])
    Traceback (most recent call last):
        ...
    trainbus.errors.CheckpointError: another run (process ... on ...) saves its checkpoints in ...
    """
    owned = ExitStack()
    try:
        for directory in sorted(set(directories), key=str):
            owned.callback(_owned(directory, use))
    except BaseException:
        owned.close()
        raise
    return owned


def _owned(directory: Location, use: LockKind) -> Callable[[], object]:
    try:
        return backend_for(directory).acquire_lock(use.lock)
    except DirectoryLocked as error:
        raise CheckpointError(
            f"another run ({str(error) or 'starting'}) saves its {use.what} in {str(directory)!r}; give each run a "
            "directory of its own; several processes that train one model have to be connected (init_process_group, "
            "jax.distributed) before their runs are made: then rank 0 alone writes"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{use.what} cannot be saved in {str(directory)!r}: {error}") from error
