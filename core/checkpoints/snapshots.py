"""Named snapshots of the subject: in memory, and in files from which a resumed run restores them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter, ValidationError

from ..capabilities import Ranks
from ..errors import CheckpointError
from ..storage.atomic_file import RESERVED, copy, fill, suffix_of
from ..storage.backend import backend_for, digest_at, existing
from ..storage.paths import Location, StartDirectory, location, relative_to, resolve_relative
from ..storage.sharded_directory import digest_of_parts, link_parts, publish_parts, stage_parts
from .collective_commit import Write, write_collectively
from .commit import Checkpoint
from .discovery import payloads_below
from .manifest import entries_before_write, manifest_of

PREFIX = f"{RESERVED}slot-"
"""Prefix of the names of snapshot files."""


class SnapshotFile(NamedTuple):
    """The file of a snapshot."""

    path: Location
    digest: str


class SnapshotReference(BaseModel):
    """What a checkpoint says of one slot."""

    file: str | None = None
    """The path of its file, relative to the checkpoint's directory; None if the checkpoint holds the snapshot."""
    digest: str = ""
    lost: bool = False
    """Whether the snapshot could not be written."""


_REFERENCES: TypeAdapter[dict[str, SnapshotReference]] = TypeAdapter(dict[str, SnapshotReference])


class SnapshotStore:
    """The snapshots of a run, each in a named slot.

    A checkpoint's run state names the file of each slot, so that a run that resumes from it can restore earlier
    snapshots. If one decision both keeps and saves, the checkpoint itself holds the snapshot. The slot's file is then a
    hard link to the checkpoint, which uses no space and remains if the checkpoint is replaced.
    """

    def __init__(self) -> None:
        self._kept: dict[str, object] = {}
        self._files: dict[str, SnapshotFile] = {}
        self._lost: set[str] = set()
        """Slots that could not be written: they are only in memory, or were only in the memory of an earlier run."""
        self.begun_elsewhere = False
        """Whether the run was resumed, so that it may ask for snapshots that the process before it did not keep."""
        self._present: dict[str, Location] = {}
        """The name of each snapshot file that this process has made or may remove, to the file; names are random."""
        self._checkpoints: dict[Location, set[str] | None] = {}
        """Each checkpoint that may name one of these, to the names in its manifest; None if it was not read yet."""

    def __contains__(self, slot: object) -> bool:
        return slot in self._kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __getitem__(self, slot: str) -> object:
        return self._kept[slot]

    def keep(self, slot: str, snapshot: object, file: SnapshotFile | None = None) -> None:
        """Keep a snapshot in a slot, with its file if it has one."""
        self._kept[slot] = snapshot
        self._files.pop(slot, None)
        self._lost.discard(slot)
        if file is not None:
            self._files[slot] = file._replace(path=StartDirectory().fixed(file.path))

    @property
    def unsaved(self) -> list[str]:
        """The slots that have no file yet."""
        return [slot for slot in self._kept if slot not in self._files and slot not in self._lost]

    def mark_unsaved_lost(self) -> None:
        """Record that the unsaved slots could not be written, so that later checkpoints name no file for them."""
        self._lost.update(self.unsaved)

    def mark_missing_lost(self) -> list[str]:
        """Record that the slots whose file was removed have none, and return them; they stay in memory."""
        found = [slot for slot, file in list(self._files.items()) if not existing([file.path])]
        for slot in found:
            self._files.pop(slot, None)
        self._lost.update(found)
        return found

    def mark_lost(self, slot: str) -> None:
        """Record that a slot's snapshot was lost with the run from which this one resumed."""
        self._lost.add(slot)

    def is_lost(self, slot: str) -> bool:
        """Return whether a slot's snapshot can no longer be restored."""
        return slot in self._lost and slot not in self._kept

    def lost(self) -> list[str]:
        """Return the slots whose snapshots can no longer be restored."""
        return sorted(self._lost - self._kept.keys())

    def drop(self, slot: str) -> bool:
        """Delete a slot and return whether it existed."""
        self._files.pop(slot, None)
        existed = slot in self._kept or slot in self._lost
        self._kept.pop(slot, None)
        self._lost.discard(slot)
        return existed

    def references(self, path: Location) -> dict[str, Any]:
        """Return the slots as a checkpoint at ``path`` names them: slot to the file's relative path and digest.

        The file is None if the checkpoint itself holds the snapshot, or if the snapshot is lost.
        """
        found: dict[str, Any] = {slot: {"file": None, "digest": "", "lost": True} for slot in self._lost}
        for slot in self._kept.keys() - self._lost:
            file = self._files.get(slot)
            # links followed on both sides, since the file may be named by a path without them
            name = None if file is None else relative_to(file.path.resolve(), path.parent.resolve())
            found[slot] = {"file": name, "digest": "" if file is None else file.digest}
        return found

    def link_to(self, checkpoint: Checkpoint, *, directory: Location | None = None, linked: bool = True) -> None:
        """Give the unsaved slots a file: a second name of the checkpoint that the same decision saved.

        Args:
            checkpoint: The checkpoint that holds the same state.
            directory: The directory of the file; None for that of the checkpoint.
            linked: Whether this process creates the file. Otherwise another rank does, and records its name.
        """
        file = SnapshotFile(checkpoint.state_path, checkpoint.state_digest)
        for slot in self.unsaved:
            self._give_name(slot, file, directory or checkpoint.path.parent, linked=linked)

    def bring_into(self, directory: Location, *, unless: Callable[[Location], bool], linked: bool = True) -> None:
        """Give slots a file of this run, if theirs is in the directory of another.

        Args:
            directory: The directory of the new files.
            unless: Returns whether a file is one of this run.
            linked: As in ``link_to``.
        """
        for slot, file in list(self._files.items()):
            if not unless(file.path):
                self._give_name(slot, file, directory, linked=linked)

    def _give_name(self, slot: str, file: SnapshotFile, directory: Location, *, linked: bool) -> None:
        self._files[slot] = made = _second_name(file, directory, linked=linked)
        if linked:
            self._present[made.path.name] = made.path

    def write(
        self, directory: Location, suffix: str, save: Write, *, in_parts: bool = False, ranks: Ranks | None = None
    ) -> None:
        """Write the current state to one file for all unsaved slots.

        Args:
            directory: The directory of the file.
            suffix: The suffix of the file.
            save: Writes the current state to the path that it is called with.
            in_parts: Whether ``save`` fills a directory (see ``trainbus.storage.sharded_directory``).
            ranks: The ranks that call this together; None if this process writes alone.
        """
        path = directory / _new_name(suffix)

        def publish(save: Write) -> list[str]:
            if in_parts and isinstance(path, Path):
                staged, parts = stage_parts(path, save)
                digest = digest_of_parts(parts)
                publish_parts(staged, path, parts)
            else:
                backend = backend_for(path)
                staged = backend.new_file()
                digest = fill(staged, save)
                backend.publish(staged)
            return [str(path), digest]

        source, digest = publish(save) if ranks is None else write_collectively(ranks, save, publish)
        made = SnapshotFile(location(source), digest)
        self._files.update(dict.fromkeys(self.unsaved, made))
        self._present[made.path.name] = made.path

    def search(self, directories: Iterable[Location], below: Iterable[Location] = ()) -> None:
        """Find the files of earlier runs, and all checkpoints that may name them; then ``prune`` may remove some.

        Args:
            directories: The directories of the run.
            below: Directories below these in which it saves, too.

        Raises:
            OSError: Not all of these checkpoints can be found, so the files stay.
        """
        directories = list(directories)
        found: dict[str, Location] = {}
        for each in (*directories, *below):
            found |= {name: each / name for name in backend_for(each).list_names() if name.startswith(PREFIX)}
        if found:
            payloads = (each for directory in directories for each in payloads_below(directory))
            self._checkpoints.update({StartDirectory().identity(each): None for each in payloads})
            self._present.update(found)

    def note_change(self, checkpoint: Location) -> None:
        """Note that the run has saved or removed a checkpoint, or has tried to; only the run itself does so."""
        self._checkpoints[StartDirectory().identity(checkpoint)] = None

    def prune(self, others: Iterable[Location] = (), *, over: bool = False) -> None:
        """Remove the snapshot files that no checkpoint names: those that this run has made, or has found.

        Args:
            others: Further checkpoints that may name some.
            over: Whether the run has ended, so that no later checkpoint can name the file of a slot.
        """
        for each in others:
            self.note_change(each)
        kept = set[str]() if over else {file.path.name for file in self._files.values()}
        unused = {name: file for name, file in self._present.items() if name not in kept}
        if over and unused:  # others may have removed some checkpoints
            present = set(existing(map(manifest_of, self._checkpoints)))
            self._checkpoints = {each: None for each in self._checkpoints if manifest_of(each) in present}
        for checkpoint, names in list(self._checkpoints.items()) if unused else ():
            named = _names_in(checkpoint) if names is None else names
            self._checkpoints[checkpoint] = named
            if not named:  # until it is saved again
                del self._checkpoints[checkpoint]
            for file in named & unused.keys():
                del unused[file]
        for name, path in unused.items():
            backend_for(path).remove()
            del self._present[name]


def find_snapshot_files(
    checkpoint: Checkpoint,
    slots: Mapping[str, Any],
    flaw_of: Callable[[Location], str] = lambda _: "",
    *,
    verify: bool = True,
) -> tuple[dict[str, SnapshotFile | None], dict[str, str]]:
    """Verify the snapshot files that a checkpoint names.

    Args:
        checkpoint: The checkpoint from which a run resumes.
        slots: Its references to snapshots, as ``SnapshotStore.references`` returned them.
        flaw_of: Returns, in words, why a path is not one of a snapshot of the run, which is then not opened.
        verify: Whether to read directories; one of several processes does so for all.

    Returns:
        A mapping from slots to files (None if the checkpoint itself holds the snapshot), and one from lost slots to the
        reasons.

    Raises:
        CheckpointError: A file cannot be read, or a directory is damaged.
    """
    files, lost = dict[str, SnapshotFile | None](), dict[str, str]()
    known = references_in(slots)
    for slot in slots:
        reference = known.get(slot, SnapshotReference(lost=True))
        flaw = "it could not be written before the run ended" if reference.lost else ""
        file = None
        if not flaw and reference.file is not None:
            parent = checkpoint.path.parent  # its links matter only to a path that leads out of it
            parent = parent.resolve() if "/" in reference.file else parent
            file = SnapshotFile(resolve_relative(parent, reference.file), reference.digest)
            flaw = flaw_of(file.path)
            flaw = f"{str(file.path)!r} is not opened: {flaw}" if flaw else _find_flaw(file, verify=verify)
        if flaw:
            lost[slot] = flaw
        else:
            files[slot] = file
    return files, lost


def references_in(slots: Any) -> dict[str, SnapshotReference]:
    """Return the references to snapshots in the run state of a checkpoint; none if they are damaged.

    >>> references_in({"best": {"file": "a.npz", "digest": "0"}})["best"].file, references_in({"best": 1})
    ('a.npz', {})
    """
    try:
        return _REFERENCES.validate_python(slots or {})
    except ValidationError:
        return {}


def _names_in(payload: Location) -> set[str]:
    """Return the names of the snapshot files in a checkpoint's manifest."""
    found = (references_in(entry.run_state.get("slots")) for entry in entries_before_write(payload))
    paths = (each.file for references in found for each in references.values() if each.file)
    return {resolve_relative(payload.parent, path).name for path in paths}


def _second_name(file: SnapshotFile, directory: Location, *, linked: bool) -> SnapshotFile:
    """Give the content of a file a new name in a directory; without ``linked``, only choose the name."""
    path = directory / _new_name(suffix_of(file.path))
    if linked and file.path.parent == directory:
        backend_for(file.path).hard_link(path.name)
    elif linked and isinstance(path, Path) and isinstance(file.path, Path) and file.path.is_dir():
        link_parts(file.path, path)
    elif linked:
        target = backend_for(path)
        with backend_for(file.path).as_local_file() as source:
            staged = target.new_file()
            fill(staged, partial(copy, source))
            target.publish(staged)
    return file._replace(path=StartDirectory().fixed(path))  # a loop may change its working directory


def _find_flaw(file: SnapshotFile, *, verify: bool) -> str:
    """Describe the damage of a snapshot file; empty if it is intact."""
    path = file.path
    directory = isinstance(path, Path) and path.is_dir()
    if directory and not verify:
        return ""
    try:
        intact = digest_at(path) == file.digest
    except FileNotFoundError:
        return f"{str(path)!r} is missing; move it together with the checkpoint"
    except OSError as error:
        raise CheckpointError(f"the snapshot {str(path)!r} of a checkpoint cannot be read: {error}") from error
    flaw = "" if intact else f"{str(path)!r} is damaged: its bytes are not those that were written"
    if flaw and directory:  # only this rank has read it, so the others would continue and load it
        raise CheckpointError(flaw)
    return flaw


def _new_name(suffix: str) -> str:
    return f"{PREFIX}{secrets.token_hex(8)}{suffix}"  # random: no other checkpoint names it
