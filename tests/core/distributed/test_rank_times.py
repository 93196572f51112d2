"""A rank that is slow by a clear margin is found from the times of all ranks, and no other is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.distributed.rank_times import EpochClock, row_of, slow_rank, stats_of, times_in
from trainbus.engine.run_state import RankTime

SECONDS = st.floats(0, 1e6)
TIMES = st.lists(st.builds(RankTime, SECONDS, SECONDS), max_size=20)


@given(TIMES)
def test_the_sum_of_the_rows_has_the_time_of_each_rank(times: list[RankTime]) -> None:
    rows = [row_of(each, rank, len(times)) for rank, each in enumerate(times)]

    assert times_in([sum(column) for column in zip(*rows, strict=True)]) == tuple(times)


@given(TIMES)
def test_the_slow_rank_has_the_longest_time(times: list[RankTime]) -> None:
    found = slow_rank(times)
    if found is not None:
        rank, text = found
        longest = (times[rank].busy == max(times).busy, times[rank].computed == max(each.computed for each in times))
        assert any(longest)
        assert text.startswith(f"rank {rank} is slow: it ")
    assert len(stats_of(times)) in (0, 4)


@pytest.mark.parametrize(
    ("busy", "computed", "slow"),
    [
        ([1, 1, 1, 1], [1, 1, 1, 1], None),
        ([1, 1, 1, 1.2], [1, 1, 1, 1], None),
        ([1, 1, 1, 1.3], [1, 1, 1, 1], 3),
        ([2.7, 1, 2, 2], [1, 1, 1, 1], 0),
        ([0.01, 0.05, 0.01], [0, 0, 0], None),  # a margin, but of milliseconds
        ([4, 4, 4], [1.0, 3.9, 1.2], 1),  # held together by the collectives of each batch
        ([4, 4, 4], [0.4, 1.0, 0.5], None),  # it computes for a quarter of the time
        ([4, 4], [1.0, 3.9], 1),
        ([4, 8], [1.0, 1.0], 1),
        ([4], [4], None),
        ([], [], None),
    ],
)
def test_the_margin_is_clear(busy: list[float], computed: list[float], slow: int | None) -> None:
    found = slow_rank([RankTime(*each) for each in zip(busy, computed, strict=True)])

    assert (found and found[0]) == slow


def test_waits_for_other_ranks_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now, waited = [100.0], [7.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    clock = EpochClock(lambda: waited[0])
    now[0] += 5
    clock.begin()
    now[0] += 10
    waited[0] += 4

    assert clock.read().busy == 6.0
