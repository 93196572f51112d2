"""Staged files and directories that replace others: hashed while they are written, synced, and verified."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from ..errors import TrainbusError, UnreadableCheckpoint
from ..limits import MESSAGE
from .file_kind import check_directory, open_regular
from .paths import Location

RESERVED = ".trainbus-"
"""Prefix of the names of trainbus's internal files."""
STAGED = f"{RESERVED}staged-"
WEIGHTS = ".weights.h5"
BUFFER = 1 << 16
"""Size of the buffer of a ``HashedFile`` in bytes; a full buffer is written and hashed."""
PIECE = 1 << 20
"""Number of bytes that are read or written at once."""
SMALL = 1 << 18
"""Bytes up to which a file is hashed at once."""

INTERRUPTED_TWICE = "the run was interrupted twice"
DIFFERS = "the file's content differs from what was written to it"

_DIGEST = re.compile(r"[0-9a-f]{64}")
_IS_ABANDONED: ContextVar[Callable[[], bool]] = ContextVar("is_abandoned", default=lambda: False)


@contextmanager
def abandoned_when(is_abandoned: Callable[[], bool]) -> Generator[None]:
    """Let every write to a ``HashedFile`` in this block raise ``InterruptedError`` once the function returns True.

    So a library that writes a large file in another thread returns soon, although it knows nothing of the request.
    """
    token = _IS_ABANDONED.set(is_abandoned)
    try:
        yield
    finally:
        _IS_ABANDONED.reset(token)


class HashedFile(io.BufferedWriter):
    """A file that is written from start to end, with the SHA-256 digest of everything written to it.

    ``write`` writes all bytes or raises, even if the system accepts only some of them because the disk is full. The
    file is not seekable, so libraries such as ``zipfile`` cannot change bytes that are already hashed.

    Args:
        path: The file; it is emptied if it exists.

    >>> path = Path(tempfile.mkdtemp()) / "weights"
    >>> with HashedFile(path) as file:
    ...     _ = file.write(b"weights")
    >>> file.digest == digest_of(path)
    True
    """

    def __init__(self, path: Path) -> None:
        self._hashing = _HashingFile(path, "wb")
        self._hashing.hash = hashlib.sha256()
        super().__init__(self._hashing, BUFFER)

    @property
    def digest(self) -> str:
        """The SHA-256 digest of the written bytes, in hexadecimal digits; complete once the file is closed."""
        return str(self._hashing.hash.hexdigest())

    def seekable(self) -> bool:
        """Return False."""
        return False

    def seek(self, target: int, whence: int = 0, /) -> int:
        """Raise ``io.UnsupportedOperation``."""
        raise io.UnsupportedOperation(f"seek({target}, {whence}): the file is written from start to end")


class _HashingFile(io.FileIO):
    """The unbuffered file, with the hash of the bytes that the system has accepted."""

    hash: Any
    """A hash object; ``hashlib`` does not export its type."""

    def write(self, data: Any, /) -> int:
        if _IS_ABANDONED.get()():
            raise InterruptedError(INTERRUPTED_TWICE)
        piece = memoryview(data)[:PIECE]  # the buffered file writes the rest
        written = super().write(piece)
        self.hash.update(piece[: written or 0])
        return written


def suffix_of(path: Location) -> str:
    """Return the suffix of a file name; ``.weights.h5`` counts as one suffix.

    >>> suffix_of(Path("run.1/best.weights.h5")), suffix_of(Path("best.pt")), suffix_of(Path("best"))
    ('.weights.h5', '.pt', '')
    """
    return WEIGHTS if path.name.endswith(WEIGHTS) and path.name != WEIGHTS else path.suffix


def fill(path: Path, write: Callable[[Path], object]) -> str:
    """Let ``write`` fill a file, sync it, and return the digest of its content; remove the file if any step fails.

    Args:
        path: The file.
        write: Called with the path; writes the file, and may return the SHA-256 digest of the written bytes.

    Raises:
        OSError: The content does not have the digest that ``write`` returned.
    """
    try:
        meant = returned_digest(write(path))
        with open_regular(path) as file:
            os.fsync(file.fileno())
            return _compared(_digest_in(file), meant)
    except BaseException:
        discard(path)
        raise


def verified(path: Path, meant: str = "") -> str:
    """Return the digest of a file's content, after comparing it with the expected one.

    Args:
        path: The file.
        meant: The expected digest; empty to accept any.

    Raises:
        OSError: The content has a different digest.
    """
    return _compared(digest_of(path), meant)


def _compared(digest: str, meant: str) -> str:
    if meant and meant != digest:
        raise OSError(DIFFERS)
    return digest


def returned_digest(value: object) -> str:
    """Return the digest that a writer returned; empty if it returned something else.

    >>> returned_digest("best.pt"), returned_digest(None), len(returned_digest(hashlib.sha256().hexdigest()))
    ('', '', 64)
    """
    return value if isinstance(value, str) and _DIGEST.fullmatch(value) else ""


@contextmanager
def reading(path: Location, what: str = "cannot be read") -> Generator[None]:
    """Convert any error of a framework that reads a payload in this block into ``UnreadableCheckpoint``.

    The errors of trainbus pass through unchanged. So does ``MemoryError``, since an older payload would not fit into
    memory either.

    Args:
        path: The payload, for the message.
        what: The problem, for the message.

    Raises:
        UnreadableCheckpoint: The framework could not read the payload.
    """
    try:
        yield
    except (TrainbusError, MemoryError):
        raise
    except Exception as error:  # damaged bytes can raise any error in a framework
        why = (
            " ".join(str(error).split())[:MESSAGE] or type(error).__name__
        )  # some messages have several lines, or quote the file
        raise UnreadableCheckpoint(f"{str(path)!r} {what}: {why}") from error


def write_bytes(path: Path, data: bytes | memoryview) -> str:
    """Write ``data`` to a file, replacing its content, and return the digest."""
    with HashedFile(path) as file:
        file.write(data)
    return file.digest


def copy(source: Path, path: Path) -> str:
    """Copy the content of ``source`` to ``path``, and return the digest of the bytes that were read."""
    with open_regular(source) as read, HashedFile(path) as file:
        while piece := read.read(PIECE):
            file.write(piece)
    return file.digest


def stage_directory(path: Path) -> Path:
    """Make an empty directory next to ``path``, with the same suffix, and return it."""
    make_directory(path.parent)
    staged = Path(tempfile.mkdtemp(prefix=STAGED, suffix=suffix_of(path), dir=path.parent))
    staged.chmod(0o777 & ~_umask())
    return staged


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def make_directory(directory: Path) -> None:
    """Make a directory and its missing parents durably: once this returns, they survive a power failure.

    Raises:
        OSError: It cannot be made; if a file is at the path, or at the path of a parent, the message names it.
    """
    if not directory.is_dir():
        check_directory(directory)
        make_directory(directory.parent)
        directory.mkdir(exist_ok=True)
        sync(directory.parent)


def discard(staged: Path) -> None:
    """Remove a staged file or directory; ignore errors."""
    with suppress(OSError):
        if staged.is_dir() and not staged.is_symlink():
            shutil.rmtree(staged)
        else:
            staged.unlink()


def digest_of(path: Path) -> str:
    """Return the SHA-256 digest of a file, in hexadecimal digits."""
    with open_regular(path) as file:
        return _digest_in(file)


def _digest_in(file: io.BufferedReader) -> str:
    if os.fstat(file.fileno()).st_size <= SMALL:  # otherwise a large buffer would be made for each small file
        return hashlib.sha256(file.read()).hexdigest()
    return hashlib.file_digest(file, "sha256").hexdigest()


def remove_debris(directory: Path) -> list[Path]:
    """Remove staged files that killed processes left in ``directory``; call this only while holding its lock.

    Returns:
        The paths of the removed files.
    """
    debris = sorted(directory.glob(f"{STAGED}*"))
    for file in debris:
        discard(file)
    return debris


def sync(path: Path) -> None:
    """Wait until a file, or the list of files in a directory, is on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except PermissionError:
        if os.name == "nt" and path.is_dir():  # Windows cannot open directories, and does not need to sync them
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
