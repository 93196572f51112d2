"""Locks that allow only one run at a time to write to a directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..errors import CheckpointError, DirectoryLocked
from .backend import backend_for
from .locks.file_lock import holder_of
from .locks.owner import Parts, process_name
from .paths import Location
from .reach import Reach

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
    reached: Iterable[Reach] = (),
) -> ExitStack:
    """Lock directories until the returned stack is closed or this process ends; make missing directories.

    The directories below them in which the run may save need not exist, and have no lock of their own. No living run
    may have locked one of them, or may save in one of them or in a locked directory.

    A dead process holds no lock. On this machine's disk, its locks are released at once. In a remote store, another
    run can take them over when the process is known to be dead or has not renewed them for a while.

    Args:
        directories: The directories.
        use: The purpose of the locks.
        report: Called with a directory on this machine's disk if its lock file, or the directory itself, was removed
            while the lock was held, and has been made again. The next write detects this.
        reached: The directories below these, on this machine's disk, in which the run may save, too.

    Raises:
        CheckpointError: Another run holds one of the locks or may save in one of the directories, or one cannot be
            written.

    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> with lock_directories([folder]):
    ...     lock_directories([folder])
    Traceback (most recent call last):
        ...
    trainbus.errors.CheckpointError: a run of this process that has not ended saves its checkpoints in ...
    """
    locked, directories, reached = ExitStack(), sorted(set(directories), key=str), list(reached)
    own = [Path(os.path.realpath(each)) for each in directories if isinstance(each, Path)]
    try:
        for directory in directories:
            place = Path(os.path.realpath(directory)) if isinstance(directory, Path) else None
            below = [each.relative_to(place) for each in reached if place in (each.root, *each.root.parents)]
            locked.callback(_lock(directory, use, partial(report, directory), below))
        _refuse_common(own, [*map(Reach, own), *reached], use)  # after the locks, which another run may look for now
    except BaseException:
        locked.close()
        raise
    return locked


def _lock(
    directory: Location, use: LockKind, report: Callable[[], object], below: Collection[Parts]
) -> Callable[[], object]:
    try:
        return backend_for(directory).acquire_lock(use.lock, report, below)
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


def _refuse_common(own: Collection[Path], reached: Iterable[Reach], use: LockKind) -> None:
    """Refuse a run if another one, in a directory around or below its own, may save in one of the same directories."""
    reached = list(reached)
    others = {parent for each in reached for parent in each.root.parents if os.path.lexists(parent / use.lock)}
    for each in reached:
        for depth in range(1, len(each.below) + 1):
            found = Reach(each.root, each.below[:depth]).existing(use.lock)
            others |= {Path(os.path.realpath(place)) for place in found}
    for place in sorted(others.difference(own)):
        owner = holder_of(place / use.lock)
        for theirs in [] if owner is None else [Reach(place), *(Reach(place, below) for below in owner.patterns)]:
            met = next((mine for mine in reached if mine.meets(theirs)), None)
            if met is not None and owner is not None:
                whose = f"another run ({owner.name})"
                end = ""
                if owner.name == process_name():
                    whose, end = "a run of this process that has not ended", "end it first, or "
                common = max(met, theirs, key=lambda each: len(each.root.parts)).root
                raise CheckpointError(
                    f"{whose} may save its {use.what} in {str(common)!r}, too, since a filepath has a field in a "
                    f"directory; {end}give each run its own directory"
                )
