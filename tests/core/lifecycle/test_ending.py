"""A run ends in one order, whatever has ended it: decisions, files, what is closed, locks."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from trainbus import CheckpointError, decision, hookimpl
from trainbus.engine.execution_result import ExecutionResult
from trainbus.lifecycle.ending import Ending
from trainbus.lifecycle.parts import assemble
from trainbus.resume.end_record import NAME
from trainbus.testing import LineSubject

from .lives import Locks, Witness, life_of


@pytest.mark.parametrize("error", [None, ValueError("bad batch")])
def test_everything_is_closed_once_whatever_ended_the_run(error: Exception | None) -> None:
    """Plugins are called, then what was registered is closed, and the directories are unlocked."""
    witness, closed = Witness(), list[str]()
    life = life_of(LineSubject(), witness, Locks())
    life.begin("run", lambda: True)
    life.ending.closed.callback(lambda: closed.append(str(witness.log[-1][0])))
    for _ in range(2):
        life.end("run", error)

    assert closed == ["end"]
    assert [each[0] for each in witness.log] == ["begin", *(["exception"] if error else []), "end"]
    assert life.state.error is error
    again = life_of(LineSubject(), Locks())
    again.begin("run", lambda: True)
    third = life_of(LineSubject(), Locks())
    with pytest.raises(CheckpointError, match="run"):
        third.begin("run", lambda: True)
    again.end("run", None)


def test_errors_at_the_end_are_raised_together() -> None:
    """The first is raised, or the one that ended the loop; the others are notes."""

    class Fails:
        def __init__(self, words: str) -> None:
            self.words = words

        @hookimpl
        def on_train_end(self) -> None:
            raise OSError(self.words)

    life = life_of(None, Fails("first"), Fails("second"))
    life.begin("run", lambda: True)
    with pytest.raises(OSError, match="first") as raised:
        life.end("run", None)
    assert raised.value.__notes__[1:] == ["at the end of the run also: OSError: second"]

    life, error = life_of(None, Fails("first"), Fails("second")), ValueError("bad batch")
    life.begin("run", lambda: True)
    life.end("run", error)
    assert error.__notes__ == [f"at the end of the run also: OSError: {words}" for words in ("first", "second")]


@pytest.mark.parametrize("trained", [0, 1, 2])
@pytest.mark.parametrize("stopped", ["no", "by a decision", "by a request", "by an error"])
def test_only_a_run_that_is_finished_leaves_a_record_of_its_end(trained: int, stopped: str) -> None:
    """It has trained all epochs, or a decision has ended it; not a request, nor an error."""
    life = life_of(LineSubject(), Locks())
    life.begin("run", lambda: True)
    for epoch in life.loops.epochs(life, "run", 2, 0, 1):
        if epoch == trained:
            break
        life.state.means.add("val_loss", 1.0)
    life.state.epoch_open = False
    if stopped == "by a decision":
        life.decide("run", decision.stop("enough"))
    elif stopped == "by a request":
        life.stop_requests.request("SIGTERM")
        with suppress(KeyboardInterrupt):
            life.stop_requests.check()
    life.end("run", ValueError("bad batch") if stopped == "by an error" else None)

    assert Path("run", NAME).exists() == (stopped == "by a decision" or (stopped == "no" and trained == 2))


def test_what_ends_a_run_needs_no_run() -> None:
    """It records what is executed last, and closes the loop after the plugins and before it returns."""
    parts = assemble(
        LineSubject(0.4), [Witness(decision.scale_learning_rate(0.5))], verbose=0, resume=None, resume_strict=False,
        resume_learning_rates="checkpoint", signals=(),
    )  # fmt: skip
    (witness,) = parts.plugins.values()
    assert isinstance(witness, Witness)
    ending, recorded = Ending(parts), list[ExecutionResult]()
    ending.closed.callback(lambda: witness.log.append(("closed",)))

    assert not ending.end("run", None, recorded.append, lambda: witness.log.append(("loop closed",)))
    assert witness.log == [("end", "run"), ("closed",), ("loop closed",)]
    assert not any(map(any, recorded))
