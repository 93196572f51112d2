"""The checkpoints of a directory: what is there, which is the newest that is intact, what is left of dead writers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..errors import CheckpointError
from ..storage.atomic_file import RESERVED, suffix_of
from ..storage.backend import backend_for
from ..storage.paths import Location
from ..storage.sharded_directory import EVERY_PART, VerificationShare, holds_parts, remove_stale_parts
from .commit import Checkpoint, commit, local_copy, present_in, read, remove
from .manifest import MANIFEST, Manifest, ManifestEntry, entries_of, manifest_of, manifest_problem

__all__ = [
    "MANIFEST",
    "Checkpoint",
    "CheckpointInfo",
    "Manifest",
    "ManifestEntry",
    "commit",
    "entries_of",
    "inspect_paths",
    "local_copy",
    "manifest_of",
    "newest",
    "newest_intact",
    "payloads_in",
    "read",
    "remove",
    "remove_debris",
    "scan",
]


class CheckpointInfo(NamedTuple):
    """What a directory has at one payload's path."""

    path: Location
    content: ManifestEntry | None
    """What should be there; None where no manifest tells."""
    flaw: str = ""
    """What is wrong with it, as far as was looked."""


def scan(directory: Location, *, verify: bool = False) -> list[CheckpointInfo]:
    """Everything in a directory that is a checkpoint or was one, latest step first; what no manifest tells comes last.

    Args:
        directory: is looked at itself, not what lies deeper.
        verify: whether every byte is read. Otherwise a payload passes that has the size it should have.

    Raises:
        CheckpointError: the directory cannot be read.
    """
    try:
        names = sorted(backend_for(directory).list_names())
    except OSError as error:
        raise CheckpointError(f"{str(directory)!r} cannot be searched for checkpoints: {error}") from error
    told = {name.removesuffix(MANIFEST) for name in names if name.endswith(MANIFEST)} - {""}
    # a file like the others that lost its manifest is named, or an older one would take its place in silence
    kinds = {suffix_of(Path(name)) for name in told} - {""}
    lost = {name for name in names if suffix_of(Path(name)) in kinds and not name.startswith(RESERVED)} - told
    return inspect_paths([directory / name for name in told | lost if not name.endswith(MANIFEST)], verify=verify)


def inspect_paths(paths: Iterable[Location], *, verify: bool = False) -> list[CheckpointInfo]:
    """What is at each path, latest step first, as `scan` tells it; without those where nothing is."""
    found = [_look(path, verify=verify) for path in sorted(paths, key=str)]
    return sorted((each for each in found if each is not None), key=_age)


def payloads_in(directory: Location) -> list[Location]:
    """The paths in a directory that have a manifest, whether there is a payload or not."""
    return [
        directory / name.removesuffix(MANIFEST)
        for name in backend_for(directory).list_names()
        if name.endswith(MANIFEST)
    ]


def newest_intact(directory: Location) -> tuple[Checkpoint | None, list[CheckpointInfo]]:
    """The checkpoint of the latest step whose bytes are all as they were written, None where there is none.

    Clocks play no part. Also returned is what was passed over on the way to it: damaged, gone, or of unknown step.

    Raises:
        CheckpointError: the directory cannot be read.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for step in (1, 2):
    ...     _ = commit(folder / f"{step}.txt", lambda staged: staged.write_text("weights"), epoch=0, step=step)
    >>> _ = (folder / "2.txt").write_text("weighty")
    >>> newest, passed_over = newest_intact(folder)
    >>> newest.step, [found.path.name for found in passed_over]
    (1, ['2.txt'])
    """
    return newest(scan(directory))


def newest(
    candidates: Iterable[CheckpointInfo], mine: VerificationShare = EVERY_PART
) -> tuple[Checkpoint | None, list[CheckpointInfo]]:
    """The first of the candidates whose bytes are all as they were written, and what was passed over, as above."""
    first: Checkpoint | None = None
    passed_over: list[CheckpointInfo] = []
    for found in candidates:
        if found.content is not None and first is not None:
            continue
        looked = found if found.flaw else _look(found.path, verify=True, mine=mine)
        if looked is None:  # removed meanwhile
            continue
        if looked.flaw or looked.content is None:
            passed_over.append(looked)
        else:
            first = Checkpoint(path=looked.path, content=looked.content)
    return first, passed_over


def remove_debris(directory: Location) -> None:
    """Remove what writers that died have left in `directory`; only for its owner."""
    backend_for(directory).remove_debris()
    for path in payloads_in(directory) if isinstance(directory, Path) else ():
        there = present_in(path, entries_of(path)) if isinstance(path, Path) and holds_parts(path) else []
        if there and isinstance(path, Path):
            remove_stale_parts(path, [content.parts for content in there])


def _look(path: Location, *, verify: bool, mine: VerificationShare = EVERY_PART) -> CheckpointInfo | None:
    """One payload and its manifest, None for neither; after a crash only the digest can tell which content it is."""
    try:
        contents = entries_of(path)
        size = _size(path, contents)
    except OSError as error:
        return CheckpointInfo(path, None, f"its manifest cannot be read: {error}")
    if not contents:
        flaw = manifest_problem(path)
        return None if size is None and flaw.endswith("missing") else CheckpointInfo(path, None, flaw)
    if size is None:
        return CheckpointInfo(path, contents[0], "missing: it was removed, or its run died before it was there")
    if len(contents) == 1 and contents[0].size == size and not verify:
        return CheckpointInfo(path, contents[0])
    try:
        content = read(path, mine).content
        foreign = "somebody else's file, whole; the save that was to replace it never came"
        return CheckpointInfo(path, content) if content.step >= 0 else CheckpointInfo(path, None, foreign)
    except CheckpointError as error:
        if isinstance(path, Path) and path.is_dir():
            return CheckpointInfo(path, contents[0], f"damaged: {str(error).partition(' is damaged: ')[2]}")
        same = any(content.size == size for content in contents)
        told = "its bytes are not those that were written" if same else f"{size:,} bytes, not {contents[0].size:,}"
        return CheckpointInfo(
            path, contents[0], f"unreadable: {error.__cause__}" if error.__cause__ else f"damaged: {told}"
        )


def _size(path: Location, contents: list[ManifestEntry]) -> int | None:
    """The size of a payload; of a directory that of the parts it should have. None where nothing is there."""
    if not isinstance(path, Path) or not holds_parts(path) or (contents and not contents[0].parts):
        return backend_for(path).size()
    try:
        return sum((path / part.name).stat().st_size for part in (contents[0].parts if contents else ()))
    except FileNotFoundError:
        return 0 if path.is_dir() else None


def _age(found: CheckpointInfo) -> tuple[float, ...]:
    """What to sort by, latest step first."""
    if found.content is None:
        return (1,)
    return (0, -found.content.step, -found.content.epoch, -found.content.written.timestamp())
