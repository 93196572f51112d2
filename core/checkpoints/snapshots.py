"""Slots: states of the subject that decisions keep, in memory, and on the disk for whoever resumes the run."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..capabilities import Ranks
from ..errors import CheckpointError
from ..storage.atomic_file import RESERVED, suffix_of
from ..storage.backend import backend_for, digest_at
from ..storage.paths import Location, location, relative_to, resolve_relative
from ..storage.sharded_directory import digest_of_parts, publish_parts, stage_parts
from .collective_commit import Write, write_collectively
from .discovery import Checkpoint, entries_of, payloads_in

__all__ = ["SnapshotFile", "SnapshotStore", "snapshot_files"]

PREFIX = f"{RESERVED}slot-"
"""How the name of a slot's file begins."""


class SnapshotFile(NamedTuple):
    """Where the state of a slot lies on the disk."""

    path: Location
    digest: str


class SnapshotStore:
    """What decisions have kept, by name.

    A checkpoint's memory names the file of each slot, so that whoever resumes from it can restore what was kept long
    before it. What the same decision keeps and saves lies in that checkpoint itself; the slot's file is then a second
    name of it, which costs nothing and stays when the checkpoint is replaced.
    """

    def __init__(self) -> None:
        self._kept: dict[str, object] = {}
        self._files: dict[str, SnapshotFile] = {}
        self._lost: set[str] = set()
        """Those that could not be written: they are in memory only, or were in that of a run that is gone."""

    def __contains__(self, slot: object) -> bool:
        return slot in self._kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __getitem__(self, slot: str) -> object:
        return self._kept[slot]

    def keep(self, slot: str, snapshot: object, file: SnapshotFile | None = None) -> None:
        """Remember a snapshot, and where it lies on the disk, if it does."""
        self._kept[slot] = snapshot
        self._files.pop(slot, None)
        self._lost.discard(slot)
        if file is not None:
            self._files[slot] = file

    @property
    def fresh(self) -> list[str]:
        """The slots that lie in no file yet."""
        return [slot for slot in self._kept if slot not in self._files and slot not in self._lost]

    def give_up(self) -> None:
        """What lies in no file yet could not be written: whoever resumes from a checkpoint shall not look for it."""
        self._lost.update(self.fresh)

    def lose(self, slot: str) -> None:
        """What was kept is gone with the run that this one goes on from."""
        self._lost.add(slot)

    def lost(self, slot: str) -> bool:
        """Whether what was kept is gone."""
        return slot in self._lost and slot not in self._kept

    def drop(self, slot: str) -> bool:
        """Forget a slot; whether there was one."""
        self._files.pop(slot, None)
        there = slot in self._kept or slot in self._lost
        self._kept.pop(slot, None)
        self._lost.discard(slot)
        return there

    def memory(self, path: Location) -> dict[str, Any]:
        """What a checkpoint at `path` remembers: slot to file and digest; no file for what lies in it, or is lost."""
        remembered: dict[str, Any] = {slot: {"file": None, "digest": "", "lost": True} for slot in self._lost}
        for slot in self._kept.keys() - self._lost:
            file = self._files.get(slot)
            there = None if file is None else relative_to(file.path, path.parent)
            remembered[slot] = {"file": there, "digest": "" if file is None else file.digest}
        return remembered

    def lie_in(self, checkpoint: Checkpoint, *, linked: bool = True) -> None:
        """Give what was kept by the decision that saved this checkpoint a file: a second name of the checkpoint's.

        Args:
            checkpoint: what was saved.
            linked: whether this process makes the file; otherwise another rank does, and remembers its name.
        """
        for slot in self.fresh:
            name = _name(suffix_of(checkpoint.path))
            if linked:
                backend_for(checkpoint.path).hard_link(name)
            self._files[slot] = SnapshotFile(checkpoint.path.with_name(name), checkpoint.content.digest)

    def write(
        self, directory: Location, suffix: str, save: Write, *, in_parts: bool = False, sharing: Ranks | None = None
    ) -> None:
        """Write what was kept, and lies in no file yet, by `save`, which writes the present state.

        Args:
            directory: where to.
            suffix: of the file.
            save: writes to the path that it is given.
            in_parts: whether it fills a directory, laid out as `parts` says.
            sharing: the ranks that call this together.
        """
        path = directory / _name(suffix)

        def put(save: Write) -> list[str]:
            if in_parts and isinstance(path, Path):
                staged, parts = stage_parts(path, save)
                digest = digest_of_parts(parts)
                publish_parts(staged, path, parts)
            else:
                staged, digest = backend_for(path).stage(save)
                backend_for(path).publish(staged)
            return [str(path), digest]

        place, digest = put(save) if sharing is None else write_collectively(sharing, save, put)
        self._files.update((slot, SnapshotFile(location(place), digest)) for slot in self.fresh)

    def prune(self, directories: Iterable[Location], others: Iterable[Location] = ()) -> None:
        """Remove files of slots in `directories` that no checkpoint there, nor any at `others`, remembers."""
        directories = list(directories)
        listed = [(directory, name) for directory in directories for name in backend_for(directory).list_names()]
        files = {(directory / name).resolve() for directory, name in listed if name.startswith(PREFIX)}
        unused = files - {file.path.resolve() for file in self._files.values()}
        if not unused:
            return
        for payload in {*others, *(path for directory in directories for path in payloads_in(directory))}:
            for content in entries_of(payload):
                references = content.memory.get("slots", {}).values()
                unused -= {
                    resolve_relative(payload.parent, each["file"]).resolve() for each in references if each["file"]
                }
        for path in unused:
            backend_for(path).remove()


def snapshot_files(
    checkpoint: Checkpoint, slots: Mapping[str, Any], *, verify: bool = True
) -> tuple[dict[str, SnapshotFile | None], dict[str, str]]:
    """Slot to its file, verified, by what the checkpoint remembers; None for what lies in the checkpoint itself.

    What is lost comes second, with the reason. Without `verify` a directory is not read: of several processes one does
    so for all.

    Raises:
        CheckpointError: a file cannot be read, or a directory is not the one that was written.
    """
    files, lost = dict[str, SnapshotFile | None](), dict[str, str]()
    for slot, reference in slots.items():
        flaw = "it could not be written before the run ended" if reference.get("lost") else ""
        file = None
        if not flaw and reference["file"] is not None:
            file = SnapshotFile(resolve_relative(checkpoint.path.parent, reference["file"]), reference["digest"])
            flaw = _flaw(file, verify=verify)
        if flaw:
            lost[slot] = flaw
        else:
            files[slot] = file
    return files, lost


def _flaw(file: SnapshotFile, *, verify: bool) -> str:
    """In words, what is wrong with the file of a slot; empty for nothing."""
    path = file.path
    directory = isinstance(path, Path) and path.is_dir()
    if directory and not verify:
        return ""
    try:
        intact = digest_at(path) == file.digest
    except FileNotFoundError:
        return f"{str(path)!r} is missing; it moves along with the checkpoint"
    except OSError as error:
        raise CheckpointError(
            f"{str(path)!r}, where a checkpoint has what was kept, cannot be read: {error}"
        ) from error
    flaw = "" if intact else f"{str(path)!r} is damaged: its bytes are not those that were written"
    if flaw and directory:  # which only one rank has read, so that the others would take it for whole
        raise CheckpointError(flaw)
    return flaw


def _name(suffix: str) -> str:
    return f"{PREFIX}{secrets.token_hex(8)}{suffix}"  # one that no other checkpoint remembers
