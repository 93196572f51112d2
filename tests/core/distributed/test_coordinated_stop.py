"""Ranks that are asked to leave do so after the same batch, wherever they were, and none goes beyond."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainbus.distributed import coordinated_stop as module
from trainbus.distributed.coordinated_stop import CoordinatedStop
from trainbus.errors import RankError

from .threads import Meeting, ThreadRanks


class Loop:
    """A loop over batches of one rank, which does not begin a batch that its neighbours are two behind of."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.done = 0
        self.heard: dict[str, str] = {}
        self.departure = CoordinatedStop(ThreadRanks(meeting, rank), lambda: [0, 1, self.done], self.heard.update)

    def ends(self) -> bool:
        """One batch; whether the loop ends after it."""
        self.done += 1
        return self.departure.reached() if self.heard else False


@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.data())
@settings(max_examples=10)
def test_all_leave_after_the_batch_that_the_furthest_has_begun(ahead: list[int], data: st.DataObject) -> None:
    """The batches that they have done when they look, and the order in which they look, are arbitrary."""
    meeting = Meeting(len(ahead))
    loops = [Loop(meeting, rank) for rank in range(len(ahead))]
    for loop, done in zip(loops, ahead, strict=True):
        loop.done = done
    loops[data.draw(st.integers(0, len(ahead) - 1))].departure.ask({"request": "SIGTERM"})
    order = data.draw(st.permutations(range(len(ahead))))
    for rank in [*order, *order, *order, 0, *order]:  # each looks several times, as its thread would
        loops[rank].departure.look()

    ended = []
    for loop in loops:
        assert loop.heard == {"request": "SIGTERM"}
        while not loop.ends():
            pass
        ended.append(loop.done)
    assert ended == [max(ahead) + 1] * len(ahead)


def test_a_rank_that_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for it is let go by an error."""
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    loop = Loop(Meeting(3), 0)
    loop.departure.ask({"stop": "enough"})
    loop.departure.look()
    loop.departure.look()

    with pytest.raises(RankError, match="rank 1, 2 does not say where it stands"):
        loop.departure.reached()


def test_after_a_settled_request_ranks_may_be_asked_again() -> None:
    """By a note of its own."""
    loop = Loop(Meeting(1), 0)
    for reason in ("one", "two"):
        loop.departure.ask({"stop": reason})
        loop.departure.look()
        assert not loop.departure.idle
        loop.departure.settle()
        assert loop.departure.idle
        assert loop.heard == {"stop": reason}


def test_the_watching_thread_ends_with_the_run() -> None:
    """It is joined, since the end of a process must not meet it inside of a store."""
    loop = Loop(Meeting(1), 0)
    loop.departure.begin()
    assert any(thread.name == "trainbus-ranks" for thread in threading.enumerate())
    loop.departure.close()
    assert not any(thread.name == "trainbus-ranks" for thread in threading.enumerate())
