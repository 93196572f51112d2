"""Locks on directories of this machine's disk: a locked file in each; the system unlocks it if its process dies.

Some network file systems do not support file locks. There, the record in the lock file decides. It identifies the
process that holds the lock so exactly that a later run on the same machine can check whether that process is dead.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from ...errors import DirectoryLocked
from ..atomic_file import make_directory
from ..file_kind import check_regular
from .owner import LARGEST, TOKENS, Owner, Parts

UNSUPPORTED = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL})
"""The errors of ``flock`` on a file system that does not support locks."""

_HELD: WeakSet[FileLock] = WeakSet()
"""The locks that this process holds."""


class FileLock:
    """A lock on a directory, held until ``release``.

    Args:
        path: The lock file; its directory is made if it is missing.
        report: Called in the writing thread after a removed lock file was made and locked again.
        below: Patterns of the directories below this one in which the run may save, too.

    Raises:
        DirectoryLocked: Another run holds the lock.
        OSError: The file cannot be made, or is not a regular file.
    """

    def __init__(self, path: Path, report: Callable[[], object] = lambda: None, below: Collection[Parts] = ()) -> None:
        self.path, self.report = path.absolute(), report
        self.owner = Owner.this(below)
        self.lost = ""
        """The process that locked the directory after the lock file was removed; empty if there is none."""
        self._process, self._checking = os.getpid(), threading.RLock()
        self._file = self._acquire()
        _HELD.add(self)
        TOKENS.add(self.owner.token)

    def release(self) -> None:
        """Release the lock; a second call has no effect."""
        _HELD.discard(self)
        TOKENS.discard(self.owner.token)
        file, self._file = self._file, -1
        if file < 0:
            return
        if self._process == os.getpid():  # a forked process must not release its parent's lock
            with suppress(OSError):
                os.ftruncate(file, 0)  # without locks of the system, an empty file means unlocked
            _unlock(file)  # unlocks the copies in forked processes, too
        os.close(file)

    def __del__(self) -> None:
        if hasattr(self, "_file"):  # otherwise, the lock was refused
            self.release()

    def check(self) -> None:
        """Lock the file again if it was removed; record whether another process has locked it since."""
        with self._checking:
            if self.lost or self._file < 0 or self._process != os.getpid() or self._is_at_path(self._file):
                return
            try:
                file = self._acquire()
            except DirectoryLocked as error:
                self.lost = str(error) or "starting"
                return
            os.close(self._file)
            self._file = file
        self.report()

    def _is_at_path(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self.path.lstat())
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _acquire(self) -> int:
        make_directory(self.path.parent)
        while True:
            check_regular(self.path, "a regular file there, or none")
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
            file = os.open(self.path, flags, 0o666)
            try:
                self._lock(file)
                if self._is_at_path(file):  # otherwise, the file was removed meanwhile
                    _write(file, str(self.owner))
                    return file
            except BaseException:
                os.close(file)
                raise
            os.close(file)

    def _lock(self, file: int) -> None:
        try:
            _lock(file)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            self._claim(file)

    def _claim(self, file: int) -> None:
        """Lock without locks of the system: only one process at a time may read and replace the record."""
        claim = self.path.with_name(f"{self.path.name}.claim")
        while True:
            try:
                own = os.open(claim, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                if _remove_if_dead(claim):
                    continue
                raise self._locked("", claim) from None
            break
        try:
            _write(own, str(self.owner))
            found = _read(file)
            if found.name and not found.is_dead:
                raise self._locked(found.name, self.path)
            _write(file, str(self.owner))
        finally:
            os.close(own)
            claim.unlink(missing_ok=True)

    def _locked(self, owner: str, file: Path) -> DirectoryLocked:
        error = DirectoryLocked(owner)
        error.remedy = f"this file system does not support locks; if that process has ended, remove {str(file)!r}"
        return error


def check_locks(path: Path) -> None:
    """Detect removed lock files; call this before writing to a path or removing it.

    Raises:
        OSError: The lock file was removed, and another run has locked the directory of the path.
    """
    lost = False
    for lock in list(_HELD):
        lock.check()
        lost = lost or bool(lock.lost)
    if lost:
        parents = Path(os.path.realpath(path)).parents
        for lock in list(_HELD):
            if lock.lost and Path(os.path.realpath(lock.path.parent)) in parents:
                place = str(lock.path.parent)
                raise OSError(
                    f"{place!r} was removed during the run, and another run ({lock.lost}) saves there now; give "
                    f"each run its own directory"
                )


def holder_of(path: Path) -> Owner | None:
    """Return the living process that holds a lock; None if there is none, or if the file cannot be read."""
    try:
        check_regular(path)
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        found = _read(file)
        if not found.name or found.is_dead:
            return None
        try:
            _lock(file, exclusive=False)  # at most for a moment, and not beside a process that is known to live
        except OSError:  # also without locks of the system: the record decides
            return found
        return None
    finally:
        os.close(file)


def _lock(file: int, *, exclusive: bool = True) -> None:
    """Let the system lock an open file.

    Raises:
        DirectoryLocked: It is locked.
        OSError: The file system does not support locks.
    """
    if sys.platform == "win32":  # Windows refuses to remove an open file
        import msvcrt  # noqa: PLC0415

        try:
            os.lseek(file, LARGEST, os.SEEK_SET)  # locked bytes cannot be read, so lock bytes after the record
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise DirectoryLocked(_read(file).name) from None
        return
    import fcntl  # noqa: PLC0415 - Windows has none

    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DirectoryLocked(_read(file).name) from None


def _unlock(file: int) -> None:
    if sys.platform != "win32":
        with suppress(OSError, ImportError):  # Python that ends imports nothing; closing the file unlocks it, too
            import fcntl  # noqa: PLC0415 - Windows has none

            fcntl.flock(file, fcntl.LOCK_UN)


def _write(file: int, text: str) -> None:
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    os.write(file, text.encode())
    with suppress(OSError):
        os.fsync(file)


def _read(file: int) -> Owner:
    os.lseek(file, 0, os.SEEK_SET)
    return Owner.parse(os.read(file, LARGEST).decode(errors="replace"))


def _remove_if_dead(claim: Path) -> bool:
    """Remove the claim of a dead process; return whether another process can now take the claim."""
    try:
        file = os.open(claim, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return True
    try:
        if not _read(file).is_dead:
            return False
    finally:
        os.close(file)
    claim.unlink(missing_ok=True)
    return True
