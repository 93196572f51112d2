"""Functions are hooks without a class, with every framework."""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import numpy as np
import pytest
import torch
from sklearn.linear_model import SGDClassifier

from trainbus import LambdaCallback, LoopError, Run, SettingsError, decision, listens_to
from trainbus.adapters.keras import KerasCallback
from trainbus.adapters.sklearn import partial_fit
from trainbus.adapters.torch import TorchSubject
from trainbus.hooks import HOOKS
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import LineSubject, scripted


def train(*callbacks: Any, epochs: int = 3, **options: Any) -> Run:
    with Run(LineSubject(), callbacks, verbose=0, **options) as run:
        for epoch in run.epochs(epochs):
            for _ in run.batches(range(2)):
                run.log(loss=1 / (epoch + 1))
            with run.validation():
                run.log(loss=2.0)
    return run


def test_every_hook_may_be_a_function() -> None:
    """Without arguments; each is called as that of a class would be."""
    called: list[str] = []

    def note(hook: str) -> Any:
        return lambda: called.append(hook)

    saver = ModelCheckpoint("run/{epoch}", background=False)
    with (
        pytest.raises(ZeroDivisionError),
        Run(LineSubject(), [LambdaCallback(**{each: note(each) for each in HOOKS}), saver]) as run,
    ):
        for epoch in run.epochs(2):
            for _ in run.batches(range(1)):
                run.log(loss=1.0)
            with run.validation():
                run.log(loss=1.0)
            assert epoch == 0 or 1 / 0

    assert set(called) == set(HOOKS) - {"on_checkpoint_error"}
    assert called[0] == "on_train_begin"
    assert called.count("on_batch_end") == 2


class Holder:
    """An object with functions of every kind."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def method(self, metrics: Any, epoch: int) -> None:
        self.seen.append((epoch, metrics["loss"]))

    def __call__(self, epoch: int, metrics: Any) -> None:
        self.seen.append((epoch, metrics["loss"]))

    def with_more(self, more: float, epoch: int, metrics: Any) -> None:
        self.seen.append((epoch, metrics["loss"] * more))

    @staticmethod
    def static(seen: list[Any], epoch: int, metrics: Any) -> None:
        seen.append((epoch, metrics["loss"]))


@pytest.mark.parametrize(
    "function",
    [
        lambda held: lambda epoch, metrics: held.seen.append((epoch, metrics["loss"])),
        lambda held: lambda metrics, epoch: held.seen.append((epoch, metrics["loss"])),
        lambda held: lambda epoch, metrics, more=1: held.seen.append((epoch, metrics["loss"] * more)),
        lambda held: lambda epoch, *, metrics: held.seen.append((epoch, metrics["loss"])),
        lambda held: lambda epoch, metrics, /: held.seen.append((epoch, metrics["loss"])),
        lambda held: lambda epoch=7, metrics=None: held.seen.append((epoch, metrics["loss"])),
        lambda held: lambda run, metrics: held.seen.append((run.epoch, metrics["loss"])),
        lambda held: held.method,
        lambda held: held,
        lambda held: functools.partial(held.with_more, 1),
        lambda held: functools.partial(Holder.static, held.seen),
    ],
    ids=[
        "lambda",
        "order",
        "default",
        "keyword",
        "positional",
        "defaults",
        "run",
        "method",
        "object",
        "partial",
        "static",
    ],
)
def test_any_function_gets_the_arguments_that_it_names(function: Any) -> None:
    """In any order, positional or by keyword; what the hook does not have keeps its default."""
    held = Holder()
    train(LambdaCallback(on_epoch_end=function(held)))

    assert held.seen == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


@pytest.mark.parametrize(
    ("functions", "why"),
    [
        ({"on_epoch_finish": print}, "LambdaCallback: on_epoch_finish: no such hook; did you mean 'on_"),
        ({"on_epoch_edn": print}, "on_epoch_edn: no such hook; did you mean 'on_epoch_end'? hooks: on_train_begin"),
        ({"on_train_batch_end": lambda: 0}, "on_train_batch_end: no such hook; write on_batch_end"),
        ({"on_test_begin": lambda: 0}, "on_test_begin: no such hook; write on_validation_begin"),
        ({"on_epoch_end": lambda epoch, logs: 0}, "on_epoch_end: no argument 'logs'; take metrics"),
        (
            {"on_epoch_end": lambda epohc: 0},
            "no argument 'epohc'; did you mean 'epoch'? arguments: run, epoch",
        ),
        ({"on_epoch_begin": lambda metrics: 0}, "on_epoch_begin: no argument 'metrics'"),
        ({"on_train_end": lambda trainer: 0}, "on_train_end: no argument 'trainer'; take run"),
        ({"on_epoch_end": lambda **values: 0}, "on_epoch_end takes **values; name the arguments: run, epoch, metrics"),
        ({"on_epoch_end": print}, "on_epoch_end takes *args; name the arguments"),
        ({"on_epoch_end": 3}, "on_epoch_end=3: give a function"),
        ({"on_epoch_end": dict}, "give a function"),
        ({"on_epoch_end": math.hypot}, "on_epoch_end"),
        ({}, "LambdaCallback has no function; write LambdaCallback(on_epoch_end="),
        ({"on_epoch_end": None}, "LambdaCallback has no function"),
        ({"critical": 1, "on_epoch_end": lambda: 0}, "critical=1: give True or False"),
    ],
)
def test_what_cannot_be_called_is_refused_when_it_is_made(functions: dict[str, Any], why: str) -> None:
    """Before any run, with the nearest right name."""
    with pytest.raises(SettingsError) as raised:
        LambdaCallback(**functions)

    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_decision_is_executed_with_the_name_of_the_plugin() -> None:
    """Like one of a class; None is no decision."""
    cut = LambdaCallback(on_epoch_end=lambda epoch: decision.scale_learning_rate(0.5) if epoch == 1 else None)
    stop = LambdaCallback(on_batch_end=lambda step: decision.stop("enough") if step == 5 else None)
    run = train(cut, stop, epochs=9)

    assert run.history["learning_rate"] == [0.5, 0.5, 0.25]
    assert [action.by for _, each in run.result.decisions for action in each] == ["LambdaCallback", "LambdaCallback-2"]


def test_what_is_neither_none_nor_a_decision_is_an_error() -> None:
    with pytest.raises(LoopError, match=r"LambdaCallback returned 1.0 from on_epoch_end; return a Decision or None"):
        train(LambdaCallback(on_epoch_end=lambda metrics: metrics["loss"]))


@pytest.mark.parametrize("critical", [True, False])
def test_an_error_ends_the_run_unless_the_functions_only_observe(critical: bool) -> None:
    """It names the plugin and the hook."""
    callback = LambdaCallback(critical=critical, on_epoch_end=lambda: 1 / 0, on_train_end=lambda: None)
    if critical:
        with pytest.raises(ZeroDivisionError) as raised:
            train(callback)
        assert raised.value.__notes__ == ["raised in on_epoch_end by the plugin 'LambdaCallback'"]
    else:
        first = train(callback).failures[0]
        assert str(first) == "LambdaCallback in on_epoch_end: ZeroDivisionError: division by zero"


def test_one_object_serves_several_runs_but_not_one_run_twice() -> None:
    seen: list[int] = []
    callback = LambdaCallback(on_epoch_end=lambda epoch: seen.append(epoch + 0))
    assert repr(callback) == "LambdaCallback(on_epoch_end)"
    for _ in range(2):
        train(callback, epochs=2)
    assert seen == [0, 1, 0, 1]
    with pytest.raises(SettingsError, match="list each plugin object once"):
        Run(callbacks=[callback, callback])


def test_functions_listen_to_events_of_the_loop() -> None:
    """They are marked, and may stand beside those of hooks."""
    seen: list[Any] = []
    every_second = listens_to("drawn", every=2)(lambda count, text: seen.append((count, text)))
    with Run(callbacks=LambdaCallback(every_second, on_train_end=lambda: seen.append("end"))) as run:
        for number in range(5):
            run.emit("drawn", text=f"text {number}")

    assert seen == [(2, "text 1"), (4, "text 3"), "end"]


@pytest.mark.parametrize("listener", [print, lambda: None, 3, "drawn", EarlyStopping()])
def test_a_function_without_a_mark_is_refused(listener: Any) -> None:
    with pytest.raises(
        SettingsError, match=r"give a hook by name, as in on_epoch_end=\.\.\., or mark the function of an"
    ):
        LambdaCallback(listener)


def test_loops_without_batch_functions_report_no_batches() -> None:
    """A function of another hook costs a batch nothing."""
    assert not Run(callbacks=[LambdaCallback(on_epoch_end=lambda: None)]).has_batch_listeners
    assert Run(callbacks=[LambdaCallback(on_batch_end=lambda: None)]).has_batch_listeners


def test_it_works_beside_callbacks_and_after_a_resume() -> None:
    """It has no state, so nothing about it is compared."""
    seen: list[int] = []
    saver = ModelCheckpoint("run/{epoch}", background=False)
    train(LambdaCallback(on_epoch_end=lambda epoch: seen.append(epoch + 0)), saver, epochs=2)
    run = train(
        LambdaCallback(on_epoch_end=lambda epoch: seen.append(epoch + 0)),
        EarlyStopping(),
        saver,
        epochs=4,
        resume="auto",
    )

    assert seen[:2] == [0, 1]
    assert seen[2:] == list(range(2, run.result.epochs))


@pytest.mark.parametrize("framework", ["keras", "torch", "sklearn", "none"])
def test_the_same_functions_serve_every_framework(framework: str) -> None:
    """They get the same events, and their stop ends the training."""
    seen: list[Any] = []

    def end(epoch: int, metrics: Any) -> Any:
        seen.append((epoch, "loss" in metrics))
        return decision.stop("two are enough") if epoch == 1 else None

    callbacks = [LambdaCallback(on_epoch_end=end, on_train_end=lambda run: seen.append(run.result.reason))]
    x, y = np.zeros((4, 1)), np.array([0, 1, 0, 1])
    if framework == "keras":
        model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(x, y, epochs=5, verbose=0, callbacks=[KerasCallback(callbacks)])
    elif framework == "torch":
        module = torch.nn.Linear(1, 1)
        with Run(TorchSubject(module, torch.optim.SGD(module.parameters(), lr=0.1)), callbacks) as run:
            for _ in run.epochs(5):
                run.log(loss=1.0)
    elif framework == "sklearn":
        partial_fit(SGDClassifier(), x, y, epochs=5, callbacks=callbacks)
    else:
        scripted([{"loss": 1.0}] * 5, callbacks)

    assert seen == [(0, True), (1, True), "two are enough"]
