"""Payloads that are directories: parts in a subdirectory of a new name, and one index at the top that names them.

A directory that is not empty cannot be replaced in one step on every file system; one file can. So new parts come to
lie beside the old ones, and the rename of the index commits them: who opens it finds the old parts or the new, all of
them. What no index names is removed afterwards.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from ..errors import CheckpointError
from .atomic_file import copy, digest_of, discard, filled, stage_directory, sync

__all__ = [
    "EVERY_PART",
    "SHARDS",
    "Part",
    "VerificationShare",
    "digest_of_parts",
    "find_damage",
    "holds_parts",
    "index_in",
    "link_parts",
    "parts_in",
    "present",
    "publish_parts",
    "read_part",
    "remove_parts",
    "remove_stale_parts",
    "stage_parts",
]

SHARDS = "shards-"
"""How the name of a subdirectory begins that holds the parts of one save."""


class Part(BaseModel):
    """One file of a payload that is a directory."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    """Its path inside the directory, with "/"; the index's has none."""
    size: int
    digest: str
    """SHA-256 in hexadecimal digits."""


class VerificationShare(NamedTuple):
    """What of a payload one of several processes reads: the index, and the parts that bear its number.

    >>> parts = [Part(name=name, size=1, digest="") for name in ("index", "shards-9/__0_0", "shards-9/__1_0")]
    >>> [part.name for part in VerificationShare(1, 2).of(parts)]
    ['index', 'shards-9/__1_0']
    """

    rank: int
    size: int

    def of(self, parts: Iterable[Part]) -> list[Part]:
        """Its parts; each is in one portion, and the index in all."""
        return [part for part in parts if "/" not in part.name or _number(part.name) % self.size == self.rank]


EVERY_PART = VerificationShare(0, 1)


def _number(name: str) -> int:
    digits = re.search(r"\d+", name.rpartition("/")[2])
    return int(digits[0]) if digits else 0


def digest_of_parts(parts: Iterable[Part]) -> str:
    """What stands for all parts: the SHA-256 digest of the list of their names, sizes and digests, sorted.

    >>> first, second = Part(name="index", size=1, digest="a"), Part(name="shards-1/0", size=2, digest="b")
    >>> digest_of_parts([first, second]) == digest_of_parts([second, first])
    True
    """
    lines = sorted(f"{part.name}\0{part.size}\0{part.digest}\n" for part in parts)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def index_in(parts: Iterable[Part]) -> Part:
    """The part that names the others."""
    return next(part for part in parts if "/" not in part.name)


def present(directory: Path, parts: Iterable[Part]) -> bool:
    """Whether the index in a directory is the one among these parts."""
    return any("/" not in part.name and not find_damage(directory, [part]) for part in parts)


def holds_parts(path: Path) -> bool:
    """Whether a path is a directory laid out as a payload: no file at its top but an index, all else in shards."""
    if not path.is_dir():
        return False
    entries = list(path.iterdir())
    files = [each for each in entries if not each.is_dir()]
    return len(files) <= 1 and all(each in files or each.name.startswith(SHARDS) for each in entries)


def stage_parts(path: Path, write: Callable[[Path], object]) -> tuple[Path, tuple[Part, ...]]:
    """Let `write` fill a directory that could take the place of `path`, beside it; its path, and its parts.

    All of it is on the disk when this returns. Whatever `write` raises goes on, and nothing is left behind.

    Args:
        path: where a payload that is a directory stands or may stand.
        write: fills the directory that it is called with; may return the parts, where it has read them back.

    Raises:
        OSError: something else stands at `path`.
        CheckpointError: what was written is not laid out as a payload, or not there.
    """
    if path.is_symlink() or (path.exists() and not holds_parts(path)):
        what = "a link" if path.is_symlink() else "not empty and no checkpoint" if path.is_dir() else "a file"
        raise FileExistsError(f"{str(path)!r} is {what}; name a new directory")
    staged = stage_directory(path)
    try:
        told = write(staged)
        parts = parts_in(staged, told)
        if not parts:
            raise CheckpointError(
                f"{str(staged)!r} has to hold one file, the index, and all others in directories named {SHARDS}..."
            )
        for place in sorted({staged, *((staged / part.name).parent for part in parts)}):
            sync(place)
    except BaseException:
        discard(staged)
        raise
    return staged, parts


def parts_in(directory: Path, told: object = None) -> tuple[Part, ...]:
    """The parts of a directory, its index first; none where it is not laid out as a payload.

    Args:
        directory: what is looked through.
        told: the parts, where whoever wrote them has read them back already; else every byte is synced and read.

    Raises:
        CheckpointError: a part that was told is not there.
    """
    files = [path for path in directory.rglob("*") if not path.is_dir()]
    if not holds_parts(directory) or all(path.parent != directory for path in files):
        return ()
    parts = _checked(directory, told) if told else [_part(directory, path) for path in files]
    return tuple(sorted(parts, key=lambda part: ("/" in part.name, part.name)))


def _part(directory: Path, path: Path) -> Part:
    sync(path)
    return Part(name=path.relative_to(directory).as_posix(), size=path.stat().st_size, digest=digest_of(path))


def _checked(directory: Path, told: Any) -> list[Part]:
    parts: list[Part] = list(told)
    for part in parts:
        path = directory / part.name
        if not path.is_file() or path.stat().st_size != part.size:
            raise CheckpointError(
                f"{part.name!r} was written by another process and is not here: all processes of a training need one "
                "file system that they share"
            )
    return parts


def find_damage(directory: Path, parts: Iterable[Part]) -> str:
    """In words, the first part that is not there as it was written; empty where all are."""
    for part in parts:
        try:
            if digest_of(directory / part.name) != part.digest:
                return f"{part.name!r}: its bytes are not those that were written"
        except FileNotFoundError:
            return f"{part.name!r} is missing"
        except OSError as error:
            return f"{part.name!r} cannot be read: {error}"
    return ""


def read_part(directory: Path, part: Part) -> bytes:
    """What a part holds.

    Raises:
        CheckpointError: it is not there as it was written.
    """
    flaw = find_damage(directory, [part])
    if flaw:
        raise CheckpointError(f"the checkpoint {str(directory)!r} is damaged: {flaw}")
    return (directory / part.name).read_bytes()


def link_parts(source: Path, path: Path) -> None:
    """Make `path`, where nothing is, a second name of a payload; its files are the same, or copies without links."""
    staged = stage_directory(path)
    try:
        for part in sorted(source.rglob("*")):
            place = staged / part.relative_to(source)
            if part.is_dir():
                place.mkdir()
                continue
            try:
                os.link(part, place)
            except OSError:  # a file system without links
                filled(place, partial(copy, part))
        for place in (staged, *(each for each in staged.rglob("*") if each.is_dir())):
            sync(place)
        staged.rename(path)
    except BaseException:
        discard(staged)
        raise
    sync(path.parent)


def publish_parts(staged: Path, path: Path, parts: Iterable[Part]) -> None:
    """Put a staged directory in the place of `path`; at every instant the old payload is there or the new one."""
    if not path.exists():
        staged.rename(path)
        sync(path.parent)
        return
    index = index_in(parts).name
    for shards in sorted(staged.glob(f"{SHARDS}*")):
        shards.rename(path / shards.name)
    sync(path)
    (staged / index).replace(path / index)
    sync(path)
    with suppress(OSError):
        staged.rmdir()


def remove_stale_parts(path: Path, contents: Iterable[Iterable[Part]]) -> list[Path]:
    """Remove from a payload the parts that none of these contents has; where they lay."""
    kept = {part.name.partition("/")[0] for parts in contents for part in parts}
    old = sorted(shards for shards in path.glob(f"{SHARDS}*") if shards.name not in kept)
    for shards in old:
        shutil.rmtree(shards, ignore_errors=True)
    return old


def remove_parts(path: Path) -> None:
    """Remove a payload, its index first: without it nothing is there.

    Raises:
        CheckpointError: the directory is no payload.
    """
    if not holds_parts(path):
        raise CheckpointError(f"{str(path)!r} is not removed: the directory holds more than a checkpoint")
    for each in path.iterdir():
        if not each.is_dir():
            each.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        shutil.rmtree(path)
