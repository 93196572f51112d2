"""A callback that can never act in what is planned is reported in one line, before the training."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np
import pytest

from tests.core.distributed.threads import ThreadRanks, on_all
from trainbus import Callback, LambdaCallback, Run
from trainbus.adapters.keras import KerasCallback
from trainbus.adapters.sklearn import partial_fit
from trainbus.plugins import EarlyStopping, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import LineSubject

EPOCHS, BATCHES = 3, 10
STOP = "EarlyStopping: it never stops the training: "
LOOK = "EarlyStopping: it never looks at the metric: "
CUT = "ReduceLROnPlateau: it never cuts the learning rate"
SAVE = "ModelCheckpoint: it never saves to filepath='run/m-{epoch}': "
NEVER: list[tuple[Callback, str]] = [
    (EarlyStopping(start_from_epoch=50), f"{LOOK}start_from_epoch=50, but 3 epochs are planned"),
    (EarlyStopping(start_from_epoch=3, restore_best_weights=True), f"{LOOK}start_from_epoch=3, but 3 epochs are"),
    (EarlyStopping(min_epochs=4), f"{STOP}min_epochs=4, but 3 epochs are planned"),
    (EarlyStopping(every="50 epochs"), f"{LOOK}every='50 epochs', but 3 epochs are planned"),
    (EarlyStopping(every="4 epochs", restore_best_weights=True), f"{LOOK}every='4 epochs', but"),
    (EarlyStopping(patience=4), f"{STOP}patience=4 cannot run out, since 3 epochs are planned"),
    (EarlyStopping(patience=3, start_from_epoch=1), f"{STOP}patience=3 cannot run out"),
    (EarlyStopping(patience=2, every="2 epochs"), f"{STOP}patience=2 cannot run out with every='2 epochs'"),
    (EarlyStopping(min_epochs=9, check_finite=True), f"{STOP}min_epochs=9, but 3 epochs are planned"),
    (EarlyStopping(min_steps=31), f"{STOP}min_steps=31, but 30 steps are planned"),
    (EarlyStopping(every="31 steps", monitor="loss"), f"{LOOK}every='31 steps', but 30 steps are planned"),
    (EarlyStopping(every="31 batches", monitor="loss"), f"{LOOK}every='31 batches', but 30 batches are planned"),
    (ReduceLROnPlateau(patience=4), f"{CUT}: patience=4 cannot run out"),
    (ReduceLROnPlateau(patience=3, rule="torch"), f"{CUT}: patience=3 cannot run out"),
    (ReduceLROnPlateau(patience=1, every="9 epochs"), "ReduceLROnPlateau: it never looks at the metric: every="),
    (ReduceLROnPlateau(patience=1, min_lr=5.0), f"{CUT} unless the rate rises: min_lr is 5, but learning_rate begins"),
    (ReduceLROnPlateau(patience=1, min_lr={"learning_rate": 0.5}), f"{CUT} unless the rate rises: min_lr is 0.5, but"),
    (
        ReduceLROnPlateau(patience=1, eps=1.0),
        f"{CUT} unless the rate rises: eps is 1, but a cut of learning_rate, which",
    ),
    (ReduceLROnPlateau(patience=1, eps=0.45), f"{CUT} unless the rate rises: eps is 0.45, but a cut of learning_rate"),
    (ReduceLROnPlateau(patience=1, eps=0.25, factor=0.5), f"{CUT} unless the rate rises: eps is 0.25, but a cut of"),
    (ReduceLROnPlateau(patience=1, eps=0.3, min_lr=0.25), f"{CUT} unless the rate rises: eps is 0.3, but a cut of"),
    (
        ReduceLROnPlateau(patience=1, eps=0.3, groups=["learning_rate"], min_lr={"learning_rate": 0.4}),
        f"{CUT} unless the rate rises: eps is 0.3, but a cut of learning_rate, which begins with 0.5, is only 0.1",
    ),
    (ReduceLROnPlateau(patience=1, eps=9.0, min_lr=0.5), f"{CUT} unless the rate rises: min_lr is 0.5, but"),
    (ModelCheckpoint("run/m-{epoch}", save_freq="50 epochs"), f"{SAVE}save_freq='50 epochs', but 3 epochs are planned"),
    (ModelCheckpoint("run/m-{epoch}", save_freq="40 steps"), f"{SAVE}save_freq='40 steps', but 30 steps are planned"),
    (ModelCheckpoint("run/m-{epoch}", save_freq=31), f"{SAVE}save_freq=31, but 30 batches are planned"),
]
REL, CREEP = "min_delta_mode='rel'", "cumulative_delta=False"
UNUSED: list[tuple[Callback, str]] = [
    (
        EarlyStopping(min_delta_mode="rel", patience=1),
        f"EarlyStopping: {REL} has no effect without min_delta; give min",
    ),
    (
        EarlyStopping(cumulative_delta=False, patience=1),
        f"EarlyStopping: {CREEP} has no effect without min_delta; give",
    ),
    (EarlyStopping(min_delta=0.0, min_delta_mode="rel", patience=1), f"EarlyStopping: {REL} has no effect without min"),
    (EarlyStopping(min_delta=-0.0, cumulative_delta=False, patience=1), f"EarlyStopping: {CREEP} has no effect"),
    (ReduceLROnPlateau(min_delta=0, cumulative_delta=False, patience=1), f"ReduceLROnPlateau: {CREEP} has no effect"),
    (
        ReduceLROnPlateau(min_delta=0, min_delta_mode="rel", rule="torch", patience=1),
        f"ReduceLROnPlateau: {REL} has no",
    ),
    (
        EarlyStopping(min_delta_mode="rel", cumulative_delta=False, monitor=["val_loss", "loss"], patience=1),
        f"EarlyStopping: {REL} and {CREEP} have no effect without min_delta; give min_delta, or leave them out",
    ),
]
USED: list[Callback] = [
    EarlyStopping(min_delta=0.1, min_delta_mode="rel", cumulative_delta=False, patience=1),
    EarlyStopping(min_delta=-0.1, cumulative_delta=False, patience=1),
    EarlyStopping(min_delta_mode="abs", patience=1),
    ReduceLROnPlateau(rule="torch", patience=1),
    ReduceLROnPlateau(min_delta_mode="rel", patience=1),
    ReduceLROnPlateau(cumulative_delta=False, patience=1),
]
MAY: list[Callback] = [
    EarlyStopping(patience=3),
    EarlyStopping(patience=99, restore_best_weights=True),
    EarlyStopping(patience=99, stopping_threshold=0.1),
    EarlyStopping(patience=99, check_finite=True),
    EarlyStopping(start_from_epoch=2, min_epochs=3, min_steps=30),
    EarlyStopping(every="3 epochs"),
    EarlyStopping(every="3 epochs from 0"),
    EarlyStopping(every="30 steps", monitor="loss"),
    EarlyStopping(every="10%", patience=99),
    EarlyStopping(every="10 minutes", monitor="loss", patience=99),
    ReduceLROnPlateau(patience=3, min_lr=1e-6),
    ReduceLROnPlateau(patience=2, rule="torch"),
    ReduceLROnPlateau(patience=1, min_lr={"learning_rate": 0.49}),
    ReduceLROnPlateau(patience=1, eps=0.44),
    ReduceLROnPlateau(patience=1, eps=0.24, factor=0.5),
    ReduceLROnPlateau(patience=1, eps=0.2, min_lr=0.25),
    ModelCheckpoint("run/m-{epoch}", save_freq="3 epochs"),
    ModelCheckpoint("run/m-{epoch}", save_freq="30 steps"),
    LearningRateScheduler(lambda epoch: 0.1),
]


def trained(callbacks: Any, epochs: int | None = EPOCHS, subject: object = None, **options: Any) -> Run:
    with Run(subject or LineSubject(), callbacks, verbose=0, **options) as run:
        for epoch in run.epochs(epochs):
            for _ in run.batches(range(BATCHES)):
                run.log(loss=1.0 / (epoch + 1))
            run.log(val_loss=1.0 / (epoch + 1))
            if epoch + 1 == EPOCHS:
                break
    return run


def idle(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "it never" in each.getMessage()]


@pytest.mark.parametrize(("callback", "line"), NEVER)
def test_what_can_never_act_is_said_once(callback: Callback, line: str, caplog: pytest.LogCaptureFixture) -> None:
    run = trained([callback])
    (said,) = idle(caplog)
    assert said.startswith(line)
    assert len(run.history["loss"]) == EPOCHS


@pytest.mark.parametrize("callback", MAY)
def test_what_may_act_is_not(callback: Callback, caplog: pytest.LogCaptureFixture) -> None:
    trained([callback])
    assert idle(caplog) == []


@pytest.mark.parametrize(("callback", "line"), NEVER)
def test_nothing_is_said_where_the_plan_is_unknown(
    callback: Callback, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    trained([callback], epochs=None)
    assert all("unless the rate rises" in each for each in idle(caplog))


@pytest.mark.parametrize(("callback", "line"), NEVER)
def test_it_is_said_before_the_first_batch(callback: Callback, line: str, caplog: pytest.LogCaptureFixture) -> None:
    with Run(LineSubject(), [callback], verbose=0) as run:
        for _ in run.epochs(EPOCHS):
            for _ in run.batches(range(BATCHES)):
                assert len(idle(caplog)) == 1
                run.log(loss=1.0)
            run.log(val_loss=1.0)


def test_rank_0_says_it(caplog: pytest.LogCaptureFixture) -> None:
    def play(ranks: ThreadRanks) -> int:
        return len(trained([EarlyStopping(patience=9)], subject=TrainedByThreads(ranks)).history["loss"])

    assert on_all(3, play) == [EPOCHS] * 3
    assert len(idle(caplog)) == 1


class TrainedByThreads(LineSubject):
    """A model that several threads train together."""

    def __init__(self, ranks: ThreadRanks) -> None:
        super().__init__()
        self._ranks = ranks

    def ranks(self) -> ThreadRanks:
        return self._ranks


def test_each_callback_has_its_line(caplog: pytest.LogCaptureFixture) -> None:
    trained([EarlyStopping(patience=9), EarlyStopping(min_epochs=9, monitor="loss"), ReduceLROnPlateau(patience=9)])
    assert [each.partition(":")[0] for each in idle(caplog)] == [
        "EarlyStopping",
        "EarlyStopping-2",
        "ReduceLROnPlateau",
    ]


@pytest.mark.parametrize(
    ("callback", "line"),
    [
        (EarlyStopping(patience=5), "patience=5 cannot run out, since 4 validations are planned"),
        (EarlyStopping(patience=5, every="validation"), "patience=5 cannot run out with every='validation'"),
        (EarlyStopping(every="101 steps", monitor="loss"), "every='101 steps', but 100 steps are planned"),
        (EarlyStopping(min_steps=101), "min_steps=101, but 100 steps are planned"),
        (ModelCheckpoint("m-{step}", save_freq="500 steps"), "save_freq='500 steps', but 100 steps are planned"),
        (EarlyStopping(patience=4), ""),
        (EarlyStopping(min_steps=100), ""),
        (EarlyStopping(every="100 steps", monitor="loss"), ""),
    ],
)
def test_a_loop_by_steps_counts_validations(callback: Callback, line: str, caplog: pytest.LogCaptureFixture) -> None:
    with Run(LineSubject(), [callback], verbose=0) as run:
        for step in run.steps(range(7), 100, validate_every=30):
            assert len(idle(caplog)) == bool(line)
            run.log(loss=1.0 / (step + 1))
            if run.validation_due:
                with run.validation():
                    run.log(loss=1.0 / (step + 1))
    assert all(line in each for each in idle(caplog))


@pytest.mark.parametrize(
    ("callback", "count"),
    [
        (EarlyStopping(patience=4, monitor="loss"), 1),
        (EarlyStopping(min_steps=13, monitor="loss"), 1),
        (EarlyStopping(min_steps=12, monitor="loss"), 0),
        (ModelCheckpoint("m-{epoch}", save_freq="4 epochs"), 1),
        (ReduceLROnPlateau(monitor="loss", patience=1, min_lr=0.5), 1),
        (ReduceLROnPlateau(monitor="loss", patience=1), 0),
    ],
)
def test_keras_says_it_before_the_first_batch(callback: Callback, count: int, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    note = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: seen.append(len(idle(caplog))))
    model.fit(np.ones((8, 1)), np.ones((8, 1)), 2, EPOCHS, 0, callbacks=[KerasCallback([callback]), note])
    assert seen == [count] * 12


@pytest.mark.parametrize(
    ("callback", "count"),
    [(EarlyStopping(monitor="score", mode="max", patience=4), 1), (EarlyStopping(monitor="score", mode="max"), 0)],
)
def test_scikit_learn_says_it(callback: Callback, count: int, caplog: pytest.LogCaptureFixture) -> None:
    from sklearn.linear_model import SGDClassifier  # noqa: PLC0415

    x, y = np.arange(8.0).reshape(8, 1), np.arange(8) % 2
    partial_fit(SGDClassifier(), x, y, epochs=EPOCHS, validation_data=(x, y), callbacks=[callback])
    assert len(idle(caplog)) == count


def test_a_resumed_run_has_waited_before(caplog: pytest.LogCaptureFixture) -> None:
    """Of three epochs one is left, but the patience counts from the first; a rate may have been cut to its floor."""
    listed = [ModelCheckpoint("m"), EarlyStopping(patience=2), ReduceLROnPlateau(patience=2, min_lr=5.0, every="epoch")]
    with Run(LineSubject(), listed, verbose=0) as run:
        for _ in run.epochs(2):
            run.log(val_loss=1.0)
            break
    caplog.clear()
    with Run(LineSubject(), listed, verbose=0, resume="auto") as run:
        for _ in run.epochs(3):
            run.log(val_loss=1.0)
    assert idle(caplog) == []


@pytest.mark.parametrize(("first", "said"), [(0, 0), (1, 1)])
def test_epochs_before_the_first_do_not_count(first: int, said: int, caplog: pytest.LogCaptureFixture) -> None:
    with Run(LineSubject(), [EarlyStopping(patience=3)], verbose=0) as run:
        for _ in run.epochs(3, initial_epoch=first):
            run.log(val_loss=1.0)
    assert len(idle(caplog)) == said


def test_a_callback_of_ones_own_says_why(caplog: pytest.LogCaptureFixture) -> None:
    class Late(Callback):
        def idle_reason(self, planned: Any) -> str:
            return f"it never wakes: {planned.in_words()}"

        def plugin(self) -> object:
            return LambdaCallback(on_epoch_end=lambda epoch: None)

    with caplog.at_level(logging.WARNING):
        trained([Late()])
    assert idle(caplog) == ["Late: it never wakes: 3 epochs are planned"]


@pytest.mark.parametrize(("callback", "line"), UNUSED)
@pytest.mark.parametrize("epochs", [3, None])
def test_options_without_an_effect_are_named_before_the_first_epoch(
    callback: Callback, line: str, epochs: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, also in a loop of unknown length."""
    with Run(LineSubject(), callback) as run:
        for epoch in run.epochs(epochs):
            said = [each for each in caplog.messages if "no effect" in each]
            run.log(val_loss=1.0 / (epoch + 1), loss=1.0)
            if epoch == 1:
                break
    assert len(said) == 1
    assert said[0].startswith(line)
    assert [each for each in caplog.messages if "no effect" in each] == said


@pytest.mark.parametrize("callback", USED)
def test_options_with_an_effect_are_not_named(callback: Callback, caplog: pytest.LogCaptureFixture) -> None:
    with Run(LineSubject(), callback) as run:
        for _ in run.epochs(1):
            run.log(val_loss=1.0)
    assert "no effect" not in caplog.text
