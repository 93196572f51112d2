"""Complete files: staged next to their final path, synced, and renamed to it."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import TrainbusError, UnreadableCheckpoint
from .paths import Location

RESERVED = ".trainbus-"
"""Prefix of the names of files that trainbus alone uses."""
STAGED = f"{RESERVED}staged-"
WEIGHTS = ".weights.h5"
PIECE = 1 << 20
"""Bytes that are copied at once."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


class HashedFile(io.BufferedIOBase):
    """A new file that is written from its start to its end, and knows the digest of all that it was asked to write.

    Each write takes all bytes or raises, also where the system takes fewer (on a disk that fills) or none. Who goes
    back in a file, as ZipFile does where it can, is told that this is not possible, so that what was hashed stays true.

    Args:
        path: the file; what it held is gone.

    >>> path = Path(tempfile.mkdtemp()) / "weights"
    >>> with HashedFile(path) as file:
    ...     _ = file.write(b"weights")
    >>> file.digest == digest_of(path)
    True
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")  # with a buffer: an unbuffered file would write a part, and leave it at that
        self._hash = hashlib.sha256()
        self._size = 0

    @property
    def digest(self) -> str:
        """The SHA-256 digest of what was written, in hexadecimal digits."""
        return self._hash.hexdigest()

    def write(self, data: Any) -> int:
        """Write all of it."""
        size = self._file.write(data)
        self._hash.update(data)
        self._size += size
        return size

    def tell(self) -> int:
        """How much was written."""
        return self._size

    def writable(self) -> bool:
        """Nothing else can be done with it."""
        return True

    def fileno(self) -> int:
        """The number by which the operating system knows the file."""
        return self._file.fileno()

    def flush(self) -> None:
        """Hand everything to the operating system."""
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        """Hand over what is left, and end; may be called again, without effect."""
        try:
            self._file.close()
        finally:
            super().close()


class Staged(NamedTuple):
    """A file that could take the place of another."""

    path: Path
    digest: str
    """Of its content, in which whoever wrote it found nothing amiss."""


def suffix_of(path: Location) -> str:
    """Return the suffix of a file name; ``.weights.h5`` counts as one suffix.

    >>> suffix_of(Path("run.1/best.weights.h5")), suffix_of(Path("best.pt")), suffix_of(Path("best"))
    ('.weights.h5', '.pt', '')
    """
    return WEIGHTS if path.name.endswith(WEIGHTS) and path.name != WEIGHTS else path.suffix


def stage(path: Path, write: Callable[[Path], object]) -> Staged:
    """Let ``write`` make a file that can replace ``path``, in the same directory and with the same suffix.

    The content is on the disk when this returns. If ``write`` raises, the staged file is removed and the error
    passes through.

    Args:
        path: The file that is to be replaced, whether it exists or not.
        write: Writes to the path that it is called with; may return the digest of what it meant to write.

    Raises:
        OSError: The file cannot be made, or does not hold what was meant.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a directory; name a file in it")
    make_directory(path.parent)
    # a new, unguessable name: two runs never share it, and nobody can plant a link there
    handle, name = tempfile.mkstemp(prefix=STAGED, suffix=suffix_of(path), dir=path.parent)
    os.close(handle)
    staged = Path(name)
    try:
        digest = filled(staged, write)
        # mkstemp makes private files; a published file gets the permissions that open() would have given it
        staged.chmod(0o666 & ~_umask())
    except BaseException:
        discard(staged)
        raise
    return Staged(staged, digest)


def filled(path: Path, write: Callable[[Path], object]) -> str:
    """Let `write` fill a file, and wait until that is on the disk; the digest of what lies there.

    Raises:
        OSError: that is not what `write` says it has written.
    """
    meant = told_digest(write(path))
    sync(path)
    return verified(path, meant)


def verified(path: Path, meant: str = "") -> str:
    """The digest of what a file holds.

    Raises:
        OSError: it is not the one that was meant.
    """
    digest = digest_of(path)
    if meant and meant != digest:
        raise OSError("the disk does not hold what was written to it")
    return digest


def told_digest(told: object) -> str:
    """The digest that whoever wrote a file has returned, of what it meant to write; empty where it returned none.

    >>> told_digest("best.pt"), told_digest(None), len(told_digest(hashlib.sha256().hexdigest()))
    ('', '', 64)
    """
    return told if isinstance(told, str) and _DIGEST.fullmatch(told) else ""


@contextmanager
def reading(path: Path, what: str = "cannot be read") -> Generator[None]:
    """Inside a framework reads a payload: whatever it makes of bytes that it never wrote is `UnreadableCheckpoint`.

    Errors of trainbus's own go on, as does a lack of memory, which an older payload would not help.
    """
    try:
        yield
    except (TrainbusError, MemoryError):
        raise
    except Exception as error:  # a number taken for a length, an offset or a name ends in any error there is
        raise UnreadableCheckpoint(f"{str(path)!r} {what}: {str(error) or type(error).__name__}") from error


def write_bytes(path: Path, data: bytes | memoryview) -> str:
    """Make `data` the content of a file; its digest."""
    with HashedFile(path) as file:
        file.write(data)
    return file.digest


def copy(source: Path, path: Path) -> str:
    """Make what `source` holds the content of a file; the digest of what was read there."""
    with source.open("rb") as read, HashedFile(path) as file:
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
    """Make a directory and its missing parents durably: they survive a power cut once this returns."""
    if not directory.is_dir():
        make_directory(directory.parent)
        directory.mkdir(exist_ok=True)
        sync(directory.parent)


def publish(staged: Path, path: Path) -> None:
    """Rename a staged file to ``path`` durably: it survives a power cut once this returns."""
    try:
        staged.replace(path)
    except BaseException:
        discard(staged)
        raise
    sync(path.parent)


def discard(staged: Path) -> None:
    """Remove a staged file or directory if possible."""
    with suppress(OSError):
        if staged.is_dir() and not staged.is_symlink():
            shutil.rmtree(staged)
        else:
            staged.unlink()


def replace_text(path: Path, text: str) -> None:
    """Replace the content of ``path`` by ``text`` in one step."""
    publish(stage(path, lambda staged: write_bytes(staged, text.encode())).path, path)


def digest_of(path: Path) -> str:
    """Return the SHA-256 digest of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_debris(directory: Path) -> list[Path]:
    """Remove the files that dead writers staged in ``directory``; call this only while holding the directory's lock.

    Returns:
        The paths of these files.
    """
    debris = sorted(directory.glob(f"{STAGED}*"))
    for file in debris:
        discard(file)
    return debris


def sync(path: Path) -> None:
    """Wait until a file, or the list of files in a directory, is on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        if os.name == "nt" and path.is_dir():  # Windows cannot open directories, and does not need to sync them
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
