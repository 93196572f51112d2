"""Why a run has ended."""

from __future__ import annotations

from trainbus.decision import Stop
from trainbus.engine.plan import EpochPlan, StepPlan
from trainbus.engine.run_state import RunState


def test_the_reason_is_what_ended_the_run() -> None:
    """A stop before an error, an error before the plan."""
    state = RunState()
    assert state.reason == "not over yet"
    state.phase = "ended"
    assert state.reason == "the loop ended"
    state.plan = EpochPlan(1)
    assert state.reason == "all epochs done"
    state.error = ValueError("bad batch")
    assert state.reason == "ValueError: bad batch"
    state.error = KeyboardInterrupt()
    assert state.reason == "interrupted"
    state.stop_actions = [Stop(reason="one"), Stop(reason="two", by="p"), Stop(reason="one", by="q")]
    assert state.reason == "one; two"


def test_a_loop_by_steps_ends_in_steps() -> None:
    """Done, left, or ended by its loader."""
    state = RunState()
    state.phase, state.plan, state.step = "ended", StepPlan(9, 3), 7
    assert state.reason == "the loop ended"
    state.left = True
    assert state.reason == "the loop was left at step 7"
    state.left, state.step = False, 9
    assert state.reason == "all steps done"
