"""Load a checkpoint into the subject, and the snapshots that it names into memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..capabilities import Restorable, Snapshotable, has
from ..checkpoints import Checkpoint, local_copy
from ..checkpoints.snapshots import SnapshotFile, SnapshotStore, find_snapshot_files
from ..errors import CheckpointError, UnreadableCheckpoint
from ..storage.paths import Location
from .rng_state import preserved_rng


def load_with_snapshots(
    checkpoint: Checkpoint,
    slots: Mapping[str, Any],
    subject: Restorable,
    snapshots: SnapshotStore,
    flaw_of: Callable[[Location], str],
    *,
    verify: bool,
) -> dict[str, str]:
    """Load a checkpoint; the random generators stay as they are.

    Args:
        checkpoint: The checkpoint.
        slots: Its references to snapshots.
        subject: Receives the weights, and each snapshot for a moment.
        snapshots: Keeps the snapshots.
        flaw_of: Returns, in words, why a path is not one of a snapshot of the run, which is then not opened.
        verify: Whether to read directories; one of several processes does so for all.

    Returns:
        A mapping from lost snapshots to the reasons.

    Raises:
        UnreadableCheckpoint: The checkpoint cannot be read; the subject is unchanged.
        CheckpointError: A file is damaged, or belongs to another subject.
    """
    files, lost = find_snapshot_files(checkpoint, slots, flaw_of, verify=verify)
    # a file may hold the generators of rank 0, which are not those of this rank
    with local_copy(checkpoint.state_path, checkpoint.state_digest) as there, preserved_rng(subject):
        if any(files.values()):  # before the snapshots: if the checkpoint cannot be read, nothing is changed
            subject.load(there)
        for slot, file in files.items():
            if file is None or not has(subject, Snapshotable):
                continue
            if flaw := _load(subject, file):
                lost[slot] = flaw
            else:
                snapshots.keep(slot, subject.snapshot(), file)
        subject.load(there)
    for slot in lost:
        snapshots.mark_lost(slot)
    for slot, file in files.items():
        if file is None and has(subject, Snapshotable):
            snapshots.keep(slot, subject.snapshot())
    return lost


def _load(subject: Restorable, file: SnapshotFile) -> str:
    """Load a snapshot into the subject; return why it cannot be read, or an empty text."""
    try:
        with local_copy(file.path, file.digest) as there:
            subject.load(there)
    except UnreadableCheckpoint as error:
        if isinstance(file.path, Path) and file.path.is_dir():  # other ranks have read their parts of it
            raise CheckpointError(str(error)) from error
        return str(error)
    return ""
