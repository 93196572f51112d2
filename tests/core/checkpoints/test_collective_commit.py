"""The laws of checkpoints that several ranks write: all ranks return the same, or all raise."""

from pathlib import Path

import pytest

from tests.core.distributed.threads import ThreadRanks, on_all
from trainbus import CheckpointError
from trainbus.checkpoints import Checkpoint, commit, read
from trainbus.checkpoints.collective_commit import RANK_FILE, commit_collectively
from trainbus.storage.sharded_directory import SHARDS, read_part

PATH = Path("best.parts")


def save(ranks: ThreadRanks, failing: int | None = None) -> Checkpoint | str:
    """Commit one part of each rank; return the checkpoint, or the error as text."""

    def write(staged: Path) -> None:
        if ranks.rank == 0:
            (staged / f"{SHARDS}new").mkdir()
            (staged / "index").write_text("new")
        ranks.broadcast(None)
        if ranks.rank == failing:
            raise OSError(28, "No space left on device")
        (staged / f"{SHARDS}new" / str(ranks.rank)).write_text(f"part {ranks.rank}")

    rank_state = f"state of rank {ranks.rank}" if ranks.rank else ""
    try:
        return commit_collectively(
            ranks, PATH, write, rank_state, epoch=ranks.rank + 1, step=5, run_state={"rank": ranks.rank}
        )
    except CheckpointError as error:
        return str(error)


def test_all_ranks_return_the_checkpoint_of_rank_0() -> None:
    """Every part is there, with the state of each rank but rank 0; run state and parts are returned on rank 0 only."""
    first, *others = on_all(3, save)

    assert isinstance(first, Checkpoint)
    assert first == read(PATH)
    assert (first.epoch, first.entry.run_state) == (1, {"rank": 0})
    bare = first.model_copy(update={"entry": first.entry.model_copy(update={"run_state": {}, "parts": ()})})
    assert others == [bare, bare]
    parts = {part.name.removeprefix(f"{SHARDS}new/"): part for part in first.entry.parts}
    assert set(parts) == {"index", "0", "1", "2", RANK_FILE.format(1), RANK_FILE.format(2)}
    assert read_part(PATH, parts["2"]) == b"part 2"
    assert read_part(PATH, parts[RANK_FILE.format(2)]) == b"state of rank 2"


@pytest.mark.parametrize("failing", [0, 2])
def test_a_failure_of_one_rank_is_raised_on_all_and_changes_nothing(failing: int) -> None:
    """The error names the cause, and the rank if it is another one; the old checkpoint stays."""

    def fill(staged: Path) -> None:
        (staged / f"{SHARDS}old").mkdir()
        (staged / f"{SHARDS}old" / "0").write_text("old")
        (staged / "index").write_text("old")

    before = commit(PATH, fill, directory=True, epoch=0, step=1)
    errors = on_all(3, lambda ranks: save(ranks, failing))

    assert len(set(map(str, errors))) == 1
    assert isinstance(errors[0], str)
    assert "was not written" in errors[0]
    assert ("rank 2: " in errors[0]) == (failing == 2)
    assert "No space left" in errors[0]
    assert read(PATH) == before
    assert sorted(path.name for path in Path().iterdir()) == [PATH.name, f"trainbus.{PATH.name}.json"]
