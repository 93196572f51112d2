"""Tests of the states of other ranks that a sharded checkpoint stores."""

import hashlib
from pathlib import Path

import pytest

from trainbus.checkpoints import Checkpoint
from trainbus.checkpoints.collective_commit import RANK_FILE
from trainbus.checkpoints.manifest import ManifestEntry
from trainbus.resume.other_ranks import with_other_ranks
from trainbus.resume.state import CheckpointState, Position, RankState
from trainbus.storage.sharded_directory import Part


def sharded(path: Path, size: int) -> Checkpoint:
    """Return a checkpoint whose ranks above 0 have stored a mark of their own."""
    parts = list[Part]()
    for rank in range(1, size):
        name = f"shards-0123456789abcdef/{RANK_FILE.format(rank)}"
        content = RankState(subject=f"rank {rank}").model_dump_json().encode()
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
        parts.append(Part(name=name, size=len(content), digest=hashlib.sha256(content).hexdigest()))
    return Checkpoint(path=path, entry=ManifestEntry(digest="", size=0, epoch=0, step=0, parts=parts))


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("now", [1, 2, 3, 7])
@pytest.mark.parametrize("mid_epoch", [True, False])
def test_a_rank_reads_what_it_needs(size: int, now: int, *, mid_epoch: bool, tmp_path: Path) -> None:
    """Its own state; all of them if it is new, or if rank 0 continues with the metrics of another number of ranks."""
    checkpoint = sharded(tmp_path, size)
    position = Position(epochs=1, batches=2, mid_epoch=mid_epoch)
    state = CheckpointState(world_size=size, position=position, rank_state=RankState())
    for rank in range(now):
        read = [each.subject for each in with_other_ranks(checkpoint, state, rank, now).other_ranks]
        every = [f"rank {each}" for each in range(1, size)]
        if rank >= size or (rank == 0 and now != size and mid_epoch):
            assert read == every
        else:
            assert read == [each if each == f"rank {rank}" else None for each in every]


def test_other_checkpoints_hold_all_states_themselves(tmp_path: Path) -> None:
    state = CheckpointState(world_size=3, position=Position(epochs=1), rank_state=RankState())

    assert with_other_ranks(sharded(tmp_path, 1), state, 1, 3) is state
