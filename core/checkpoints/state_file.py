"""The file beside a payload that holds the training state, if the payload holds content of the user's own.

It has a random name, which only the manifest of its payload names. So it is complete before the manifest that names it
is written, and the rename that commits the payload commits both.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from ..storage.atomic_file import fill
from ..storage.backend import backend_for, digest_at
from ..storage.paths import Location
from .manifest import STATE, ManifestEntry, StateFile, entries_of, payload_names


class StateWriter(NamedTuple):
    """Writes a training state."""

    write: Callable[[Path], object]
    """Writes it to the path that it is called with; it may return the digest of what it wrote."""
    suffix: str
    """The suffix of the file."""

    def write_beside(self, payload: Location) -> StateFile:
        """Write the state to a new file beside a payload, and return how a manifest names it.

        Raises:
            OSError: It could not be written.
        """
        path = payload.with_name(f"{STATE}{secrets.token_hex(8)}{self.suffix}")
        backend = backend_for(path)
        staged = backend.new_file()
        digest = fill(staged, self.write)
        size = staged.stat().st_size
        backend.publish(staged)
        return StateFile(name=path.name, size=size, digest=digest)


def state_flaw(payload: Location, entry: ManifestEntry, *, verify: bool) -> str:
    """Return what is wrong with the training state beside a payload; empty if nothing is, or if it has none.

    Args:
        payload: The path of the payload.
        entry: Its entry.
        verify: Whether to read every byte. Otherwise a file of the right size counts as intact.

    Raises:
        OSError: It cannot be read.
    """
    if entry.state_file is None:
        return ""
    path, file = payload.with_name(entry.state_file.name), entry.state_file
    size = backend_for(path).size()
    if size is None:
        return f"its training state {file.name!r} is missing; move it together with the file"
    if size != file.size or (verify and digest_at(path) != file.digest):
        return f"the bytes of its training state {file.name!r} are not those that were written"
    return ""


def remove_states(payload: Location, files: Iterable[StateFile | None]) -> None:
    """Remove training states beside a payload; a missing file is not an error."""
    for each in files:
        if each is not None:
            backend_for(payload.with_name(each.name)).remove()


def remove_unnamed_states(directory: Location) -> None:
    """Remove the training states that killed writers have left in a directory, whose lock the caller holds."""
    names = list(backend_for(directory).list_names())
    found = {name for name in names if name.startswith(STATE)}
    for payload in payload_names(names) if found else ():
        found -= {each.name for each in _named_by(directory / payload)}
    for name in found:
        backend_for(directory / name).remove()


def _named_by(payload: Location) -> list[StateFile]:
    """Return the training states of a payload: that of its content if a death has left entries of two contents."""
    entries = [each for each in entries_of(payload) if each.state_file is not None]
    if len(entries) > 1 and backend_for(payload).size() is not None:
        digest = digest_at(payload)
        entries = [each for each in entries if each.digest == digest] or entries
    return [each.state_file for each in entries if each.state_file is not None]
