"""Ranks resume from the newest checkpoint that all of them can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.engine.parts import parts_for
from trainbus import CheckpointError, SettingsError, UnreadableCheckpoint, decision
from trainbus.checkpoints import Checkpoint
from trainbus.distributed.coordinator import Coordinator
from trainbus.distributed.shared_resume import SharedResume
from trainbus.engine.run_state import RunState
from trainbus.resume.locate import locate
from trainbus.storage.sharded_directory import VerificationShare
from trainbus.testing import LineSubject

from .threads import ThreadRanks, on_all


def save(*names: str) -> None:
    """Save checkpoints, each a step after the one before."""
    for step, name in enumerate(names, start=1):
        parts = parts_for(LineSubject())
        parts.state.step = step
        parts.executor.execute(decision.save(name))


def resumed(ranks: ThreadRanks, source: str, broken: set[str]) -> list[str]:
    """Return the names of the checkpoints that a rank loads until one is readable for all ranks."""
    shared = SharedResume(Coordinator(ranks, RunState()), ranks.rank, ranks.size)
    damaged: list[Path] = []
    loaded: list[str] = []

    def load(checkpoint: Checkpoint) -> None:
        if checkpoint.path.name in broken:
            raise UnreadableCheckpoint("torn")
        loaded.append(checkpoint.path.name)

    def find(without: object) -> Checkpoint | None:
        return locate(source, [], VerificationShare(ranks.rank, ranks.size), without)  # type: ignore[arg-type]

    while (checkpoint := shared.find(find, damaged)) is not None:
        try:
            shared.load(load, checkpoint)
        except UnreadableCheckpoint:
            damaged.append(checkpoint.path)  # type: ignore[arg-type]
        else:
            break
    return loaded


@pytest.mark.parametrize("broken", [{0}, {1}, {0, 1}])
def test_a_checkpoint_that_one_rank_cannot_read_is_skipped_by_all(broken: set[int]) -> None:
    """The newest one that all have read is loaded."""
    save("a.npz", "b.npz")

    def play(ranks: ThreadRanks) -> str:
        return resumed(ranks, ".", {"b.npz"} if ranks.rank in broken else set())[-1]

    assert on_all(2, play) == ["a.npz"] * 2


def test_an_error_of_the_search_is_raised_on_all_ranks() -> None:
    """Rank 0 alone searches."""

    def play(ranks: ThreadRanks) -> str:
        shared = SharedResume(Coordinator(ranks, RunState()), ranks.rank, ranks.size)

        def find(_: object) -> Checkpoint | None:
            assert ranks.rank == 0
            raise SettingsError("no such file")

        with pytest.raises((SettingsError, RuntimeError)) as raised:
            shared.find(find, [])
        return str(raised.value)

    assert on_all(2, play) == ["no such file", "rank 0: SettingsError: no such file"]


def test_no_checkpoint_at_all_is_none_on_every_rank() -> None:
    """Unless some rank could not read one that the others have read: then starting over would lose it."""

    def play(ranks: ThreadRanks) -> str:
        shared = SharedResume(Coordinator(ranks, RunState()), ranks.rank, ranks.size)
        assert shared.find(lambda _: None, []) is None

        def load(_: Checkpoint) -> None:
            if ranks.rank == 1:
                raise UnreadableCheckpoint("torn")

        checkpoint = shared.find(lambda _: locate("m.npz", []), [])
        assert checkpoint is not None
        with pytest.raises(UnreadableCheckpoint, match="rank 1: torn"):
            shared.load(load, checkpoint)
        with pytest.raises(CheckpointError) as raised:
            shared.find(lambda _: None, [])
        return str(raised.value)

    save("m.npz")
    lost = "rank 1: torn; the other ranks have read it, and there is no older one for all of them"
    assert on_all(2, play) == [lost] * 2


def test_another_file_at_the_same_path_is_refused_on_all_ranks() -> None:
    """Ranks that do not share a file system would continue from different states."""
    save("m.npz")
    first = locate("m.npz", [])
    assert first is not None
    other = Checkpoint(path=first.path, entry=first.entry.model_copy(update={"digest": "0" * 64}))

    def play(ranks: ThreadRanks) -> str:
        shared = SharedResume(Coordinator(ranks, RunState()), ranks.rank, ranks.size)
        checkpoint = shared.find(lambda _: other, [])
        assert checkpoint is not None
        with pytest.raises((SettingsError, RuntimeError)) as raised:
            shared.load(lambda _: None, checkpoint)
        return str(raised.value)

    problem = "'m.npz' is not the file that rank 0 sees there; all ranks must see the same files"
    assert on_all(2, play) == [f"rank 1: SettingsError: {problem}", problem]
