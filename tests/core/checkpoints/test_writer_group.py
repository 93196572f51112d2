"""Ranks that write checkpoints together abort together; a single process waits for no other."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.distributed.threads import ThreadRanks, on_all
from trainbus.checkpoints.writer_group import WriterGroup
from trainbus.storage.sharded_directory import EVERY_PART, VerificationShare
from trainbus.testing import LineSubject


class ShardedLine(LineSubject):
    """A line whose ranks each write a part."""

    def __init__(self, ranks: ThreadRanks) -> None:
        super().__init__()
        self.group = ranks

    def writer_group(self) -> ThreadRanks:
        return self.group

    def saves_sharded(self, suffix: str) -> bool:
        return True


@pytest.mark.parametrize("subject", [None, LineSubject()])
def test_a_subject_that_is_not_sharded_is_written_by_one_process(subject: object) -> None:
    """It leads, verifies every part, and its own failure is the only one."""
    group = WriterGroup(subject)

    assert (group.ranks, group.leads, group.share) == (None, True, EVERY_PART)
    assert [group.failed_anywhere(failed) for failed in ([], [False, True])] == [[], [False, True]]
    with pytest.raises(ZeroDivisionError), group.abort_all_on_error():
        raise ZeroDivisionError
    group.leave()
    assert not group.left


@given(
    st.integers(0, 3).flatmap(
        lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=4)
    )
)
def test_all_ranks_learn_which_files_one_cannot_write(failed: Sequence[tuple[bool, ...]]) -> None:
    """Each gets the same answer; rank 0 leads, and each verifies its share."""

    def play(ranks: ThreadRanks) -> tuple[list[bool], bool, VerificationShare]:
        group = WriterGroup(ShardedLine(ranks))
        share = group.share
        return group.failed_anywhere(failed[ranks.rank]), group.leads, share

    assert on_all(len(failed), play) == [
        (list(map(any, zip(*failed, strict=True))), rank == 0, VerificationShare(rank, len(failed)))
        for rank in range(len(failed))
    ]


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_an_error_on_one_rank_aborts_the_save_on_all(broken: int) -> None:
    """The others receive the error at their next barrier."""

    def play(ranks: ThreadRanks) -> bool:
        group = WriterGroup(ShardedLine(ranks))
        assert group.ranks is ranks
        try:
            with group.abort_all_on_error():
                if ranks.rank == broken:
                    raise OSError("no space")
        except OSError:
            return True
        return group.failed_anywhere([False, False]) == [True, True]

    assert on_all(3, play) == [True, True, True]


def test_a_rank_that_has_left_writes_alone() -> None:
    """The ranks that wait for it fail, and it asks for no other group."""

    def play(ranks: ThreadRanks) -> tuple[object, bool, list[bool]]:
        group = WriterGroup(ShardedLine(ranks))
        assert group.ranks is ranks
        group.leave()
        return group.ranks, group.left, group.failed_anywhere([False])

    assert on_all(1, play) == [(None, True, [False])]
