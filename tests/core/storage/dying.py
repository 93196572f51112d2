"""Processes that die between two calls to the file system, or whose disk is full."""

from __future__ import annotations

import errno
import os
import shutil
import traceback
from collections.abc import Callable
from itertools import count

__all__ = ["MEMORY", "dying_at", "in_child", "with_room_for"]

ROOM = 2 << 30
"""Bytes, many times what all tests leave."""
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > ROOM else None
"""A directory in memory, if the system has one with room: only processes die here, the power stays."""


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked process; return its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - the test sees the exit code
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dying_at(step: int, work: Callable[[], None]) -> bool:
    """Run ``work`` in a process that dies right before its ``step``-th file system call; return whether it died."""

    def run() -> None:
        calls = count()
        for name in ("open", "fsync", "replace", "rename", "unlink", "chmod", "close", "mkdir", "rmdir"):
            real = getattr(os, name)

            def counted(*args, real=real, **options):
                if next(calls) == step:
                    os._exit(9)
                return real(*args, **options)

            setattr(os, name, counted)
        work()

    return in_child(run) == 9


def with_room_for(files: int, work: Callable[[], None]) -> int:
    """Run ``work`` in a process that can create this many files before the disk is full; return its exit code."""

    def run() -> None:
        made, real = count(), os.open

        def counted(path, flags, *args, **options):
            if flags & os.O_CREAT and next(made) >= files:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return real(path, flags, *args, **options)

        os.open = counted
        work()

    return in_child(run)
