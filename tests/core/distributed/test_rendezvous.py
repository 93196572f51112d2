"""Ranks meet at any barrier: none waits for ever, and all see the same."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.distributed.rendezvous import Point, RankMismatch, Rendezvous

from .threads import ThreadRanks, on_all

sizes = st.integers(1, 5)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(sizes, plain | st.text(min_size=1200, max_size=3000))
def test_the_value_of_rank_0_reaches_all(size: int, value: Any) -> None:
    """Of whatever length."""

    def play(ranks: ThreadRanks) -> Any:
        met = Rendezvous(ranks).barrier("answer", value=value if ranks.rank == 0 else "another")
        assert met is not None
        return met.value

    assert on_all(size, play) == [value] * size


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5))
def test_ranks_state_as_many_batches_as_all_of_them_have(batches: list[int]) -> None:
    """And every rank reaches the end, whatever the others have."""

    def play(ranks: ThreadRanks) -> int:
        rendezvous, stated, more = Rendezvous(ranks), 0, True
        for batch in range(batches[ranks.rank]):
            if more:
                more = rendezvous.barrier("on_batch_end", batch) is not None
                stated += more
        assert rendezvous.barrier("on_epoch_end") is not None
        assert rendezvous.barrier("on_train_end") is not None
        return stated

    assert on_all(len(batches), play) == [min(batches)] * len(batches)


@given(st.lists(st.sampled_from(get_args(Point)[2:]), min_size=2, max_size=5))
def test_ranks_at_different_events_all_learn_who_is_where(points: list[Point]) -> None:
    """All raise it, and can meet at the end."""

    def play(ranks: ThreadRanks) -> str:
        rendezvous, words = Rendezvous(ranks), ""
        if points[ranks.rank] != "on_train_end":
            try:
                rendezvous.barrier(points[ranks.rank])
            except RankMismatch as mismatch:
                words = str(mismatch)
        assert rendezvous.barrier("on_train_end") is not None
        return words

    for rank, words in enumerate(on_all(len(points), play)):
        if len(set(points)) == 1 or points[rank] == "on_train_end":
            assert words == ""
        else:
            assert all(point in words for point in points)


@given(st.lists(st.integers(0, 2), min_size=2, max_size=5))
def test_ranks_at_different_places_all_raise(places: list[int]) -> None:
    """If and only if one of them is at another place than the others."""

    def play(ranks: ThreadRanks) -> str:
        try:
            Rendezvous(ranks).barrier("on_epoch_end", {"epoch": places[ranks.rank]})
        except RankMismatch as mismatch:
            return str(mismatch)
        return ""

    words = on_all(len(places), play)
    assert len(set(words)) == 1
    assert ("not in the same state" in words[0]) == (len(set(places)) > 1)


@given(st.lists(st.none() | st.sampled_from(["full", "lost"]), min_size=1, max_size=5))
def test_the_error_of_a_rank_is_known_to_all(errors: list[str | None]) -> None:
    """With its message."""

    def play(ranks: ThreadRanks) -> dict[int, str]:
        error = errors[ranks.rank]
        met = Rendezvous(ranks).barrier("answer", error=None if error is None else OSError(error))
        assert met is not None
        return met.failed

    failed = {rank: f"OSError: {error}" for rank, error in enumerate(errors) if error is not None}
    assert on_all(len(errors), play) == [failed] * len(errors)


@pytest.mark.parametrize("numbers", [0, 3, 300, 1000])
def test_rows_of_any_length_add_up(numbers: int) -> None:
    """Rows too long for one message continue in another."""

    def play(ranks: ThreadRanks) -> list[float]:
        met = Rendezvous(ranks).barrier("on_epoch_end", values=[float(number) for number in range(numbers)])
        assert met is not None
        return met.sums

    assert on_all(3, play) == [[3.0 * number for number in range(numbers)]] * 3
