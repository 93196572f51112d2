"""The files that are saved together with a payload: its training state, and other models, each in a file of its own.

Each is written under a random name, which only the manifest of the payload names. So all are complete before the
manifest that names them is written, and the rename that commits the payload commits all of them. After it, the files
with a name of their own get this name. A death in between loses nothing: such a file counts under either name, and the
next run that locks the directory renames it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ...storage.atomic_file import fill
from ...storage.backend import backend_for, digest_at
from ...storage.paths import Location
from ..manifest import BESIDE, FileBeside, ManifestEntry, entries_of, manifest_of, payload_names


class BesideWriter(NamedTuple):
    """Writes a file beside a payload."""

    write: Callable[[Path], object]
    """Writes it to the path that it is called with; it may return the digest of what it wrote."""
    suffix: str
    """The suffix of the file."""
    name: str = ""
    """The name that it gets after the payload is committed; empty for a training state."""

    def write_beside(self, payload: Location) -> FileBeside:
        """Write a new file beside a payload, and return how a manifest names it.

        Raises:
            OSError: It could not be written, or no file can have its name.
        """
        path = payload.with_name(f"{BESIDE}{secrets.token_hex(8)}{self.suffix}")
        staged = backend_for(payload.with_name(self.name) if self.name else path).new_file()
        digest = fill(staged, self.write)
        size = staged.stat().st_size
        backend_for(path).publish(staged)
        return FileBeside(stored=path.name, size=size, digest=digest, name=self.name)


def flaw_beside(payload: Location, entry: ManifestEntry, *, verify: bool) -> str:
    """Return what is wrong with the files beside a payload; empty if nothing is, or if it has none.

    Args:
        payload: The path of the payload.
        entry: Its entry.
        verify: Whether to read every byte. Otherwise a file of the right size counts as intact.

    Raises:
        OSError: One cannot be read.
    """
    return next(filter(None, (_flaw(payload, each, verify=verify) for each in entry.files)), "")


def _flaw(payload: Location, file: FileBeside, *, verify: bool) -> str:
    flaw = ""
    for name in filter(None, (file.name, file.stored)):
        place = payload.with_name(name)
        size = backend_for(place).size()
        if size == file.size and (not verify or digest_at(place) == file.digest):
            return ""
        flaw = flaw or ("changed" if size is not None else "")
    what = f"its file {file.name!r}" if file.name else f"its training state {file.stored!r}"
    if not flaw:
        return f"{what} is missing; move it together with {payload.name!r}"
    return f"the bytes of {what} are not those that were written"


def give_names(payload: Location, files: Iterable[FileBeside]) -> None:
    """Give the files of a payload that was committed their names; what other save had them there is none any more.

    Raises:
        OSError: A file cannot have its name; it stays under the name that it was written with.
    """
    for each in files:
        if each.name:
            place = payload.with_name(each.name)
            if replaced := entries_of(place):
                backend_for(manifest_of(place)).remove()
                remove_stored(place, (file for entry in replaced for file in entry.files))
            backend_for(payload.with_name(each.stored)).rename(each.name)


def remove_stored(payload: Location, files: Iterable[FileBeside]) -> None:
    """Remove files beside a payload that have the names with which they were written; others stay."""
    for each in files:
        backend_for(payload.with_name(each.stored)).remove()


def remove_named(payload: Location, files: Iterable[FileBeside]) -> None:
    """Remove files beside a payload that have got their names; a missing file is not an error."""
    for name in dict.fromkeys(each.name for each in files if each.name):
        backend_for(payload.with_name(name)).remove()


def tidy_up(directory: Location, may_replace: Callable[[Location], bool]) -> None:
    """Finish what killed writers have left in a directory, whose lock the caller holds.

    Files of a committed payload get their names; those that no manifest names are removed.

    Args:
        directory: The directory.
        may_replace: Returns whether a file of a save may get the name at a path. Others keep their first name.
    """
    names = list(backend_for(directory).list_names())
    found = {name for name in names if name.startswith(BESIDE)}
    for name in payload_names(names) if found else ():
        payload = directory / name
        files, committed = _named_by(payload)
        found -= {each.stored for each in files}
        unnamed = [each for each in files if each.name and each.stored in names]
        if committed and unnamed and all(may_replace(payload.with_name(each.name)) for each in unnamed):
            with suppress(OSError):  # they are usable as they are
                give_names(payload, unnamed)
    for name in found:
        backend_for(directory / name).remove()


def _named_by(payload: Location) -> tuple[list[FileBeside], bool]:
    """Return the files of the present content of a payload, and whether it was committed.

    If that is not known, return those of all contents that a death has left in its manifest.
    """
    entries = entries_of(payload)
    size = backend_for(payload).size() if any(each.files for each in entries) else None
    present = [each for each in entries if each.size == size]
    if len(entries) > 1 and present:
        digest = digest_at(payload)
        present = [each for each in present if each.digest == digest]
    return [file for each in present or entries for file in each.files], bool(present)


def payload_with(path: Location) -> Location:
    """Return the payload of the save that a file belongs to; another path as it is.

    Raises:
        OSError: The directory cannot be searched.
    """
    if backend_for(path).size() is None or entries_of(path):
        return path
    payloads = (path.with_name(name) for name in payload_names(backend_for(path.parent).list_names()))
    return next((each for each in payloads if path.name in names_beside(entries_of(each))), path)


def names_beside(entries: Iterable[ManifestEntry]) -> Collection[str]:
    """Return the names that the files beside a payload have, or get.

    >>> names_beside([])
    set()
    """
    return {file.name for entry in entries for file in entry.files if file.name}


def paths_beside(found: Iterable[tuple[Location, ManifestEntry | None]]) -> Iterator[Location]:
    """Yield the paths of the files that belong to the saves of other payloads."""
    for payload, entry in found:
        yield from (payload.with_name(name) for name in names_beside([] if entry is None else [entry]))
