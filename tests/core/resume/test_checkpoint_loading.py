"""A checkpoint is loaded with the snapshots that it names: all that can be read, and the reasons for the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainbus import UnreadableCheckpoint, decision
from trainbus.checkpoints import Checkpoint, read
from trainbus.checkpoints.snapshots import SnapshotStore
from trainbus.resume.checkpoint_loading import load_with_snapshots
from trainbus.testing import LineSubject

from ..engine.parts import parts_for


def saved() -> Checkpoint:
    """Save a line of slope 3, whose snapshots "one" and "two" have the slopes 1 and 2, and "own" that of the file."""
    parts = parts_for(subject := LineSubject())
    parts.executor.writer.directories = (Path.cwd(),)
    for slope, slot in ((1.0, "one"), (2.0, "two")):
        subject.slope = np.float64(slope)
        parts.executor.execute(decision.keep(slot))
    subject.slope = np.float64(3.0)
    parts.executor.execute(decision.save("m.npz") | decision.keep("own"))
    return read(Path("m.npz"))


def loaded(checkpoint: Checkpoint) -> tuple[LineSubject, SnapshotStore, dict[str, str]]:
    subject, snapshots = LineSubject(), SnapshotStore()
    slots = checkpoint.entry.run_state["slots"]
    lost = load_with_snapshots(checkpoint, slots, subject, snapshots, lambda _: "", verify=True)
    return subject, snapshots, lost


def slopes(snapshots: SnapshotStore) -> dict[str, float]:
    found = {}
    for slot in snapshots:
        (subject := LineSubject()).restore(snapshots[slot])
        found[slot] = float(subject.slope)
    return found


def test_each_snapshot_is_in_its_slot_and_the_checkpoint_in_the_subject() -> None:
    subject, snapshots, lost = loaded(saved())

    assert (subject.slope, slopes(snapshots), lost) == (3.0, {"one": 1.0, "two": 2.0, "own": 3.0}, {})


@pytest.mark.parametrize("damage", ["removed", "shortened", "another content"])
def test_a_snapshot_that_cannot_be_read_is_lost_alone(damage: str) -> None:
    checkpoint = saved()
    path = Path(checkpoint.entry.run_state["slots"]["one"]["file"])
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if damage == "shortened" else b"x")
    subject, snapshots, lost = loaded(checkpoint)

    assert (subject.slope, slopes(snapshots)) == (3.0, {"two": 2.0, "own": 3.0})
    assert list(lost) == ["one"]
    assert snapshots.is_lost("one")


def test_the_random_generators_stay_as_they_are() -> None:
    """A file may hold those of another rank."""
    checkpoint = saved()
    np.random.seed(4)  # noqa: NPY002 - loaders draw from the global one
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    loaded(checkpoint)

    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_if_the_checkpoint_cannot_be_read_nothing_is_changed() -> None:
    checkpoint = saved()
    checkpoint.path.write_bytes(b"damaged")
    subject, snapshots = LineSubject(), SnapshotStore()
    before = subject.slope
    with pytest.raises(UnreadableCheckpoint):
        load_with_snapshots(
            checkpoint, checkpoint.entry.run_state["slots"], subject, snapshots, lambda _: "", verify=True
        )

    assert (subject.slope, list(snapshots)) == (before, [])
