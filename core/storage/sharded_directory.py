"""Payloads that are directories: an index file at the top level, and the parts that it lists in a subdirectory.

Not every file system can replace a directory atomically, but all can replace a file. So each save writes its parts to
a new subdirectory next to the old parts, and commits them by renaming the index. A reader finds either all old parts
or all new ones. Afterwards, the save removes the parts that no index lists.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, field_validator

from ..errors import CheckpointError
from .atomic_file import copy, digest_of, discard, fill, stage_directory, sync
from .locks.file_lock import check_locks

SHARDS = "shards-"
"""Prefix of the names of subdirectories; each holds the parts of one save."""


class Part(BaseModel):
    """One file of a payload directory."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    """Path inside the directory, separated by "/"; the index is at the top level, so its name contains no "/"."""
    size: int
    """Length in bytes."""
    digest: str
    """SHA-256 in hexadecimal digits."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        """Refuse a path that leads out of the directory, since a manifest may come from an attacker."""
        parts = name.split("/")
        outside = (
            any(each in ("", ".", "..") or set(each) & {"\0", "\\"} for each in parts) or PureWindowsPath(name).drive
        )
        if outside or (len(parts) > 1 and not name.startswith(SHARDS)):
            raise ValueError(f"{name!r} is not the path of a part")
        return name

    @property
    def is_index(self) -> bool:
        """Whether this part is the index, the file at the top level that lists the others."""
        return "/" not in self.name


class VerificationShare(NamedTuple):
    """The parts of a payload that one of several processes verifies: the index, and the parts of its rank.

    >>> parts = [Part(name=name, size=1, digest="") for name in ("index", "shards-9/__0_0", "shards-9/__1_0")]
    >>> [part.name for part in VerificationShare(1, 2).of(parts)]
    ['index', 'shards-9/__1_0']
    """

    rank: int
    size: int

    def of(self, parts: Iterable[Part]) -> list[Part]:
        """Return the parts in this share; every share has the index, and each other part is in exactly one share."""
        return [part for part in parts if part.is_index or _number(part.name) % self.size == self.rank]


EVERY_PART = VerificationShare(0, 1)


def _number(name: str) -> int:
    digits = re.search(r"\d+", name.rpartition("/")[2])
    return int(digits[0]) if digits else 0


def digest_of_parts(parts: Iterable[Part]) -> str:
    """Return the SHA-256 digest of the sorted list of all parts' names, sizes and digests.

    >>> first, second = Part(name="index", size=1, digest="a"), Part(name="shards-1/0", size=2, digest="b")
    >>> digest_of_parts([first, second]) == digest_of_parts([second, first])
    True
    """
    lines = sorted(f"{part.name}\0{part.size}\0{part.digest}\n" for part in parts)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def has_index_of(directory: Path, parts: Iterable[Part]) -> bool:
    """Return whether the index file in a directory matches the index in these parts."""
    return any(part.is_index and not find_damage(directory, [part]) for part in parts)


def holds_parts(path: Path) -> bool:
    """Return whether a path is a payload directory: at most one top-level file, all others in ``shards-...``."""
    if not path.is_dir():
        return False
    entries = list(path.iterdir())
    files = [each for each in entries if not each.is_dir()]
    return len(files) <= 1 and all(each in files or each.name.startswith(SHARDS) for each in entries)


def stage_parts(path: Path, write: Callable[[Path], object]) -> tuple[Path, tuple[Part, ...]]:
    """Let ``write`` fill a new directory next to ``path`` that can replace it.

    Everything is on the disk when this returns. If ``write`` raises, the directory is removed and the error passes
    through.

    Args:
        path: The path of a payload directory, which may exist.
        write: Fills the directory that it is called with. It may return the parts if it has read them back.

    Returns:
        The new directory and its parts.

    Raises:
        OSError: ``path`` exists and is not a payload directory.
        CheckpointError: ``write`` did not make a payload directory, or a part is missing.
    """
    check_locks(path)
    if path.is_symlink() or (path.exists() and not holds_parts(path)):
        what = "a link" if path.is_symlink() else "not empty and no checkpoint" if path.is_dir() else "a file"
        raise FileExistsError(f"{str(path)!r} is {what}; name a new directory")
    staged = stage_directory(path)
    try:
        parts = parts_in(staged, write(staged))
        if not parts:
            raise CheckpointError(
                f"{str(staged)!r} must contain one file, the index, and all others in directories named {SHARDS}..."
            )
        for directory in sorted({staged, *((staged / part.name).parent for part in parts)}):
            sync(directory)
    except BaseException:
        discard(staged)
        raise
    return staged, parts


def parts_in(directory: Path, written: object = None) -> tuple[Part, ...]:
    """Return the parts of a directory, its index first; empty if it is not a payload directory.

    Args:
        directory: The directory to search.
        written: The parts, if the writer has already verified them; otherwise every file is synced and read.

    Raises:
        CheckpointError: One of the ``written`` parts is missing.
    """
    files = [path for path in directory.rglob("*") if not path.is_dir()]
    if not holds_parts(directory) or all(path.parent != directory for path in files):
        return ()
    parts = _checked(directory, written) if written else [_part(directory, path) for path in files]
    return tuple(sorted(parts, key=lambda part: (not part.is_index, part.name)))


def _part(directory: Path, path: Path) -> Part:
    sync(path)
    return Part(name=path.relative_to(directory).as_posix(), size=path.stat().st_size, digest=digest_of(path))


def _checked(directory: Path, written: Any) -> list[Part]:
    parts: list[Part] = list(written)
    for part in parts:
        path = directory / part.name
        if not path.is_file() or path.stat().st_size != part.size:
            raise CheckpointError(
                f"{part.name!r} was written by another process and is missing here: all processes of a training must "
                "share one file system"
            )
    return parts


def find_damage(directory: Path, parts: Iterable[Part]) -> str:
    """Describe the first damage in these parts; empty if there is none."""
    for part in parts:
        try:
            if _leads_outside(directory, part):
                return f"{part.name!r} is a link to a file outside of the checkpoint"
            if digest_of(directory / part.name) != part.digest:
                return f"{part.name!r}: its bytes are not those that were written"
        except FileNotFoundError:
            return f"{part.name!r} is missing"
        except OSError as error:
            return f"{part.name!r} cannot be read: {error}"
    return ""


def _leads_outside(directory: Path, part: Part) -> bool:
    real = os.path.realpath(directory)
    return os.path.commonpath([os.path.realpath(directory / part.name), real]) != real


def read_part(directory: Path, part: Part) -> bytes:
    """Return the content of a part.

    Raises:
        CheckpointError: The part is missing or damaged.
    """
    if flaw := find_damage(directory, [part]):
        raise CheckpointError(f"the checkpoint {str(directory)!r} is damaged: {flaw}")
    return (directory / part.name).read_bytes()


def link_parts(source: Path, path: Path) -> None:
    """Make ``path`` a second name of a payload, with hard links, or with copies if links are not supported."""
    staged = stage_directory(path)
    try:
        for part in sorted(source.rglob("*")):
            target = staged / part.relative_to(source)
            if part.is_dir():
                target.mkdir()
                continue
            try:
                os.link(part, target)
            except OSError:  # a file system without hard links
                fill(target, partial(copy, part))
        for directory in (staged, *(each for each in staged.rglob("*") if each.is_dir())):
            sync(directory)
        staged.rename(path)
    except BaseException:
        discard(staged)
        raise
    sync(path.parent)


def publish_parts(staged: Path, path: Path, parts: Iterable[Part]) -> None:
    """Replace ``path`` with a staged directory; at any time, either the old payload or the new one is complete."""
    if not path.exists():
        staged.rename(path)
        sync(path.parent)
        return
    index = next(part.name for part in parts if part.is_index)
    for shards in sorted(staged.glob(f"{SHARDS}*")):
        shards.rename(path / shards.name)
    sync(path)
    (staged / index).replace(path / index)
    sync(path)
    with suppress(OSError):
        staged.rmdir()


def remove_stale_parts(path: Path, kept: Iterable[Iterable[Part]]) -> list[Path]:
    """Remove the parts of a payload that are in no list of ``kept``, and return their directories."""
    names = {part.name.partition("/")[0] for parts in kept for part in parts}
    old = sorted(shards for shards in path.glob(f"{SHARDS}*") if shards.name not in names)
    for shards in old:
        shutil.rmtree(shards, ignore_errors=True)
    return old


def remove_parts(path: Path) -> None:
    """Remove a payload, index first: a directory without an index is not a payload.

    Raises:
        CheckpointError: The directory is not a payload.
    """
    if not holds_parts(path):
        raise CheckpointError(
            f"{str(path)!r} is not removed: the directory also contains files that are not part of the checkpoint"
        )
    for each in path.iterdir():
        if not each.is_dir():
            each.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        shutil.rmtree(path)
