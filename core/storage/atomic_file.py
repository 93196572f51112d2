"""Whole files: staged beside their place, synced, renamed into it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .paths import Location

__all__ = [
    "RESERVED",
    "STAGED",
    "digest_of",
    "discard",
    "make_directory",
    "publish",
    "remove_debris",
    "replace_text",
    "stage",
    "stage_directory",
    "suffix_of",
    "sync",
]

RESERVED = ".trainbus-"
"""How the names of files begin that are trainbus's own."""
STAGED = f"{RESERVED}staged-"
WEIGHTS = ".weights.h5"


def suffix_of(path: Location) -> str:
    """The suffix of a file name, `.weights.h5` taken as one.

    >>> suffix_of(Path("run.1/best.weights.h5")), suffix_of(Path("best.pt")), suffix_of(Path("best"))
    ('.weights.h5', '.pt', '')
    """
    return WEIGHTS if path.name.endswith(WEIGHTS) and path.name != WEIGHTS else path.suffix


def stage(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` make a file that could take the place of `path`, beside it and of the same suffix.

    The content is on the disk when this returns. Whatever `write` raises goes on, and nothing is left behind.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a directory; name a file in it")
    make_directory(path.parent)
    # an unguessable name that nobody owns yet: two runs never share it, and no planted link can stand there
    handle, name = tempfile.mkstemp(prefix=STAGED, suffix=suffix_of(path), dir=path.parent)
    os.close(handle)
    staged = Path(name)
    try:
        write(staged)
        # mkstemp's files are private; a published one gets the rights that a plain open() would have given
        staged.chmod(0o666 & ~_umask())
        sync(staged)
    except BaseException:
        discard(staged)
        raise
    return staged


def stage_directory(path: Path) -> Path:
    """An empty directory beside `path` and of the same suffix, for whoever fills it."""
    make_directory(path.parent)
    staged = Path(tempfile.mkdtemp(prefix=STAGED, suffix=suffix_of(path), dir=path.parent))
    staged.chmod(0o777 & ~_umask())
    return staged


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def make_directory(directory: Path) -> None:
    """Make a directory and those above it, where they are missing; they are there for good when this returns."""
    if not directory.is_dir():
        make_directory(directory.parent)
        directory.mkdir(exist_ok=True)
        sync(directory.parent)


def publish(staged: Path, path: Path) -> None:
    """Put a staged file in the place of `path` in one step; it is there for good when this returns."""
    try:
        staged.replace(path)
    except BaseException:
        discard(staged)
        raise
    sync(path.parent)


def discard(staged: Path) -> None:
    """Remove a staged file or directory, where that is possible."""
    with suppress(OSError):
        if staged.is_dir() and not staged.is_symlink():
            shutil.rmtree(staged)
        else:
            staged.unlink()


def replace_text(path: Path, text: str) -> None:
    """Make `text` the content of `path` in one step."""
    publish(stage(path, lambda staged: staged.write_text(text, encoding="utf-8")), path)


def digest_of(path: Path) -> str:
    """The SHA-256 digest of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_debris(directory: Path) -> list[Path]:
    """Remove what writers that died have staged in `directory`; only for whoever owns the directory's lock."""
    debris = sorted(directory.glob(f"{STAGED}*"))
    for file in debris:
        discard(file)
    return debris


def sync(path: Path) -> None:
    """Wait until a file, or the list of files in a directory, is on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        if os.name == "nt" and path.is_dir():  # Windows opens no directories, and needs no sync of them
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
