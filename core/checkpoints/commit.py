"""One checkpoint: a payload and, next to it, a manifest that assigns each content its run state.

Two files cannot be renamed in one step, so the manifest is written first: before the payload is renamed, it lists the
old and the new content, each with its digest and its run state. After the rename it drops the old one. After a crash,
the digest of the payload on the disk identifies the right entry. A payload may be a directory (see
``trainbus.storage.sharded_directory``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ..errors import CheckpointError, TrainbusError, error_text
from ..storage.atomic_file import digest_of, discard, fill
from ..storage.backend import backend_for, digest_at
from ..storage.paths import Location
from ..storage.sharded_directory import (
    EVERY_PART,
    Part,
    VerificationShare,
    digest_of_parts,
    find_damage,
    has_index_of,
    holds_parts,
    parts_in,
    publish_parts,
    remove_stale_parts,
    stage_parts,
)
from .beside.files import BesideWriter, flaw_beside, give_names, remove_named, remove_stored
from .manifest import (
    FileBeside,
    ManifestEntry,
    entries_before_write,
    entries_of,
    manifest_of,
    manifest_problem,
    write_manifest,
)


class Checkpoint(BaseModel):
    """A complete payload and its entry in the manifest."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    path: Location
    entry: ManifestEntry

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Yield the path and the counters: the entry also holds the state of the run, which is long."""
        yield "path", str(self.path)
        yield from self.entry.__repr_args__()

    @property
    def epoch(self) -> int:
        """The epoch, counted from 0, in which it was saved."""
        return self.entry.epoch

    @property
    def step(self) -> int:
        """Weight updates of the run until then."""
        return self.entry.step

    @property
    def state_path(self) -> Location:
        """The file that holds the training state: the payload, or one beside it."""
        file = self.entry.state_file
        return self.path if file is None else self.path.with_name(file.stored)

    @property
    def state_digest(self) -> str:
        """The SHA-256 digest of that file."""
        return self.entry.digest if self.entry.state_file is None else self.entry.state_file.digest

    @property
    def files(self) -> tuple[Location, ...]:
        """The files with a name: the payload, and those of the other models."""
        return (self.path, *(self.path.with_name(each.name) for each in self.entry.files if each.name))

    @property
    def reason(self) -> str:
        """Why it was saved, in words."""
        return self.entry.reason


def commit(
    path: Location,
    write: Callable[[Path], object],
    *,
    directory: bool = False,
    beside: Sequence[BesideWriter] = (),
    **metadata: Any,
) -> Checkpoint:
    """Let ``write`` create a file, then replace ``path`` and its run state with it.

    At any time, even after a power failure, ``path`` holds the previous content or the complete new one, and the
    manifest has the run state of that content.

    Args:
        path: The path of the payload; missing directories are made.
        write: Writes the payload to the path that it is called with. That path has the same suffix and is on this
            machine, in the same directory if ``path`` is on its disk. It may return the SHA-256 digest, in hexadecimal
            digits, of what it wrote; the file is compared with it before it replaces another.
        directory: Whether the payload is a directory. ``write`` then finds an empty directory, and may return the list
            of its parts if it has read them back already.
        beside: Write the other files of the save: the training state, if the payload does not hold it, and the other
            models. The manifest names all files, so that the rename of the payload commits all of them.
        metadata: The fields of ``ManifestEntry`` other than ``digest``, ``size``, ``parts``, ``files``.

    Raises:
        CheckpointError: The payload could not be written; it and its manifest are unchanged. Or the save is complete,
            but a file beside the payload could not get its name.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "best.txt"
    >>> _ = commit(path, lambda staged: staged.write_text("weights"), epoch=3, step=40)
    >>> path.read_text(), read(path).epoch
    ('weights', 3)
    """
    try:
        if directory and isinstance(path, Path):
            return _commit_directory(path, write, metadata)
        if directory:
            raise CheckpointError(
                "a checkpoint directory can only be saved to a file system; save it there, then upload it"
            )
        backend, before = backend_for(path), _expected_at(path)
        staged: Path | None = None
        files: list[FileBeside] = []
        try:
            for each in beside:
                files.append(each.write_beside(path))  # noqa: PERF401 - those before a failure are removed
            staged = backend.new_file()
            digest = fill(staged, write)
            entry = ManifestEntry(digest=digest, size=staged.stat().st_size, files=tuple(files), **metadata)
            write_manifest(path, [entry, *before])
        except BaseException:
            if staged is not None:
                discard(staged)
            remove_stored(path, files)
            raise
        backend.publish(staged)
        _name_files(path, files)
        # the payload is committed, so an error here does not fail the save: a manifest with both entries is valid
        with suppress(OSError):
            write_manifest(path, [entry])
            remove_stored(path, (file for each in before for file in each.files))
    except TrainbusError:
        raise
    except Exception as error:  # such as a PicklingError
        raise CheckpointError(f"the checkpoint {str(path)!r} was not written: {error_text(error)}") from error
    return Checkpoint(path=path, entry=entry)


def _name_files(path: Location, files: Sequence[FileBeside]) -> None:
    try:
        give_names(path, files)
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint {str(path)!r} was written, but not all of its files could get their names: "
            f"{error_text(error)}; a run resumes from it as it is"
        ) from error


def _commit_directory(path: Path, write: Callable[[Path], object], metadata: dict[str, Any]) -> Checkpoint:
    before = _expected_at(path)
    staged, parts = stage_parts(path, write)
    try:
        entry = ManifestEntry(**_measured(parts), **metadata)
        write_manifest(path, [entry, *before])
        publish_parts(staged, path, parts)
    except BaseException:
        discard(staged)
        raise
    with suppress(OSError):  # as in commit
        write_manifest(path, [entry])
    remove_stale_parts(path, [parts])
    return Checkpoint(path=path, entry=entry)


def _measured(parts: tuple[Part, ...]) -> dict[str, Any]:
    """Return the fields of ``ManifestEntry`` that the parts of a directory determine."""
    return {"digest": digest_of_parts(parts), "size": sum(part.size for part in parts), "parts": parts}


def read(path: Location, share: VerificationShare = EVERY_PART) -> Checkpoint:
    """Return the checkpoint at ``path`` after verifying every byte; another process may write there meanwhile.

    Args:
        path: The path of the payload.
        share: The parts of a directory that this process verifies.

    Raises:
        CheckpointError: There is no checkpoint, or its content was not committed.
    """
    if isinstance(path, Path) and path.is_dir():
        return _read_directory(path, share)
    while True:
        try:
            with backend_for(path).open() as payload:  # before the manifest is read: a rename does not change it
                entries = entries_of(path)
                digest = hashlib.file_digest(payload.file, "sha256").hexdigest()
                # a manifest drops an entry only after another payload replaced that content
                changed = payload.replaced() and all(entry.digest != digest for entry in entries)
            found = next((entry for entry in entries if entry.digest == digest), None)
            flaw = "" if found is None else flaw_beside(path, found, verify=True)
            changed = changed or (bool(flaw) and entries_of(path) != entries)
        except OSError as error:
            raise CheckpointError(f"the checkpoint {str(path)!r} cannot be read: {error}") from error
        if not changed:
            break
    if not entries:
        problem = manifest_problem(path)
        copy = "copy its manifest from the directory where the checkpoint was saved, or "
        raise CheckpointError(
            f"{str(path)!r} cannot be verified: {problem}; {'' if 'of format' in problem else copy}"
            "load the file with its framework and start a new run"
        )
    if found is not None and not flaw:
        return Checkpoint(path=path, entry=found)
    flaw = flaw or "its bytes are not those that were written"
    raise CheckpointError(f"the checkpoint {str(path)!r} is damaged: {flaw}")


def _read_directory(path: Path, share: VerificationShare) -> Checkpoint:
    """Do the same as ``read``: find the entry by the index, and verify the parts of this entry."""
    while True:
        entries = entries_of(path)
        if not entries:
            raise CheckpointError(f"{str(path)!r} cannot be verified: {manifest_problem(path)}")
        present = present_entries(path, entries)
        flaw = find_damage(path, share.of(present[0].parts)) if present else "its index is not one that was written"
        if not flaw:
            return Checkpoint(path=path, entry=present[0])
        if entries_of(path) == entries and present_entries(path, entries) == present:  # otherwise a writer was faster
            raise CheckpointError(f"the checkpoint {str(path)!r} is damaged: {flaw}")


def present_entries(path: Path, entries: Iterable[ManifestEntry]) -> list[ManifestEntry]:
    """Return the entries whose index is in the directory; usually one entry."""
    return [entry for entry in entries if has_index_of(path, entry.parts)]


def remove(path: Location, may_remove: Callable[[Location], bool] = lambda _: True) -> None:
    """Remove a payload, then its manifest, and the other files of the save; a missing file is not an error.

    Args:
        path: The path of the payload.
        may_remove: Returns whether a file that the manifest names is one that may be removed; another run, or another
            program, may have written the manifest.

    Raises:
        OSError: One of the files may not be removed, or cannot be; of the first, nothing is removed.
    """
    files = [file for each in entries_of(path) for file in each.files]
    foreign = sorted({each.name for each in files if each.name and not may_remove(path.with_name(each.name))})
    if foreign:
        raise OSError(f"its file {foreign[0]!r} is not one of the run")
    backend_for(path).remove()
    remove_named(path, files)  # while the manifest names them: after a death, this is called again
    backend_for(manifest_of(path)).remove()
    remove_stored(path, files)


@contextmanager
def local_copy(path: Location, digest: str = "") -> Generator[Path]:
    """Provide the payload at ``path`` as a local file, to load it.

    Raises:
        CheckpointError: It cannot be read, or a downloaded file does not have this digest.
    """
    with ExitStack() as open_files:
        try:
            file = open_files.enter_context(backend_for(path).as_local_file())
        except OSError as error:
            raise CheckpointError(f"the checkpoint {str(path)!r} cannot be read: {error}") from error
        if digest and file != path and digest_of(file) != digest:
            raise CheckpointError(f"{str(path)!r} changed while it was read: another process has written there")
        yield file


def _expected_at(path: Location) -> list[ManifestEntry]:
    """Return the entries of the present content of ``path``; a file that is not a checkpoint gets an entry, too."""
    entries = entries_before_write(path)
    if not entries and isinstance(path, Path) and holds_parts(path):
        parts = parts_in(path)
        return [ManifestEntry(**_measured(parts), epoch=-1, step=-1)] if parts else []
    size = None if entries else backend_for(path).size()
    return entries if size is None else [ManifestEntry(digest=digest_at(path), size=size, epoch=-1, step=-1)]
