"""When something is due."""

from hypothesis import given
from hypothesis import strategies as st

from trainbus.rules import Intervals, crossing_rule, interval_rule


@given(st.lists(st.integers(1, 7), min_size=1, max_size=8), st.integers(1, 9))
def test_interval_counts_batches_across_epochs(lengths: list[int], every: int) -> None:
    """It acts at every n-th batch of the run, whatever the lengths of its epochs."""
    state, acted, total = Intervals(), [], 0
    for length in lengths:
        for batch in range(length):
            state, due = interval_rule(state, batch, every)
            total += 1
            if due:
                acted.append(total)

    assert acted == list(range(every, total + 1, every))


@given(st.lists(st.integers(0, 7), max_size=30), st.integers(1, 9), st.integers(0, 30))
def test_a_count_is_acted_upon_once_for_each_reached_multiple(
    increments: list[int], every: int, broken_at: int
) -> None:
    """With steps of any size, also 0, it acts exactly at the multiples, also in a run resumed at any count."""
    count, state = 0, 0
    for number, increment in enumerate(increments):
        before, count = count, count + increment
        if number == broken_at:
            state = before  # all that a resumed run needs
        state, due = crossing_rule(state, count, every)
        assert due == any(multiple % every == 0 for multiple in range(before + 1, count + 1))
