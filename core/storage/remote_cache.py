"""The temporary directory of each process for uploads and downloads."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .atomic_file import discard

if TYPE_CHECKING:
    from filelock import FileLock

PREFIX = "trainbus-staging-"
LOCK = "lock"
"""Name of the lock file that the owner of a directory holds; the operating system releases it when the owner dies."""

_KEPT: ContextVar[dict[str, Path] | None] = ContextVar("downloads that are kept", default=None)


def process_directory() -> Path:
    """Return this process's directory, which is removed when the process ends."""
    return _directory(os.getpid())


@cache
def _directory(process: int) -> Path:
    from filelock import FileLock  # noqa: PLC0415 - only remote stores need it, and importing it takes 10 ms

    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(path / LOCK, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except OSError:  # another process removed the directory before it was locked
            continue
        atexit.register(_close, path, lock, process)
        return path


def _close(path: Path, lock: FileLock, process: int) -> None:
    if os.getpid() == process:  # a forked process must not remove its parent's files
        shutil.rmtree(path, ignore_errors=True)
        lock.release()


def remove_stale_directories() -> None:
    """Remove the directories of dead processes."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - as above

    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            theirs = path.is_symlink() or (hasattr(os, "getuid") and path.lstat().st_uid != os.getuid())
            if theirs or not (path / LOCK).exists():
                continue
            with suppress(Timeout), FileLock(path / LOCK, timeout=0):
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def downloads_kept() -> Generator[None]:
    """Keep the files that are verified inside this block, so that loading them needs no second download."""
    copies: dict[str, Path] = {}
    before = _KEPT.set(copies)
    try:
        yield
    finally:
        _KEPT.reset(before)
        for copy in copies.values():
            discard(copy)


def keep(name: str, copy: Path) -> None:
    """Keep a copy inside a ``downloads_kept`` block; otherwise remove it."""
    kept = _KEPT.get()
    if kept is None or kept.setdefault(name, copy) is not copy:
        discard(copy)


def take(name: Callable[[], str]) -> Path | None:
    """Return the kept copy of this name, which the caller must remove; None if there is none."""
    copies = _KEPT.get()
    return copies.pop(name(), None) if copies else None
