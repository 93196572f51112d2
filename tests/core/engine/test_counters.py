"""Loops that count their batches themselves are read as if each batch had been counted."""

from hypothesis import given
from hypothesis import strategies as st

from trainbus.engine.counters import Counters, UnobservedLoop


@given(st.lists(st.tuples(st.sampled_from([1, 2, 3, None]), st.integers(0, 5), st.integers(0, 9)), max_size=4))
def test_a_loop_counts_the_same_open_and_closed(planned: list[tuple[int | None, int, int]]) -> None:
    """Batches of the last loop; weight updates of all; an update that a resume has split is counted once."""
    counters, steps = Counters(), 0
    for accumulate, first, batches in planned:
        loop = UnobservedLoop(accumulate, first)
        counters.loops.append(loop)
        for batch in range(first, first + batches):
            loop.batch = batch + 1
            steps += bool(accumulate and (batch + 1) % accumulate == 0)
            assert (counters.current_step, counters.current_batch) == (steps, batch + 1)
        assert counters.current_trained_batches == first + batches
        counters.close(loop)
        assert (counters.current_step, counters.current_batch) == (steps, first + batches)
        assert counters.current_trained_batches == first + batches


@given(st.data(), st.integers(1, 4))
def test_loops_may_be_closed_in_any_order(data: st.DataObject, number: int) -> None:
    """As loops inside each other, or next to each other, are."""
    counters = Counters()
    loops = [UnobservedLoop(1) for _ in range(number)]
    for batches, loop in enumerate(loops, start=1):
        counters.loops.append(loop)
        loop.batch = batches
    for loop in data.draw(st.permutations(loops)):
        counters.close(loop)
        assert counters.current_step == sum(range(number + 1))
