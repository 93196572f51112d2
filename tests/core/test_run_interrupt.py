"""Run.interrupt ends a run as a signal does, without an exception, and says what continues from there."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from trainbus import LoopError, Run, SettingsError
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import EventRecorder, LineSubject


def training(run: Run, interrupt_at: int = -1, thread: bool = False) -> list[int]:
    trained: list[int] = []
    with run:
        for _ in run.epochs(3):
            for batch in run.batches(range(4)):
                trained.append(batch)
                run.log(val_loss=float(batch))
                if len(trained) == interrupt_at:
                    if thread:
                        asks = threading.Thread(target=run.interrupt, args=("a thread",))
                        asks.start()
                        asks.join()
                    else:
                        run.interrupt("the clock")
    return trained


@pytest.mark.parametrize("at", [1, 4, 5, 11])
@pytest.mark.parametrize("thread", [False, True])
def test_a_run_ends_after_the_batch_and_a_resume_trains_the_others(at: int, thread: bool) -> None:
    first = training(Run(LineSubject(), ModelCheckpoint("run/m")), at, thread)
    run = Run(LineSubject(), ModelCheckpoint("run/m"), resume="auto")
    second = training(run)

    assert len(first) == at
    assert first + second == [0, 1, 2, 3] * 3
    assert run.result.reason == "all epochs done"


def test_it_is_no_error_and_the_best_weights_are_restored() -> None:
    recorder = EventRecorder()
    run = Run(LineSubject(), [EarlyStopping(patience=9, restore_best_weights=True), recorder])
    training(run, 7)

    assert run.error is None
    assert "on_exception" not in [each.hook for each in recorder.events]
    assert any("best val_loss" in reason for _, each in run.state.decision_log for reason in each.reasons)


def test_an_error_of_the_loop_stays_an_error() -> None:
    with pytest.raises(OSError, match="no space"), Run() as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(4)):
                run.interrupt("the clock")
                raise OSError("no space")


def test_ctrl_c_of_the_same_batch_has_its_effect() -> None:
    with pytest.raises(KeyboardInterrupt), Run() as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(4)):
                run.interrupt("the clock")
                signal.raise_signal(signal.SIGINT)


def test_after_the_end_it_has_no_effect_and_before_the_beginning_it_is_refused() -> None:
    run = Run()
    with pytest.raises(LoopError, match=r"call interrupt\(\) after begin"):
        run.interrupt("the clock")
    training(run)
    run.interrupt("the clock")

    assert run.result.reason == "all epochs done"


@pytest.mark.parametrize("name", ["", None, 3, b"clock"])
def test_it_needs_text(name: Any) -> None:
    with Run() as run, pytest.raises(SettingsError, match="give text that says what asks for it"):
        run.interrupt(name)


def test_what_was_saved_is_named(caplog: pytest.LogCaptureFixture) -> None:
    training(Run(LineSubject(), ModelCheckpoint("run/m")), 5)

    assert caplog.messages == [
        f"the clock: the run ended in epoch 2 after 5 steps; resume='auto' continues from {Path('run/signal.npz')}"
    ]
