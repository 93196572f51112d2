"""A plugin that counts batches or weight updates says if the loop has none; it does not wait in silence."""

from typing import Any

import pytest

from trainbus import Callback, Run
from trainbus.plugins import ModelCheckpoint, TensorBoard
from trainbus.testing import LineSubject


def epochs(run: Run) -> None:
    for _ in run.epochs(3):
        run.log(loss=1.0)


def batches(run: Run, accumulate: int | None = 1) -> None:
    for _ in run.epochs(3):
        for _ in run.batches(range(4), accumulate=accumulate):
            run.log(loss=1.0)


def steps_alone(run: Run) -> None:
    for _ in run.epochs(3):
        run.log(loss=1.0)
        run.step += 4


def updates_counted_by_the_loop(run: Run) -> None:
    for _ in run.epochs(3):
        for _ in run.batches(range(4), accumulate=None):
            run.log(loss=1.0)
            run.step += 1


def own_events(run: Run) -> None:
    for epoch in range(3):
        run.begin_epoch(epoch)
        for batch in range(4):
            run.begin_batch(batch)
            run.end_batch(batch, {"loss": 1.0}, steps=0)
        run.end_epoch({"loss": 1.0})


def never_counted(run: Run) -> None:
    batches(run, None)


def too_few_batches(run: Run) -> None:
    batches(run, 9)


def saves(freq: object) -> Callback:
    return ModelCheckpoint("m/{step}-{epoch}", save_freq=freq)  # type: ignore[arg-type]


NO_BATCH = "epoch 1 had no batch: loop over run.batches(loader), or call run.begin_batch() and run.end_batch()"
NO_STEP = "epoch 1 had no weight update: pass the right accumulate= to run.batches(), or set run.step"


@pytest.mark.parametrize(
    ("callback", "loop", "problem"),
    [
        (saves("2 steps"), epochs, NO_BATCH),
        (saves(2), epochs, NO_BATCH),
        (saves("1 minute"), epochs, NO_BATCH),
        (saves("2 steps"), steps_alone, NO_BATCH),
        (saves("2 steps"), never_counted, NO_STEP),
        (saves("2 steps"), too_few_batches, NO_STEP),
        (saves("2 steps"), own_events, NO_STEP),
        (TensorBoard("logs", update_freq=2), epochs, NO_BATCH),
        (TensorBoard("logs", update_freq="batch"), steps_alone, NO_BATCH),
        (TensorBoard("logs", update_freq=2), never_counted, NO_STEP),
    ],
)
def test_what_is_never_counted_is_reported_once(
    callback: Callback, loop: Any, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At the end of the first epoch, in the log, and in the failures of the run."""
    with Run(LineSubject(), callback, verbose=0) as run:
        loop(run)

    (failure,) = run.failures
    assert str(failure.error) == problem
    assert caplog.text.count(problem) == 1


@pytest.mark.parametrize(
    ("callback", "loop"),
    [
        (saves("2 steps"), batches),
        (saves("900 steps"), batches),
        (saves("2 steps"), updates_counted_by_the_loop),
        (saves(2), never_counted),
        (saves("1 minute"), own_events),
        (saves("epoch"), epochs),
        (saves("2 epochs"), steps_alone),
        (TensorBoard("logs", update_freq=2), batches),
        (TensorBoard("logs"), epochs),
    ],
)
def test_what_is_counted_is_not_reported(callback: Callback, loop: Any) -> None:
    """Also if the first event comes late."""
    with Run(LineSubject(), callback, verbose=0) as run:
        loop(run)

    assert run.failures == []


def test_a_run_that_is_resumed_after_the_last_batch_of_its_epoch_is_not_reported() -> None:
    """Its first epoch has no batch left."""
    callback = ModelCheckpoint("m", save_freq=4)
    with pytest.raises(KeyError), Run(LineSubject(), callback, verbose=0) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(4)):
                run.log(loss=1.0)
            raise KeyError
    with Run(LineSubject(), callback, verbose=0, resume="auto") as run:
        batches(run)

    assert run.resumed is not None
    assert run.failures == []
