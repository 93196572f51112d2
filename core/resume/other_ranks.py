"""The states of other ranks that a sharded checkpoint stores in files of their own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..checkpoints import Checkpoint
from ..checkpoints.collective_commit import RANK_FILE
from ..storage.sharded_directory import read_part
from .state import CheckpointState, RankState


def with_other_ranks(checkpoint: Checkpoint, state: CheckpointState, rank: int, world_size: int) -> CheckpointState:
    """Return the state with the states of other ranks that this rank needs, if each rank has stored its own state.

    Args:
        checkpoint: The checkpoint.
        state: The state of the run in it.
        rank: The number of this process.
        world_size: The number of processes that train together now.
    """
    parts = {part.name.rpartition("/")[2]: part for part in checkpoint.entry.parts}
    if RANK_FILE.format(1) not in parts:
        return state
    needed: Iterable[int] = [rank] if 0 < rank < state.world_size else []
    metrics = rank == 0 and world_size != state.world_size and state.position.mid_epoch
    if metrics or rank >= state.world_size:  # it continues with the metrics of all ranks, or with what all have shared
        needed = range(1, state.world_size)
    others = [RankState()] * (state.world_size - 1)
    for each in needed:
        part = parts.get(RANK_FILE.format(each))
        if part is not None and isinstance(checkpoint.path, Path):
            others[each - 1] = RankState.model_validate_json(read_part(checkpoint.path, part))
    return state.model_copy(update={"other_ranks": others})
