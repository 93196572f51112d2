"""What is left of the decision that saved a checkpoint is done as it would have been done without the interruption."""

from pathlib import Path

import pytest

from trainbus import Decision, decision
from trainbus.checkpoints import read
from trainbus.resume.locate import state_of
from trainbus.resume.resumption import Resumption
from trainbus.testing import LineSubject

from ..engine.parts import parts_for


def left_after(asked: Decision, *missing: str) -> Decision:
    """Execute a decision, remove files that a death would have prevented, and return what is left to do."""
    parts = parts_for(LineSubject())
    parts.executor.execute(decision.save("best.npz").signed("Saver"))
    parts.executor.execute(asked.signed("Saver"))
    for name in missing:
        Path(name).unlink()
        Path(f"trainbus.{name}.json").unlink()
    return Resumption(read(Path("a.npz")), None, {"Saver": object()}, {}, LineSubject()).last_decision.remaining()[0]


SAVED = decision.save("a.npz")


@pytest.mark.parametrize(
    ("asked", "missing", "left"),
    [
        (SAVED, [], Decision()),
        (SAVED | decision.save("b.npz"), ["b.npz"], decision.save("b.npz")),
        (SAVED | decision.forget("a.npz"), [], Decision()),
        (SAVED | decision.save("b.npz") | decision.forget("b.npz"), [], Decision()),
        (SAVED | decision.keep("slot") | decision.forget("slot"), [], Decision()),
        (SAVED | decision.forget("old.npz"), [], decision.forget("old.npz")),
        (SAVED | decision.restore("best.npz"), [], decision.restore("best.npz")),
        (SAVED | decision.keep("slot") | decision.restore("slot"), [], decision.restore("slot")),
        (SAVED | decision.restore("best.npz"), ["best.npz"], Decision()),
        (SAVED | decision.stop("enough") | decision.scale_learning_rate(0.5), [], Decision()),
    ],
)
def test_saves_that_are_missing_restores_and_deletions_are_left_but_no_deletion_of_what_was_made(
    asked: Decision, missing: list[str], left: Decision
) -> None:
    assert left_after(asked, *missing) == left.signed("Saver")


@pytest.mark.parametrize("first", ["a.npz", "b.npz", "c.npz"])
def test_every_file_of_a_decision_stores_the_whole_decision_and_the_same_state(first: str) -> None:
    """Also those that a resumed run has written."""
    parts = parts_for(LineSubject())
    asked = SAVED | decision.save("b.npz") | decision.save("c.npz") | decision.stop("enough")
    parts.executor.execute(asked.signed("Saver"))
    stored = state_of(read(Path(first)))
    for name in {"a.npz", "b.npz", "c.npz"} - {first}:
        Path(name).unlink()
        Path(f"trainbus.{name}.json").unlink()
    again = parts_for(LineSubject())
    resumption = Resumption(read(Path(first)), None, {"Saver": object()}, {}, LineSubject())
    with again.collector.holding(resumption.stored):
        again.executor.execute(resumption.last_decision.remaining()[0])

    for name in ("a.npz", "b.npz", "c.npz"):
        assert state_of(read(Path(name))) == stored
