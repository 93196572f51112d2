"""A rank after rank 0 executes what is not rank 0's."""

from pathlib import Path

from tests.core.engine.parts import parts_for
from trainbus import decision
from trainbus.distributed.follower import Follower
from trainbus.engine.execution_result import ExecutionResult
from trainbus.testing import LineSubject


def test_a_follower_executes_what_is_not_rank_0s() -> None:
    """It changes the subject before, and restores and drops slots after the files are written; it writes none."""
    subject = LineSubject(0.4)
    executor = parts_for(subject).executor
    follower = Follower(executor)
    asked = (
        decision.keep("slot") | decision.scale_learning_rate(0.5) | decision.save("a.npz") | decision.forget("b.npz")
    )
    assert follower.execute(asked) == ExecutionResult(asked)
    subject.slope += 3
    follower.finish(decision.restore("slot"))
    assert (subject.slope, subject.learning_rate) == (0, 0.2)
    follower.finish(decision.forget("slot"))

    assert list(executor.snapshots) == []
    assert list(Path().iterdir()) == []


def test_a_follower_sets_rates_with_the_cuts_of_the_run() -> None:
    """It makes the same changes in the same order as rank 0, so that all have the same rates."""
    subject = LineSubject(0.4)
    follower = Follower(parts_for(subject).executor)
    for asked in (decision.scale_learning_rate(0.5), decision.set_learning_rate(0.1)):
        follower.execute(asked)

    assert subject.learning_rate == 0.05


def test_a_slot_that_the_decision_keeps_is_not_dropped() -> None:
    """As on rank 0, which deletes nothing that the same decision makes."""
    executor = parts_for(LineSubject()).executor
    follower, asked = Follower(executor), decision.keep("slot") | decision.forget("slot")
    follower.execute(asked)
    follower.finish(asked)

    assert list(executor.snapshots) == ["slot"]
