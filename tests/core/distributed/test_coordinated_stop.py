"""Ranks that are asked to stop do so after the same batch, and none begins a later one."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainbus.distributed import coordinated_stop as module
from trainbus.distributed.coordinated_stop import CoordinatedStop
from trainbus.errors import RankError

from .threads import Meeting, ThreadRanks


class Loop:
    """A loop over batches of one rank, whose position is the batches that it has done."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.done = 0
        self.received: dict[str, str] = {}
        self.stop = CoordinatedStop(ThreadRanks(meeting, rank), lambda: [0, 1, self.done], self.received.update)

    def ends(self) -> bool:
        """Run one batch; return whether the loop ends after it."""
        self.done += 1
        return self.stop.at_last_batch() if self.received else False


@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.data())
@settings(max_examples=10)
def test_all_stop_after_the_batch_that_the_furthest_has_begun(ahead: list[int], data: st.DataObject) -> None:
    """The batches that they have done when they look, and the order in which they look, are arbitrary."""
    meeting = Meeting(len(ahead))
    loops = [Loop(meeting, rank) for rank in range(len(ahead))]
    for loop, done in zip(loops, ahead, strict=True):
        loop.done = done
    loops[data.draw(st.integers(0, len(ahead) - 1))].stop.request({"request": "SIGTERM"})
    order = data.draw(st.permutations(range(len(ahead))))
    for rank in [*order, *order, *order, 0, *order]:  # each looks several times, as its thread would
        loops[rank].stop.poll()

    ended = []
    for loop in loops:
        assert loop.received == {"request": "SIGTERM"}
        while not loop.ends():
            pass
        ended.append(loop.done)
    assert ended == [max(ahead) + 1] * len(ahead)


def test_a_rank_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks that wait for it get an error."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    loop = Loop(Meeting(3), 0)
    loop.stop.request({"stop": "enough"})
    loop.stop.poll()
    loop.stop.poll()

    with pytest.raises(RankError, match="rank 1, 2 does not report its position"):
        loop.stop.at_last_batch()


def test_after_a_reset_ranks_may_be_asked_again() -> None:
    """Each request has its own number in the store."""
    loop = Loop(Meeting(1), 0)
    for reason in ("one", "two"):
        loop.stop.request({"stop": reason})
        loop.stop.poll()
        assert not loop.stop.idle
        loop.stop.reset()
        assert loop.stop.idle
        assert loop.received == {"stop": reason}


def test_the_watching_thread_ends_with_the_run() -> None:
    """It is joined: the end of a process must not find it inside the store."""
    loop = Loop(Meeting(1), 0)
    loop.stop.start()
    assert any(thread.name == "trainbus-ranks" for thread in threading.enumerate())
    loop.stop.close()
    assert not any(thread.name == "trainbus-ranks" for thread in threading.enumerate())
