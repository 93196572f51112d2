"""The batches of one interval, counted before their validation or at the end of the loop's body."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import LoopError
from trainbus.engine.bus import Bus
from trainbus.engine.loops.step_loop import StepLoop
from trainbus.engine.run_state import RunState
from trainbus.failures import Failures


def looped(
    batches: int, accumulate: int | None, first: int = 0, last: int | None = None
) -> tuple[StepLoop[int], Any, RunState]:
    """A loop without plugins, what iterates over it, and the state in which it counts."""
    state = RunState()
    state.epoch_open = True
    loop = StepLoop[int](object(), state, Bus(Failures()), accumulate, lambda: state.step == last)
    return loop, loop.batches(range(first, batches), first, lambda _: None, lambda *_: True), state


@given(st.integers(0, 20), st.integers(1, 4), st.integers(0, 6), st.sets(st.integers(0, 20)))
def test_each_batch_is_counted_once(batches: int, accumulate: int, first: int, validated: set[int]) -> None:
    """Also one whose validation has counted it."""
    loop, iterator, state = looped(batches, accumulate, first)
    for batch in iterator:
        before = state.step
        assert (state.batch, state.counters.trained_batches) == (batch, batch if batch > first else 0)
        if batch in validated:
            loop.count()
            loop.count()
            assert (state.step - before, state.counters.trained_batches) == ((batch + 1) % accumulate == 0, batch + 1)
    assert state.step == max(batches // accumulate - min(first, batches) // accumulate, 0)


def test_a_loop_that_counts_itself_ends_with_its_step() -> None:
    """A batch may make several updates."""
    _, iterator, state = looped(100, None, last=6)
    for _ in iterator:
        state.step += 2
    assert (state.step, state.counters.trained_batches) == (6, 3)


def test_a_loop_that_never_counts_is_an_error() -> None:
    """It would never end."""
    _, iterator, _ = looped(20_000, None, last=6)
    with pytest.raises(LoopError, match=r"10,000 batches of run\.steps"):
        list(iterator)


def test_a_stop_ends_the_loop_after_its_batch() -> None:
    """The caller says whether it ends there."""
    _, iterator, state = looped(9, 1)
    seen = []
    for batch in iterator:
        seen.append(batch)
        if batch == 3:
            state.stop_actions.append(object())  # type: ignore[arg-type]
    assert (seen, state.step) == ([0, 1, 2, 3], 4)
