"""The plain data of a run: what is recorded can be read."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Decision, LoopError, SettingsError
from trainbus.decision import NOTHING, Stop, join
from trainbus.engine.counters import UnobservedLoop
from trainbus.engine.execution_result import ExecutionResult
from trainbus.engine.run_state import RunState
from trainbus.resume.state import Position


@given(st.lists(st.lists(st.sampled_from("xy"), max_size=2), max_size=5))
def test_decisions_are_logged_with_their_epochs_and_stops_once(planned: list[list[str]]) -> None:
    """A result without a decision is no entry of the log."""
    state = RunState()
    for epoch, reasons in enumerate(planned):
        state.start_epoch(epoch)
        state.record(
            ExecutionResult(join(Decision(frozenset([Stop(reason=each, by="p")])) for each in reasons)), lambda _: True
        )
        state.record(ExecutionResult(), lambda _: True)

    assert [epoch for epoch, _ in state.decision_log] == [epoch for epoch, reasons in enumerate(planned) if reasons]
    stops = [action.reason for action in state.stop_actions]
    assert len(stops) == len(set(stops))
    assert set(stops) == {reason for reasons in planned for reason in reasons}
    assert all(decision != NOTHING for _, decision in state.decision_log)


def test_a_step_that_decreases_is_refused() -> None:
    """Checkpoints are identified by their step; a larger one also counts inside an open loop."""
    state = RunState()
    loop = UnobservedLoop(accumulate=1)
    state.counters.loops.append(loop)
    loop.batch = 3
    state.step = 7
    assert state.step == 7
    with pytest.raises(LoopError, match="step=5 after step 7"):
        state.step = 5
    state.counters.close(loop)
    assert state.step == 7


def test_the_position_says_how_far_the_run_has_come() -> None:
    """Between epochs, in an epoch before its first loop, within a loop, and between two loops."""
    state = RunState()
    assert state.position == Position(epochs=0)
    state.start_epoch(0)
    assert state.position == Position(epochs=0, mid_epoch=True, in_loop=False)
    state.loops = 1
    state.counters.trained_batches = 4
    assert state.position == Position(epochs=0, mid_epoch=True, batches=4)
    state.loops, state.counters.trained_batches = 2, 1
    assert state.position == Position(epochs=0, mid_epoch=True, loops=1, batches=1)
    state.finish_epoch({})
    assert state.position == Position(epochs=1)
    state.start_epoch(1)
    assert (state.loop_position, state.position) == ([1, 0, 0], Position(epochs=1, mid_epoch=True, in_loop=False))


@pytest.mark.parametrize(
    ("freq", "due"),
    [(1, [0, 1, 2, 3]), (2, [1, 3]), ((1, 4), [0, 3]), ((), [0, 1, 2, 3]), (None, [])],
)
def test_a_validation_is_due_by_the_planned_frequency(freq: int | Collection[int] | None, due: list[int]) -> None:
    """An epoch that had one counts in any case; if no epoch has one, waiting for it would be of no use."""
    state = RunState()
    state.validation_freq = freq
    assert [epoch for epoch in range(4) if state.validates(epoch)] == due
    state.validated = True
    assert all(state.validates(epoch) for epoch in range(4))


@pytest.mark.parametrize("step", [2**63, 10**30, 10**5000, 1e30, "7", None, 2.5], ids="abcdefg")
def test_a_step_is_a_whole_number_of_64_bits(step: object) -> None:
    """What reads a journal or a checkpoint has no room for others."""
    state = RunState()
    with pytest.raises(SettingsError, match=r"^step=.*: give a (whole )?number of at (most|least)"):
        state.step = step  # type: ignore[assignment]
    assert state.step == 0
    state.step = 2**63 - 1
    assert state.step == 2**63 - 1
