"""The backend for this machine's disk."""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import ClassVar

from .atomic_file import DIFFERS, STAGED, copy, discard, fill, make_directory, remove_debris, suffix_of, sync
from .file_kind import check_kind, check_searched, check_size, kind_of, open_regular
from .locks.file_lock import FileLock, check_locks
from .locks.owner import Parts
from .paths import Location
from .sharded_directory import link_parts, remove_parts


@dataclass(frozen=True, slots=True)
class LocalOpenFile:
    """An open file, whose content does not change if another file is renamed to its path."""

    file: BufferedReader
    path: Path

    def replaced(self) -> bool:
        """Return whether the path now holds a different file."""
        return not os.path.samestat(os.fstat(self.file.fileno()), self.path.stat())


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """A path on this machine; ``trainbus.storage.backend.Backend`` documents the methods."""

    is_local: ClassVar[bool] = True
    path: Path

    def size(self) -> int | None:
        try:
            return self.path.stat().st_size if self.path.is_file() else None
        except FileNotFoundError:  # removed between the two calls
            return None

    def is_directory(self) -> bool:
        return self.path.is_dir()

    def list_names(self) -> list[str]:
        try:
            return os.listdir(self.path)  # noqa: PTH208 - a path for each name takes most of the time
        except NotADirectoryError:
            return []

    def files_below(self) -> Iterator[Location]:
        seen, left, found = set[tuple[int, int]](), [str(self.path)], 0
        while left:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    found += 1
                    check_searched(found, self.path)
                    if not entry.is_dir():
                        yield Path(entry.path)
                        continue
                    status = os.stat(entry.path)  # noqa: PTH116 - it has the text; a link may lead back to a parent
                    identity = status.st_dev, status.st_ino
                    if identity not in seen:
                        seen.add(identity)
                        left.append(entry.path)

    def glob(self) -> list[Location]:
        return [Path(found) for found in glob.glob(str(self.path))]  # noqa: PTH207

    def read(self) -> bytes:
        with open_regular(self.path) as file:
            check_size(os.fstat(file.fileno()).st_size, self.path)
            return file.read()

    @contextmanager
    def open(self) -> Generator[LocalOpenFile]:
        with open_regular(self.path) as file:
            yield LocalOpenFile(file, self.path)

    @contextmanager
    def as_local_file(self) -> Generator[Path]:
        yield self.path

    def new_file(self) -> Path:
        staged, handle = self._open_new_file()
        os.close(handle)
        return staged

    def publish(self, staged: Path) -> None:
        try:
            os.replace(staged, self.path)  # noqa: PTH105 - the same, with fewer calls
        except BaseException:
            discard(staged)
            raise
        sync(self.path.parent)

    def replace(self, text: str) -> None:
        data = text.encode()
        staged, handle = self._open_new_file()
        try:
            with os.fdopen(handle, "r+b", buffering=0) as file:
                written = 0
                while written < len(data):
                    written += os.write(handle, memoryview(data)[written:])
                os.fsync(handle)
                file.seek(0)
                if file.read() != data:
                    raise OSError(DIFFERS)
        except BaseException:
            discard(staged)
            raise
        self.publish(staged)

    def _open_new_file(self) -> tuple[Path, int]:
        """Make an empty file next to the path, and open it for reading and writing."""
        path = self.path
        check_locks(path)
        kind = kind_of(path)
        if kind == "directory":
            raise IsADirectoryError(f"{str(path)!r} is a directory; name a file in it")
        check_kind(kind, path)
        # with a random name, no other run uses the file, and an attacker cannot place a link there
        staged = path.parent / f"{STAGED}{secrets.token_hex(8)}{suffix_of(path)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            return staged, os.open(staged, flags, 0o666)
        except OSError:  # the directory is there almost always
            if path.parent.is_dir():
                raise
        make_directory(path.parent)
        return staged, os.open(staged, flags, 0o666)

    def hard_link(self, name: str) -> None:
        check_locks(self.path)
        path = self.path.with_name(name)
        if self.path.is_dir():
            link_parts(self.path, path)
            return
        try:
            os.link(self.path, path)
        except OSError:  # a file system without hard links
            second = LocalBackend(path)
            staged = second.new_file()
            fill(staged, partial(copy, self.path))
            second.publish(staged)

    def rename(self, name: str) -> None:
        check_locks(self.path)
        os.replace(self.path, self.path.with_name(name))  # noqa: PTH105 - as in publish
        sync(self.path.parent)

    def remove(self) -> None:
        check_locks(self.path)
        if self.path.is_dir() and not self.path.is_symlink():
            remove_parts(self.path)
        else:
            self.path.unlink(missing_ok=True)

    def acquire_lock(
        self, name: str, report: Callable[[], object] = lambda: None, below: Collection[Parts] = ()
    ) -> Callable[[], object]:
        """Lock the directory; the operating system releases the lock when the process dies."""
        return FileLock(self.path / name, report, below).release

    def remove_debris(self) -> None:
        remove_debris(self.path)
