"""A run that ends without a file of its ModelCheckpoint says so, and why."""

from math import inf, nan
from typing import Any

import pytest

from trainbus import Run
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import LineSubject

from .saved_files import on_disk

NEVER = "was never written"


def train(callbacks: Any, values: list[float | None], **options: Any) -> Run:
    with Run(LineSubject(), callbacks, verbose=0, **options) as run:
        for epoch in run.epochs(len(values)):
            for _ in run.batches(range(4)):
                run.log(loss=1.0)
            run.log(val_loss=values[epoch])
    return run


NOT_FINITE = "no val_loss was a finite number"


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    ("options", "values", "why"),
    [
        ({"keep": 1}, [nan, nan, nan], NOT_FINITE),
        ({"keep": 3, "save_last": True}, [inf, -inf], NOT_FINITE),
        ({"save_best_only": True}, [nan], NOT_FINITE),
        ({"save_best_only": True, "keep_last": 2}, [None, nan, inf], NOT_FINITE),
        ({"keep": 2, "save_on": "end"}, [nan, None], NOT_FINITE),
        (
            {"save_best_only": True, "initial_value_threshold": 2.0},
            [2.0, nan, 2.0],
            f"{NOT_FINITE} better than initial_value_threshold=2.0",
        ),
        ({"save_freq": "9 minutes", "keep_last": 2}, [3.0, 2.0], "save_freq='9 minutes' was never due"),
    ],
)
def test_one_line_says_why(
    options: Any, values: list[float | None], why: str, mode: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if the files with fixed names were written."""
    train(ModelCheckpoint("m-{epoch}-{step}", mode=mode, **options), values)

    assert caplog.messages == [f"ModelCheckpoint: filepath='m-{{epoch}}-{{step}}' {NEVER}: {why}"]
    assert on_disk() <= {"last", "end"}


@pytest.mark.parametrize(
    "options",
    [
        {"save_freq": 100},
        {"save_freq": "9 steps", "save_last": True},
        {"save_freq": "3 epochs", "keep": 2},
        {"save_freq": "50 epochs", "save_on": "end"},
        {"save_freq": "9 batches", "save_best_only": True},
        {"save_freq": "3 epochs", "save_on": ("signal", "exception")},
    ],
)
def test_a_callback_that_can_never_save_is_named_once(options: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Before the training; another one that saves nothing is named at its end, also by the same run."""
    other = ModelCheckpoint("other-{epoch}", save_best_only=True, save_on=())
    train([ModelCheckpoint("m-{epoch}-{step}", **options), other], [nan, nan])
    first, second = caplog.messages
    assert first.startswith("ModelCheckpoint: it never saves to filepath='m-{epoch}-{step}': save_freq=")
    assert second == f"ModelCheckpoint: filepath='other-{{epoch}}' {NEVER}: {NOT_FINITE}"


@pytest.mark.parametrize("options", [{"save_freq": "9 steps"}, {"save_freq": "3 epochs"}, {"save_freq": 9}])
@pytest.mark.parametrize("known", [False, True])
def test_a_loop_of_unknown_length_names_it_at_its_end(
    options: Any, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop that is left before its planned end names it there, too, unless the plan was too short."""
    with Run(LineSubject(), ModelCheckpoint("m-{epoch}", **options), verbose=0) as run:
        for epoch in run.epochs(9 if known else None):
            for _ in run.batches(range(4)):
                run.log(loss=1.0)
            run.log(val_loss=1.0)
            if epoch == 1:
                break
    value = options["save_freq"]
    assert caplog.messages == [f"ModelCheckpoint: filepath='m-{{epoch}}' {NEVER}: save_freq={value!r} was never due"]


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({"keep": 1}, [nan, 1.0, nan]),
        ({"keep": 1, "keep_last": 1}, [nan, nan]),
        ({}, [nan]),
        ({"save_best_only": True, "initial_value_threshold": 2.0}, [3.0, 1.0]),
        ({"save_freq": "2 epochs"}, [1.0, 2.0, 3.0]),
        ({"save_freq": "8 steps"}, [1.0, 2.0]),
        ({"keep": 1}, []),
    ],
)
def test_a_run_that_saved_or_had_no_epoch_says_nothing(
    options: Any, values: list[float | None], caplog: pytest.LogCaptureFixture
) -> None:
    train(ModelCheckpoint("m-{epoch}", mode="min", **options), values)

    assert NEVER not in caplog.text


def test_each_callback_and_a_stopped_run_say_it(caplog: pytest.LogCaptureFixture) -> None:
    callbacks = [
        ModelCheckpoint("a/best", save_best_only=True),
        ModelCheckpoint("b/m-{epoch}", keep_last=1),
        ModelCheckpoint("c/m-{step}", save_freq="900 minutes"),
        EarlyStopping(patience=2),
    ]
    train(callbacks, [nan] * 9)

    assert [each.split("'")[1] for each in caplog.messages if NEVER in each] == ["a/best", "c/m-{step}"]


def test_a_run_that_ends_by_an_error_or_was_resumed_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The error is what the user must see; an earlier run has saved what this one continues."""
    callbacks = [ModelCheckpoint("a/best", save_best_only=True), ModelCheckpoint("b/m-{epoch}")]
    with pytest.raises(ZeroDivisionError), Run(LineSubject(), callbacks, verbose=0) as run:
        for _ in run.epochs(2):
            run.log(val_loss=nan)
            if run.state.epochs_finished:
                raise ZeroDivisionError
    train(callbacks, [nan] * 3, resume="auto")

    assert NEVER not in caplog.text
