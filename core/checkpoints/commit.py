"""One checkpoint: a payload, and beside it a manifest that ties each content to its memory.

Two files cannot be renamed at once, so the manifest is written ahead: before the payload's rename it lists the contents
that may then be found, old and new, each with its digest and its memory; after the rename it drops the old. Whatever a
crash leaves behind, the digest of the payload on the disk finds its own memory. A payload may be a directory, laid out
as `parts` says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ..errors import CheckpointError
from ..storage.atomic_file import digest_of, discard
from ..storage.backend import backend_for, digest_at
from ..storage.paths import Location
from ..storage.sharded_directory import (
    EVERY_PART,
    Part,
    VerificationShare,
    digest_of_parts,
    find_damage,
    holds_parts,
    parts_in,
    present,
    publish_parts,
    remove_stale_parts,
    stage_parts,
)
from .manifest import ManifestEntry, entries_of, manifest_of, manifest_problem, write_manifest

__all__ = ["Checkpoint", "commit", "local_copy", "present_in", "read", "remove"]


class Checkpoint(BaseModel):
    """A payload that is complete and on the disk, with its content as the manifest has it."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    path: Location
    content: ManifestEntry

    @property
    def epoch(self) -> int:
        """The epoch, counted from 0, in which it was saved."""
        return self.content.epoch

    @property
    def step(self) -> int:
        """Weight updates made until then."""
        return self.content.step

    @property
    def reason(self) -> str:
        """Why it was saved, in words."""
        return self.content.reason


def commit(path: Location, write: Callable[[Path], object], *, directory: bool = False, **moment: Any) -> Checkpoint:
    """Let `write` make a file, then put it, with its memory, in the place of `path`.

    At every instant `path` holds what it held before or the whole new content, also after a power cut, and the manifest
    has the memory of whichever it is.

    Args:
        path: where the payload shall stand; missing directories are made.
        write: is called with a path of the same suffix on this machine (in the same directory, where `path` lies on
            its disk), and writes the payload there. It may return the SHA-256 digest of what it meant to write, in
            hexadecimal digits; what lies there is compared with it before it takes any place.
        directory: whether the payload is a directory, laid out as `parts` says; `write` finds it empty, and may return
            the list of its parts where it has read them back already.
        moment: fields of `ManifestEntry` beside those that the payload tells.

    Raises:
        CheckpointError: it could not be written; payload and memory are as they were.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "best.txt"
    >>> _ = commit(path, lambda staged: staged.write_text("weights"), epoch=3, step=40)
    >>> path.read_text(), read(path).epoch
    ('weights', 3)
    """
    try:
        if directory:
            return _commit_directory(_on_disk(path), write, moment)
        place, before = backend_for(path), _expected_at(path)
        staged, digest = place.stage(write)
        try:
            content = ManifestEntry(digest=digest, size=staged.stat().st_size, **moment)
            write_manifest(path, [content, *before])
        except BaseException:
            discard(staged)
            raise
        place.publish(staged)
        _drop_before(path, content)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        raise CheckpointError(f"the checkpoint {str(path)!r} was not written: {error}") from error
    return Checkpoint(path=path, content=content)


def _commit_directory(path: Path, write: Callable[[Path], object], moment: dict[str, Any]) -> Checkpoint:
    before = _expected_at(path)
    staged, parts = stage_parts(path, write)
    try:
        content = ManifestEntry(**_measured(parts), **moment)
        write_manifest(path, [content, *before])
        publish_parts(staged, path, parts)
    except BaseException:
        discard(staged)
        raise
    _drop_before(path, content)
    remove_stale_parts(path, [parts])
    return Checkpoint(path=path, content=content)


def _drop_before(path: Location, content: ManifestEntry) -> None:
    """Let the manifest list what is there alone."""
    # the payload is in its place, so that nothing has failed: a manifest that lists both is as true
    with suppress(OSError):
        write_manifest(path, [content])


def _on_disk(path: Location) -> Path:
    if isinstance(path, Path):
        return path
    raise CheckpointError("a directory of parts needs a path on a file system; upload it from there")


def _measured(parts: tuple[Part, ...]) -> dict[str, Any]:
    """The fields of `ManifestEntry` that the parts of a directory tell."""
    return {"digest": digest_of_parts(parts), "size": sum(part.size for part in parts), "parts": parts}


def read(path: Location, mine: VerificationShare = EVERY_PART) -> Checkpoint:
    """The checkpoint at `path`, every byte of it verified; also while another process writes the next one there.

    Args:
        path: where it lies.
        mine: what to verify of a directory, where other processes verify the rest.

    Raises:
        CheckpointError: there is none, or its content is not one that was committed.
    """
    if isinstance(path, Path) and path.is_dir():
        return _read_directory(path, mine)
    while True:
        try:
            with backend_for(
                path
            ).open() as payload:  # opened first: what is open stays what it is, whatever is renamed
                contents = entries_of(path)
                digest = hashlib.file_digest(payload.file, "sha256").hexdigest()
                # a manifest drops a content only after another payload took its place
                changed = payload.replaced()
                changed = changed and all(content.digest != digest for content in contents)
        except OSError as error:
            raise CheckpointError(f"the checkpoint {str(path)!r} cannot be read: {error}") from error
        if not changed:
            break
    if not contents:
        raise CheckpointError(
            f"nothing can verify {str(path)!r}: {manifest_problem(path)}; copy it from where the checkpoint "
            "lay, or load the file with its framework and begin afresh"
        )
    for content in contents:
        if content.digest == digest:
            return Checkpoint(path=path, content=content)
    raise CheckpointError(f"the checkpoint {str(path)!r} is damaged: its bytes are not those that were written")


def _read_directory(path: Path, mine: VerificationShare) -> Checkpoint:
    """As `read`. The index tells which of several contents it is; that one's parts are compared."""
    while True:
        contents = entries_of(path)
        if not contents:
            raise CheckpointError(f"nothing can verify {str(path)!r}: {manifest_problem(path)}")
        there = present_in(path, contents)
        flaw = find_damage(path, mine.of(there[0].parts)) if there else "its index is not one that was written"
        if not flaw:
            return Checkpoint(path=path, content=there[0])
        if entries_of(path) == contents and present_in(path, contents) == there:  # else a writer was faster
            raise CheckpointError(f"the checkpoint {str(path)!r} is damaged: {flaw}")


def present_in(path: Path, contents: Iterable[ManifestEntry]) -> list[ManifestEntry]:
    """The contents whose index is in the directory; mostly one."""
    return [content for content in contents if present(path, content.parts)]


def remove(path: Location) -> None:
    """Remove a payload, then its manifest; one that is gone already is no error."""
    backend_for(path).remove()
    backend_for(manifest_of(path)).remove()


@contextmanager
def local_copy(path: Location, digest: str = "") -> Generator[Path]:
    """A file on this machine that holds what `path` does, for whoever loads it.

    Raises:
        CheckpointError: it cannot be read, or what was fetched from elsewhere has not this digest.
    """
    with ExitStack() as open_files:
        try:
            file = open_files.enter_context(backend_for(path).as_local_file())
        except OSError as error:
            raise CheckpointError(f"the checkpoint {str(path)!r} cannot be read: {error}") from error
        if digest and file != path and digest_of(file) != digest:
            raise CheckpointError(f"{str(path)!r} is no longer what it was: somebody has written there meanwhile")
        yield file


def _expected_at(path: Location) -> list[ManifestEntry]:
    """What may be found at `path` before it is written; a file that somebody else put there is one such content."""
    contents = entries_of(path)
    if not contents and isinstance(path, Path) and holds_parts(path):
        parts = parts_in(path)
        return [ManifestEntry(**_measured(parts), epoch=-1, step=-1)] if parts else []
    size = None if contents else backend_for(path).size()
    return contents if size is None else [ManifestEntry(digest=digest_at(path), size=size, epoch=-1, step=-1)]
