"""A checkpoint that one rank cannot read is skipped by all ranks."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainbus import CheckpointError, Run, UnreadableCheckpoint
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject

from ..core.distributed.threads import LIMIT, ThreadRanks, on_all


class Ranks(ThreadRanks):
    """Ranks that may leave one after the other."""

    def close(self) -> None:
        pass


class Line(LineSubject):
    """A line that several ranks train, some of which cannot read some files."""

    def __init__(self, ranks: ThreadRanks, unreadable: Callable[[int, str], bool]) -> None:
        super().__init__()
        self.among, self.unreadable = ranks, unreadable

    def ranks(self) -> ThreadRanks:
        return self.among

    def load(self, path: Path) -> None:
        if self.unreadable(self.among.rank, path.name):
            raise UnreadableCheckpoint(f"{path.name} cannot be read")
        super().load(path)


def saved() -> None:
    line = LineSubject()
    with Run(line, ModelCheckpoint("runs/m-{epoch}"), verbose=0) as run:
        for epoch in run.epochs(3):
            line.slope += epoch + 1
            run.log(loss=0.0)


def resumed(unreadable: Callable[[int, str], bool]) -> list[tuple[str, float]]:
    """Return for each rank the checkpoint that it resumed from, and the slope."""
    saved()
    together = threading.Barrier(2, timeout=LIMIT)

    def play(ranks: ThreadRanks) -> tuple[str, float]:
        line = Line(Ranks(ranks.meeting, ranks.rank), unreadable)
        run: Any = Run(line, ModelCheckpoint("runs/m-{epoch}"), resume="auto", verbose=0, signals=())
        try:
            with run:
                found = "" if run.resumed is None else run.resumed.path.name
            return found, float(line.slope)
        except CheckpointError as error:
            return f"CheckpointError: {error}", float(line.slope)
        finally:
            together.wait()

    return on_all(2, play)


@pytest.mark.parametrize("broken", [{0}, {1}, {0, 1}])
def test_a_checkpoint_that_some_ranks_cannot_read_is_skipped_by_all(broken: set[int]) -> None:
    """All take the one before it."""
    found = resumed(lambda rank, name: rank in broken and name == "m-3.npz")
    assert found == [("m-2.npz", 3.0)] * 2


def test_where_some_have_read_what_others_cannot_and_nothing_is_left_all_refuse() -> None:
    """Otherwise one rank would continue from a checkpoint, and the other start from the beginning."""
    found = resumed(lambda rank, _: rank == 1)
    assert all("other ranks have read it" in said for said, _ in found)


def test_if_no_rank_can_read_any_checkpoint_all_start_from_the_beginning() -> None:
    """As they were."""
    assert resumed(lambda *_: True) == [("", 0.0)] * 2
