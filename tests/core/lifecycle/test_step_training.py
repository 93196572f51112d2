"""Loops by steps: they count validations and steps, and a resumed run goes on as the unbroken one."""

from __future__ import annotations

import itertools
import logging
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler
from torchdata.stateful_dataloader import StatefulDataLoader

from trainbus import Callback, LoopError, MissingMetric, Run, SettingsError, hookimpl
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import (
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from trainbus.testing import LineSubject

ROWS: Any = torch.arange(7.0).unsqueeze(1)


def draw() -> Any:
    """A batch that depends on the global generator alone."""
    return torch.rand(2, 1)


def drawn() -> Iterator[Any]:
    while True:
        yield draw()


LOADERS: dict[str, Callable[[], Any]] = {
    "shuffled": lambda: DataLoader(ROWS, batch_size=2, shuffle=True),
    "own generator": lambda: DataLoader(ROWS, batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(3)),
    "stateful": lambda: StatefulDataLoader(ROWS, batch_size=2, shuffle=True),
    "distributed": lambda: DataLoader(ROWS, batch_size=2, sampler=DistributedSampler(ROWS, 1, 0)),
    "list": lambda: [*ROWS.split(2)],
    "function": lambda: draw,
    "generator": drawn,
}


class Killed(BaseException):
    """The process dies."""


def train(
    make: Callable[[], Any],
    callbacks: list[Any],
    *,
    steps: int = 12,
    validate_every: int = 5,
    accumulate: int | None = 1,
    die_at: int | None = None,
    resume: str | None = None,
) -> tuple[Run, list[Any]]:
    """Train as a new process would; return the run, and the batches with their steps."""
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    seen: list[Any] = []
    with Run(TorchSubject(model, optimizer), callbacks, verbose=0, resume=resume) as run:
        for batch in run.steps(make(), steps, validate_every=validate_every, accumulate=accumulate):
            if len(seen) == die_at:
                raise Killed
            seen.append((run.step, batch.tolist()))
            loss = ((model(batch) - 2 * batch) ** 2).mean()
            loss.backward()
            if (run.batch + 1) % (accumulate or 1) == 0:
                optimizer.step()
                optimizer.zero_grad()
            if accumulate is None:
                run.step += 1
            run.log(loss=loss)
            if run.validation_due:
                with run.validation():
                    run.log(loss=((model(ROWS) - 2 * ROWS) ** 2).mean() + random.random() / 10)
    return run, [*seen, (run.step, [each.tolist() for each in model.parameters()])]


FREQUENCIES = ["epoch", "validation", "1 step", "3 steps", "25%", 2]


@pytest.mark.filterwarnings("ignore:'set_vital'")  # torchdata calls it
@given(
    st.sampled_from(sorted(LOADERS)),
    st.integers(1, 14),
    st.integers(1, 6),
    st.sampled_from([1, 2, None]),
    st.sampled_from(FREQUENCIES),
    st.sampled_from(["epoch", "validation", "2 steps"]),
    st.integers(0, 14),
)
def test_a_resumed_loop_goes_on_as_the_unbroken_one(
    kind: str, steps: int, every: int, accumulate: int | None, save_freq: Any, looks: str, die_at: int
) -> None:
    """With the next batch, in whichever pass over the loader it is; with the same history, decisions and weights."""
    shutil.rmtree("run", ignore_errors=True)

    def callbacks() -> list[Any]:
        return [
            ModelCheckpoint("run/m-{step}", save_freq=save_freq, keep_last=2, background=False),
            EarlyStopping(patience=3, every=looks),
            ReduceLROnPlateau(patience=1, every=looks),
        ]

    options: dict[str, Any] = {"steps": steps, "validate_every": every, "accumulate": accumulate}
    whole, unbroken = train(LOADERS[kind], callbacks(), **options)
    shutil.rmtree("run")
    try:
        train(LOADERS[kind], callbacks(), die_at=die_at, **options)
    except Killed:
        resumed, rest = train(LOADERS[kind], callbacks(), resume="auto", **options)
        first = len(unbroken) - len(rest)
        assert 0 <= first <= die_at
        assert rest == unbroken[first:]
        assert resumed.history == whole.history
        assert str(resumed.result).splitlines()[:2] == str(whole.result).splitlines()[:2]
        assert resumed.result.decisions == whole.result.decisions


@given(st.integers(0, 20), st.integers(1, 7), st.integers(1, 6), st.integers(1, 3))
def test_validations_are_at_multiples_and_at_the_last_step(steps: int, every: int, rows: int, accumulate: int) -> None:
    """The loader begins again as often as needed; history counts steps and validations."""
    trained, due = 0, []
    with Run() as run:
        for _ in run.steps(range(rows), steps, validate_every=every, accumulate=accumulate):
            trained += 1
            run.log(loss=float(trained))
            if run.validation_due:
                assert trained % accumulate == 0
                with run.validation():
                    due.append(run.step)  # the batch is counted before its validation
                    run.log(loss=0.5)

    expected = sorted({*range(every, steps + 1, every), steps} - {0})
    assert (trained, run.step, due) == (steps * accumulate, steps, expected)
    assert run.history.get("step", []) == expected
    assert run.history.get("val_loss", []) == [0.5] * len(expected)
    assert (run.result.epochs, run.result.steps, run.history.epochs) == (len(expected), steps, [])
    assert run.result.reason == ("all steps done" if steps else "the loop ended")


class Names(Callback):
    """Notes every event with its number."""

    def plugin(self) -> object:
        return _Names()


class _Names:
    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    @hookimpl
    def on_epoch_begin(self, run: Run) -> None:
        self.seen.append(("begin", run.step))

    @hookimpl
    def on_batch_end(self, step: int) -> None:
        self.seen.append(("batch", step))

    @hookimpl
    def on_validation_end(self, run: Run) -> None:
        self.seen.append(("validation", run.step))

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        self.seen.append(("end", run.step))


def test_the_hooks_see_intervals() -> None:
    """From one validation to the next; the last batch of an interval ends after its validation, with its values."""
    with Run(None, Names(), verbose=0) as run:
        for _ in run.steps("abc", 3, validate_every=2):
            run.log(loss=1.0)
            if run.validation_due:
                with run.validation():
                    run.log(loss=1.0)
    plugin: Any = run.plugins["Names"]
    assert plugin.seen == [
        *[("begin", 0), ("batch", 1), ("validation", 2), ("batch", 2), ("end", 2)],
        *[("begin", 2), ("validation", 3), ("batch", 3), ("end", 3)],
    ]


def test_nothing_that_is_printed_speaks_of_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines, decisions, the result, the reason of a stop."""
    values = iter([3.0, 2.0, 2.5, 2.6, 2.7, 2.8])
    callbacks = [
        ModelCheckpoint("m-{step}", save_best_only=True),
        EarlyStopping(patience=3),
        ReduceLROnPlateau(patience=2, factor=0.5),
    ]
    with Run(LineSubject(), callbacks, verbose=2) as run:
        for _ in run.steps(range(4), 60, validate_every=10):
            if run.validation_due:
                with run.validation():
                    run.log(loss=next(values))
    with Run(LineSubject(), callbacks, verbose=2, resume="m-20.npz") as run:
        for _ in run.steps(range(4), 30, validate_every=10):
            if run.validation_due:
                with run.validation():
                    run.log(loss=1.0)
    shown = capsys.readouterr().out + str(run.result)
    assert "epoch" not in shown.lower()
    assert "Step 20/60 - " in shown
    assert "Step 50: early stopping: val_loss 2.7 did not improve on 2 (step 20) for the 3rd time" in shown
    assert "Resumed from m-20.npz: step 20\nStep 30/30 - " in shown
    assert "30 steps, 3 validations: all steps done\nbest val_loss: 1 at step 30" in shown


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_data_frame_has_the_steps(library: Any) -> None:
    """In place of the epochs."""
    pytest.importorskip(library)
    with Run() as run:
        for _ in run.steps(range(2), 5, validate_every=3):
            run.log(loss=1.0)
    frame = run.history.frame(library)
    steps = frame.index if library == "pandas" else frame["step"]
    assert ([*steps], [*frame.columns]) == ([3, 5], ["loss"] if library == "pandas" else ["step", "loss"])


# --- the data


def test_samplers_learn_which_pass_begins() -> None:
    """As in a loop over epochs with set_epoch, so that each pass has another order."""
    sampler = DistributedSampler(range(8), 1, 0, shuffle=True)  # type: ignore[var-annotated,arg-type]
    with Run() as run:
        seen = [int(batch) for batch in run.steps(DataLoader(range(8), sampler=sampler), 24, validate_every=5)]  # type: ignore[arg-type]
    for number in range(3):
        sampler.set_epoch(number)
        assert seen[8 * number : 8 * number + 8] == [*sampler]


def test_a_loader_that_ends_for_good_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """What was trained since the last validation counts; no validation is due that the loop could not see."""
    batches = iter(range(7))
    with Run(LineSubject(), EarlyStopping(patience=9)) as run:
        for _ in run.steps(batches, 20, validate_every=3):
            run.log(loss=1.0)
            if run.validation_due:
                with run.validation():
                    run.log(loss=1.0)
    assert "the loader has no more batches after 7 steps of 20; give one that begins again" in caplog.text
    assert run.history["step"] == [3, 6, 7]
    assert run.history["val_loss"] == [1.0, 1.0, None]
    assert run.result.reason == "the loop ended"


@pytest.mark.parametrize("rows", [0, 3, 6])
def test_nothing_is_recorded_of_an_interval_without_batches(rows: int, caplog: pytest.LogCaptureFixture) -> None:
    """Of a loader that is empty, or has ended with the last interval."""
    with Run() as run:
        for _ in run.steps(iter(range(rows)), 20, validate_every=3):
            run.log(loss=1.0)
    assert run.history.get("step", []) == [*range(3, rows + 1, 3)]
    assert f"no more batches after {rows} steps" in caplog.text


def test_a_generator_that_a_new_process_makes_again_is_drawn_from_again(caplog: pytest.LogCaptureFixture) -> None:
    """Which is reported, since it may take long."""
    saver = ModelCheckpoint("run/m-{step}", save_freq="1 step", background=False)
    with pytest.raises(Killed):
        train(drawn, [saver], die_at=7)
    train(drawn, [saver], resume="auto")
    assert "7 batches are drawn again from the generator" in caplog.text
    shutil.rmtree("run")
    caplog.clear()
    with pytest.raises(Killed):
        train(lambda: draw, [saver], die_at=7)
    train(lambda: draw, [saver], resume="auto")
    assert "drawn again" not in caplog.text


# --- going on


def test_more_steps_go_on_from_the_end() -> None:
    """As with epochs: a finished run stays finished, and trains on with a larger number."""
    saver = ModelCheckpoint("run/m-{step}", background=False)
    train(LOADERS["list"], [saver], steps=10)
    again, seen = train(LOADERS["list"], [saver], steps=10, resume="auto")
    assert (again.history["step"], len(seen)) == ([5, 10], 1)
    longer, rest = train(LOADERS["list"], [saver], steps=18, resume="auto")
    _, whole = train(LOADERS["list"], [], steps=18)
    assert longer.history["step"] == [5, 10, 15, 18]
    assert [each for each, _ in rest] == [*range(10, 19)]
    assert [batch for _, batch in rest[:-1]] == [batch for _, batch in whole[10:-1]]


def test_the_rest_of_a_decision_is_executed_in_the_words_of_the_loop(capsys: pytest.CaptureFixture[str]) -> None:
    """Before the loop begins; here the stop that came after the save."""
    stop = EarlyStopping(patience=1, monitor="loss")
    with Run(LineSubject(), [ModelCheckpoint("m-{step}", background=False), stop], verbose=0) as run:
        for _ in run.steps(range(3), 9, validate_every=3):
            run.log(loss=1.0)
    for end in Path().glob(".trainbus-end.json"):
        end.unlink()
    with Run(LineSubject(), [ModelCheckpoint("m-{step}", background=False), stop], verbose=2, resume="auto") as run:
        for _ in run.steps(range(3), 9, validate_every=3):
            run.log(loss=1.0)
    shown = capsys.readouterr().out
    assert "epoch" not in shown.lower()
    assert "step 6" in shown


def test_what_was_trained_after_the_last_save_is_named_in_steps(caplog: pytest.LogCaptureFixture) -> None:
    """When the record of the run's end is newer than its last checkpoint."""
    saver = ModelCheckpoint("run/m-{step}", save_freq="10 steps", background=False)
    train(LOADERS["list"], [saver], steps=15)
    train(LOADERS["list"], [saver], steps=20, resume="auto")
    assert "steps 11 to 15 are trained again: nothing newer was saved" in caplog.text


def test_another_interval_begins_at_the_present_step() -> None:
    """Of a run that is resumed with another ``validate_every``; multiples count over the whole run."""
    saver = ModelCheckpoint("run/m-{step}", save_freq="1 step", background=False)
    with pytest.raises(Killed):
        train(LOADERS["list"], [saver], validate_every=10, steps=20, die_at=7)
    run, _ = train(LOADERS["list"], [saver], validate_every=3, steps=20, resume="auto")
    assert run.history["step"] == [9, 12, 15, 18, 20]


@pytest.mark.parametrize("first", ["epochs", "steps"])
def test_a_checkpoint_of_the_other_loop_is_refused(first: str) -> None:
    """Its numbers count something else."""

    def loop(kind: str, resume: str | None) -> None:
        saver = ModelCheckpoint("run/m-{step}", background=False)
        with Run(LineSubject(), saver, verbose=0, resume=resume) as run:
            if kind == "steps":
                for _ in run.steps(range(3), 4, validate_every=2):
                    run.log(loss=1.0)
            else:
                for _ in run.epochs(2):
                    for _ in run.batches(range(3)):
                        run.log(loss=1.0)

    loop(first, None)
    was = "over epochs; write run.epochs" if first == "epochs" else "by steps; write run.steps"
    with pytest.raises(SettingsError, match=f"^resume='auto': the checkpoint is of a loop {was}"):
        loop("steps" if first == "epochs" else "epochs", "auto")


def test_a_training_of_elsewhere_goes_on_at_its_step() -> None:
    """``start`` has a step, and no epoch."""
    with Run(None, start={"step": 7}) as run:
        assert len([*run.steps(range(3), 12, validate_every=5)]) == 5
    assert run.history["step"] == [10, 12]
    with (
        pytest.raises(SettingsError, match=r"^start: 'epoch': 2: a loop by steps has no epochs; give 'step'"),
        Run(None, start={"epoch": 2}) as run,
    ):
        run.steps(range(3), 12, validate_every=5)


# --- stops


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6])
def test_a_stop_in_the_middle_needs_no_validation(at: int) -> None:
    """The steps since the last validation count, and a monitored metric is not missed."""
    with Run(None, EarlyStopping(patience=9), verbose=0) as run:
        for _ in run.steps(range(2), 9, validate_every=3):
            run.log(loss=1.0)
            if run.validation_due:
                with run.validation():
                    run.log(loss=1.0)
            if run.step + (not run.validation_due) == at:
                run.stop("enough")
    assert (run.step, run.history["step"][-1], run.result.reason) == (at, at, "enough")


def test_a_loop_that_is_left_ends_its_interval() -> None:
    """As one over epochs."""
    with Run(None, EarlyStopping(), verbose=0) as run:
        for _ in run.steps(range(2), 9, validate_every=3):
            run.log(loss=1.0)
            if run.validation_due:
                with run.validation():
                    run.log(loss=1.0)
            if run.step == 4:
                break
    assert run.history["step"] == [3, 4]
    assert run.result.reason == "the loop was left at step 4"


def test_nan_is_named_by_its_batch() -> None:
    """The reason says before which validation it was."""
    with Run(None, TerminateOnNaN(), verbose=0) as run:
        for number, _ in enumerate(run.steps(range(2), 9, validate_every=3)):
            run.log(loss=float("nan") if number == 4 else 1.0)
    assert run.result.reason == "loss is nan in batch 2 of the steps before validation 2"


# --- misuse


@pytest.mark.parametrize(
    ("callback", "problem"),
    [
        (EarlyStopping(min_epochs=3), "EarlyStopping: min_epochs=3: a loop by steps has no epochs; give min_steps"),
        (EarlyStopping(start_from_epoch=1), "EarlyStopping: start_from_epoch=1: .*; give min_steps"),
        (EarlyStopping(every="2 epochs"), "EarlyStopping: every='2 epochs': .*; give steps"),
        (ReduceLROnPlateau(every="5 epochs from 0"), "ReduceLROnPlateau: every=.*; give steps"),
        (ModelCheckpoint("m-{epoch}"), "ModelCheckpoint: filepath='m-{epoch}': .*; write {step} in place of {epoch}"),
        (ModelCheckpoint("m-{epoch0:02d}-{step}"), "filepath=.*; write {step} in place of {epoch0}"),
        (ModelCheckpoint("m", save_last="l-{epoch}"), "ModelCheckpoint: save_last='l-{epoch}': .*; write {step}"),
        (ModelCheckpoint("m", save_on={"end": "e-{epoch0}"}), "save_on end='e-{epoch0}': .*; write {step}"),
        (ModelCheckpoint("m", save_freq="3 epochs"), "ModelCheckpoint: save_freq='3 epochs': .*; give steps"),
        (LearningRateScheduler(lambda epoch: 0.1), "LearningRateScheduler: schedule: a loop by steps has no epochs"),
    ],
)
def test_options_that_count_epochs_are_refused_before_training(callback: Callback, problem: str) -> None:
    """Each with what to write."""
    with pytest.raises(SettingsError, match=problem), Run(LineSubject(), callback, verbose=0) as run:
        run.steps(range(3), 5, validate_every=2)


@pytest.mark.parametrize("every", [2, 3, 7])
def test_a_validation_that_is_not_due_is_refused(every: int) -> None:
    """Its values would be taken for those of weights that it has not seen: loops that count from 0 validate so."""
    problem = rf"^a validation is not due here, with validate_every={every}: write `if run.validation_due:`"
    with pytest.raises(LoopError, match=problem), Run() as run:
        for number, _ in enumerate(run.steps(range(9), 9, validate_every=every)):
            if number % every == 0:
                with run.validation():
                    run.log(loss=1.0)


def test_a_metric_of_a_validation_that_never_is_is_missed() -> None:
    """The message says how to validate in this loop."""
    problem = r"'val_loss' is not logged; there was no validation when one was due: .* write `if run.validation_due:`"
    with pytest.raises(MissingMetric, match=problem), Run(None, EarlyStopping(), verbose=0) as run:
        for _ in run.steps(range(3), 5, validate_every=2):
            run.log(loss=1.0)


def test_a_second_loop_goes_on() -> None:
    """With the steps of the first; each has its own loader."""
    with Run() as run:
        first = [*run.steps(itertools.repeat("a"), 3, validate_every=2)]
        second = [*run.steps(itertools.repeat("b"), 6, validate_every=2)]
    assert (first, second, run.history["step"]) == (["a"] * 3, ["b"] * 3, [2, 3, 4, 6])


def test_a_run_without_an_end_goes_on_until_a_decision(caplog: pytest.LogCaptureFixture) -> None:
    """``steps`` may be left out."""
    caplog.set_level(logging.WARNING)
    with Run() as run:
        for _ in run.steps("ab", validate_every=4):
            if run.step == 9:
                run.stop("enough")
    assert (run.step, run.result.reason) == (10, "enough")


@pytest.mark.parametrize("rows", [0, 2, 5])
def test_a_function_that_ends_is_a_loader_that_ends(rows: int, caplog: pytest.LogCaptureFixture) -> None:
    """``lambda: next(batches)`` raises StopIteration."""
    batches = iter(range(rows))
    with Run() as run:
        seen = [*run.steps(lambda: next(batches), 20, validate_every=3)]
    assert seen == [*range(rows)]
    assert f"the loader has no more batches after {rows} step" in caplog.text


@pytest.mark.parametrize("validated", [0, 1, 3])
def test_a_validation_that_the_loop_does_not_make_is_reported_once(
    validated: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The rows of the history then have the metrics of the training only."""
    with Run(None, EarlyStopping(monitor="loss", patience=9), verbose=0) as run:
        for _ in run.steps(range(3), 6, validate_every=2):
            run.log(loss=1.0)
            if run.validation_due and run.step < 2 * validated:
                with run.validation():
                    run.log(loss=1.0)
    first = 2 * validated + 2
    line = f"run.steps(validate_every=2): no validation at step {first}; write `if run.validation_due:`"
    assert caplog.text.count("no validation at step") == (validated < 3)
    assert (line in caplog.text) == (validated < 3)
