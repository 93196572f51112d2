"""A run that is driven by the events of a framework."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import LoopError, MissingMetric, Run, hookimpl
from trainbus.binding import RunDriver
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import EventRecorder, LineSubject


def begun(*callbacks: Any, epochs: int = 3, batches: int | None = None, **options: Any) -> RunDriver:
    driver = RunDriver(options.pop("subject", None), list(callbacks), verbose=0, **options)
    driver.begin(epochs, batches=batches)
    return driver


@given(
    st.lists(st.lists(st.floats(-9, 9), max_size=3), min_size=1, max_size=6),
    st.lists(st.floats(-9, 9), min_size=6, max_size=6),
)
def test_it_reports_what_a_loop_reports(losses: list[list[float]], scores: list[float]) -> None:
    """The same hooks with the same values, and the same decisions, whatever the framework's prefix is."""
    loop, driven = EventRecorder(), EventRecorder()

    def rules(recorder: EventRecorder) -> list[Any]:
        monitor: dict[str, Any] = {"monitor": "val_score", "mode": "min"}
        return [EarlyStopping(**monitor, patience=1), ReduceLROnPlateau(**monitor, patience=0, factor=0.5), recorder]

    with Run(LineSubject(), rules(loop), verbose=0) as run:
        for epoch in run.epochs(len(losses)):
            for loss in run.batches(losses[epoch]):
                run.log(loss=loss)
            with run.validation():
                run.log(score=scores[epoch])

    driver = RunDriver(LineSubject(), rules(driven), verbose=0, prefixes={"eval_": "val_"})
    driver.begin(len(losses), validation_freq=1)
    for epoch in range(len(losses)):
        if driver.stopped:
            break
        driver.begin_epoch()
        for loss in losses[epoch]:
            assert driver.begin_batch()
            driver.end_batch({"loss": loss})
        driver.begin_validation()
        driver.end_validation({"eval_score": scores[epoch]})
        driver.end_epoch()
    driver.end()

    assert driven.names == loop.names
    assert driver.run.history == run.history
    assert driver.run.result.reason == run.result.reason
    assert driver.run.subject.learning_rates() == run.subject.learning_rates()


def test_metrics_of_the_end_replace_the_means_of_the_batches() -> None:
    driver = begun(epochs=1)
    driver.begin_epoch()
    for value in (1.0, 2.0):
        driver.end_batch({"loss": value, "speed": value})
    driver.end_epoch({"loss": 0.25})
    driver.end()
    assert driver.run.history == {"loss": [0.25], "speed": [1.5]}


def test_of_several_validations_the_last_counts() -> None:
    """Also of metrics whose names do not say that they are of a validation."""
    recorder = EventRecorder("on_validation_end")
    driver = begun(recorder, epochs=1)
    driver.begin_epoch()
    for value in (1.0, 2.0):
        driver.begin_validation()
        driver.end_validation({"val_loss": value, "top5": value})
    driver.end_epoch()
    driver.end()
    assert driver.run.history == {"val_loss": [2.0], "top5": [2.0]}
    assert recorder.of("on_validation_end", "metrics") == [{"val_loss": each, "top5": each} for each in (1.0, 2.0)]


@pytest.mark.parametrize("event", ["epoch", "batch"])
@pytest.mark.parametrize("last", ["batch", "validation", "epoch", "end"])
def test_a_framework_that_trains_on_after_a_stop_is_refused(last: str, event: str) -> None:
    """Whatever event has stopped the run; the run then ends with this error, unless it has ended already."""
    recorder = EventRecorder()
    driver = begun(recorder, epochs=2)
    if last != "end":
        driver.begin_epoch()
        driver.run.stop("enough")
        {
            "batch": partial(driver.end_batch, {"loss": 1.0}),
            "validation": partial(driver.end_validation, {"val_loss": 1.0}),
            "epoch": partial(driver.end_epoch, {"loss": 1.0}),
        }[last]()
    if last == "end":
        driver.end()
    assert driver.stopped
    assert not driver.begin_batch()
    with pytest.raises(LoopError, match=f"another {event} after (its end|it has stopped).*hands driver.stopped on"):
        driver.begin_epoch() if event == "epoch" else driver.end_batch({"loss": 1.0})
    assert isinstance(driver.run.error, LoopError) == (last != "end")
    assert recorder.names[-1] == "on_train_end"


def test_a_stop_that_no_event_has_told_is_no_error() -> None:
    """Something else may stop the run between two events."""
    driver = begun(epochs=3)
    driver.begin_epoch()
    driver.end_batch({"loss": 1.0})
    driver.run.stop("enough")
    assert not driver.begin_batch()
    driver.end_batch({"loss": 3.0})
    driver.end_epoch()
    driver.end()
    assert driver.run.history == {"loss": [2.0]}


def test_a_framework_that_does_not_obey_may_train_on() -> None:
    driver = RunDriver(verbose=0)
    driver.begin(3, obeys_stop=False)
    for _ in range(3):
        driver.begin_epoch()
        driver.run.stop("enough")
        driver.end_batch({"loss": 1.0})
        driver.end_epoch()
    driver.end()
    assert driver.run.history == {"loss": [1.0] * 3}


def test_an_epoch_that_is_open_ends_when_the_next_one_begins() -> None:
    """A framework may validate after it has said that the epoch is over."""
    driver = begun(epochs=2)
    driver.begin_epoch(0)
    driver.end_batch({"loss": 1.0})
    driver.begin_epoch(1)
    driver.end_batch({"loss": 2.0})
    driver.end()
    assert driver.run.history == {"loss": [1.0, 2.0]}


def test_after_the_end_nothing_has_an_effect() -> None:
    """A framework may call its callbacks in any order when it ends."""
    recorder = EventRecorder()
    driver = begun(recorder, epochs=2)
    driver.begin_epoch()
    driver.end_epoch({"loss": 1.0})
    assert not driver.end()
    before = list(recorder.names)
    assert not driver.begin_batch()
    driver.begin_validation()
    driver.end_validation({"val_loss": 1.0})
    driver.end_epoch({"loss": 1.0})
    assert not driver.end(ValueError("too late"))
    assert recorder.names == before
    assert driver.stopped
    assert driver.run.error is None


def test_an_error_in_an_event_ends_the_run() -> None:
    """The framework may not say anything about it."""
    recorder = EventRecorder("on_exception", "on_train_end")
    driver = begun(EarlyStopping(monitor="val_los", mode="min"), recorder, epochs=2)
    driver.begin_epoch()
    with pytest.raises(MissingMetric, match="did you mean 'val_loss'"):
        driver.end_epoch({"val_loss": 1.0})
    assert recorder.names == ["on_exception", "on_train_end"]
    assert isinstance(driver.run.error, MissingMetric)


@pytest.mark.parametrize("event", ["begin_batch", "end_batch"])
def test_an_error_at_a_batch_ends_the_run(event: str) -> None:
    def fail(_: Any) -> None:
        raise ZeroDivisionError

    driver = begun(EventRecorder(f"on_batch_{event.removesuffix('_batch')}", answer=fail))
    driver.begin_epoch()
    with pytest.raises(ZeroDivisionError):
        getattr(driver, event)()
    assert isinstance(driver.run.error, ZeroDivisionError)
    assert driver.stopped


def test_a_run_that_is_asked_to_end_quietly_stops_the_framework() -> None:
    """No exception goes through the framework."""
    driver = begun()
    driver.begin_epoch()
    driver.run.interrupt("the power plan")
    driver.end_batch({"loss": 1.0})
    assert driver.stopped
    assert driver.run.result.reason == "the power plan asked for it"


def saved(epoch: int, batch: int) -> None:
    """Leave the checkpoint of a run that was killed after so many batches of an epoch."""
    driver = begun(ModelCheckpoint("m", save_freq=1), subject=LineSubject(), batches=3)
    for each in range(epoch + 1):
        driver.begin_epoch()
        for _ in range(batch if each == epoch else 3):
            driver.begin_batch()
            driver.end_batch({"loss": 1.0})
        if each < epoch:
            driver.end_epoch()
    driver.end(KeyboardInterrupt())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((2, 0), "continues with epoch 3 after 0 of its batches, but the resumed run was interrupted in epoch 2 after"),
        ((1, 3), "continues with epoch 2 after 3 of its batches"),
        ((0, 0), "continues with epoch 1 after 0 of its batches"),
    ],
)
def test_a_framework_that_continues_elsewhere_is_refused(place: tuple[int, int], message: str) -> None:
    """Batches would be trained on twice or not at all."""
    saved(1, 2)
    driver = begun(ModelCheckpoint("m", save_freq=1), subject=LineSubject(), batches=3, resume="auto")
    assert driver.first_epoch == 1
    with pytest.raises(LoopError, match=message):
        driver.begin_epoch(place[0], batch=place[1])


@pytest.mark.parametrize("skipped", [0, 1, 2])
def test_the_batches_before_the_interruption_are_skipped(skipped: int) -> None:
    """By the framework, by the binding, or by both."""
    saved(1, 2)
    recorder = EventRecorder("on_batch_end")
    driver = begun(ModelCheckpoint("m", save_freq=1), recorder, subject=LineSubject(), batches=3, resume="auto")
    driver.begin_epoch(1, batch=skipped)
    assert driver.batches_to_skip == 2 - skipped
    assert [driver.begin_batch() for _ in range(3 - skipped)] == [False] * (2 - skipped) + [True]
    driver.end_batch({"loss": 4.0})
    driver.end_epoch()
    driver.end()
    assert recorder.of("on_batch_end", "epoch", "batch", "step") == [(1, 2, 6)]
    assert driver.run.history == {"learning_rate": [0.5, 0.5], "loss": [1.0, 2.0]}


def test_an_epoch_whose_batches_were_all_trained_on_ends_before_the_next_one() -> None:
    """A framework may have ended it when it was killed."""
    saved(1, 3)
    driver = begun(ModelCheckpoint("m", save_freq=1), subject=LineSubject(), batches=3, resume="auto")
    driver.begin_epoch(2)
    driver.end_batch({"loss": 4.0})
    driver.end_epoch()
    driver.end()
    assert driver.run.history["loss"] == [1.0, 1.0, 4.0]


EXITS = """
from trainbus.binding import RunDriver
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject
driver = RunDriver(LineSubject(), [ModelCheckpoint("m", save_on="exception")], verbose=0)
driver.begin(3)
driver.begin_epoch()
driver.end_batch({"loss": 1.0})
raise SystemExit(3)
"""


def test_a_process_that_exits_ends_the_run(tmp_path: Path) -> None:
    """A framework may not say that its loop has failed."""
    done = subprocess.run([sys.executable, "-c", EXITS], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "LoopError" in (tmp_path / "journal.jsonl").read_text()


@pytest.mark.parametrize("batch", range(3))
@pytest.mark.parametrize("ask", [lambda run: os.kill(os.getpid(), signal.SIGINT), lambda run: run.interrupt("a plan")])
def test_a_request_to_end_that_arrives_between_batches_ends_the_run_after_the_next(batch: int, ask: Any) -> None:
    """As in a loop of one's own, which has fetched that batch: a framework trains on it and reports it."""
    driver = begun(ModelCheckpoint("last", save_on="signal"), subject=LineSubject(), batches=4)
    driver.begin_epoch(0)
    for number in range(batch + 1):
        if number == batch:
            ask(driver.run)
        assert driver.begin_batch()
        try:
            driver.end_batch({"loss": 1.0})
        except KeyboardInterrupt:
            assert number == batch
    assert driver.stopped
    assert driver.run.state.interrupted
    assert driver.run.step == batch + 1
    again = begun(ModelCheckpoint("last", save_on="signal"), subject=LineSubject(), batches=4, resume="auto")
    again.begin_epoch(0)
    assert again.batches_to_skip == batch + 1
    again.end()


@pytest.mark.parametrize("total", [None, 2, 3, 4, 7])
def test_a_plan_that_is_known_later_has_the_same_effect(total: int | None) -> None:
    """A framework that says only how many more epochs it trains: the resumed run knows how many it has done."""
    first = begun(ModelCheckpoint("m"), epochs=3, subject=LineSubject())
    for _ in range(3):
        first.begin_epoch()
        first.end_epoch({"loss": 1.0})
    first.end()

    def resumed(*, later: bool) -> tuple[int, bool, int | None, str]:
        driver = RunDriver(LineSubject(), ModelCheckpoint("m"), resume="auto", verbose=0)
        driver.begin(None if later else total, plans_later=later)
        if later:
            assert driver.epochs_done == 3
            driver.plan(total)
        found = driver.first_epoch, driver.stopped, driver.run.state.plan.total, str(driver.run.history)
        driver.end(KeyboardInterrupt())
        return found

    assert resumed(later=True) == resumed(later=False)


def test_without_a_resume_no_epoch_is_done() -> None:
    driver = RunDriver(verbose=0)
    driver.begin(plans_later=True)
    driver.plan(4)

    assert (driver.epochs_done, driver.first_epoch, driver.run.state.plan.total) == (0, 0, 4)
    driver.end()
    driver.plan(9)
    assert driver.run.state.plan.total == 4


def test_the_state_is_refused_inside_of_a_batch_only() -> None:
    """A run that continues from there would not know whether the weights were updated; at each event it does."""
    states: list[dict[str, Any]] = []

    class Keeps:
        @hookimpl
        def on_batch_begin(self, run: Run) -> None:
            states.append(run.state_dict())

        @hookimpl
        def on_batch_end(self, run: Run) -> None:
            states.append(run.state_dict())

    driver = begun(Keeps(), batches=2)
    driver.begin_epoch()
    for _ in range(2):
        assert not driver.in_batch
        driver.begin_batch()
        assert driver.in_batch
        with pytest.raises(LoopError, match=r"state_dict\(\) inside of a batch.*when the batch or the epoch has ended"):
            driver.run.state_dict()
        driver.end_batch({"loss": 1.0})
    driver.begin_batch()  # the framework leaves the epoch in it
    driver.end_epoch()
    driver.run.state_dict()
    driver.begin_epoch()
    driver.run.state_dict()

    assert [state["entry"]["step"] for state in states] == [0, 1, 1, 2, 2]
