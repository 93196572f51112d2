"""Where files are staged that will be uploaded, and put that were downloaded: one temporary directory a process."""

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

from filelock import FileLock, Timeout

from .atomic_file import discard

__all__ = ["directory", "downloads_kept", "keep", "kept", "sweep"]

PREFIX = "trainbus-staging-"
LOCK = "lock"
"""Held by the process whose directory it is; the operating system gives it back when that dies."""

_KEPT: ContextVar[dict[str, Path] | None] = ContextVar("downloads that are kept", default=None)


def directory() -> Path:
    """This process's own, removed when it ends."""
    return _directory(os.getpid())


@cache
def _directory(process: int) -> Path:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(path / LOCK, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except OSError:  # somebody swept it before it was locked
            continue
        atexit.register(_close, path, lock, process)
        return path


def _close(path: Path, lock: FileLock, process: int) -> None:
    if os.getpid() == process:  # a forked process that ends takes nothing from its parent
        shutil.rmtree(path, ignore_errors=True)
        lock.release()


def sweep() -> None:
    """Remove the directories of processes that died."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            theirs = path.is_symlink() or (hasattr(os, "getuid") and path.lstat().st_uid != os.getuid())
            if theirs or not (path / LOCK).exists():
                continue
            with suppress(Timeout), FileLock(path / LOCK, timeout=0):
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def downloads_kept() -> Generator[None]:
    """What is downloaded inside to be verified is kept, so that whoever then loads it downloads nothing."""
    copies: dict[str, Path] = {}
    before = _KEPT.set(copies)
    try:
        yield
    finally:
        _KEPT.reset(before)
        for copy in copies.values():
            discard(copy)


def keep(name: str, copy: Path) -> None:
    """Keep a copy where `downloads_kept`, else remove it."""
    kept = _KEPT.get()
    if kept is None or kept.setdefault(name, copy) is not copy:
        discard(copy)


def kept(name: Callable[[], str]) -> Path | None:
    """The copy of this name, now the caller's, who is to remove it; None where there is none."""
    copies = _KEPT.get()
    return copies.pop(name(), None) if copies else None
