"""Complete files: staged next to their final path, synced, and renamed to it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .paths import Location

RESERVED = ".trainbus-"
"""Prefix of the names of files that trainbus alone uses."""
STAGED = f"{RESERVED}staged-"
WEIGHTS = ".weights.h5"


def suffix_of(path: Location) -> str:
    """Return the suffix of a file name; ``.weights.h5`` counts as one suffix.

    >>> suffix_of(Path("run.1/best.weights.h5")), suffix_of(Path("best.pt")), suffix_of(Path("best"))
    ('.weights.h5', '.pt', '')
    """
    return WEIGHTS if path.name.endswith(WEIGHTS) and path.name != WEIGHTS else path.suffix


def stage(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` make a file that can replace ``path``, in the same directory and with the same suffix.

    The content is on the disk when this returns. If ``write`` raises, the staged file is removed and the error
    passes through.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a directory; name a file in it")
    make_directory(path.parent)
    # a new, unguessable name: two runs never share it, and nobody can plant a link there
    handle, name = tempfile.mkstemp(prefix=STAGED, suffix=suffix_of(path), dir=path.parent)
    os.close(handle)
    staged = Path(name)
    try:
        write(staged)
        # mkstemp makes private files; a published file gets the permissions that open() would have given it
        staged.chmod(0o666 & ~_umask())
        sync(staged)
    except BaseException:
        discard(staged)
        raise
    return staged


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
    publish(stage(path, lambda staged: staged.write_text(text, encoding="utf-8")), path)


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
