"""Where a training had come before its run began."""

from decimal import Decimal
from fractions import Fraction
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainbus import Run, SettingsError
from trainbus.metrics.best_value import BestValue
from trainbus.metrics.origin import Origin
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.resume.script.start import origin_of
from trainbus.testing import LineSubject

START = {"epoch": 4, "step": 500, "best": {"acc": 71.0}}


@pytest.mark.parametrize(
    ("start", "why"),
    [
        ({"epochs": 4}, "unknown key 'epochs'; did you mean 'epoch'"),
        ({"steps": 4}, "unknown key 'steps'; did you mean 'step'"),
        ({"bset": {}}, "unknown key 'bset'; did you mean 'best'"),
        ({3: 4}, "unknown key 3"),
        ({"epoch": -1}, "start: epoch=-1: give a whole number of at least 0"),
        ({"step": -500}, "start: step=-500"),
        ({"epoch": 1.5}, "start: epoch=1.5"),
        ({"epoch": "4"}, "start: epoch='4'"),
        ({"epoch": True}, "start: epoch=True"),
        ({"epoch": None}, "start: epoch=None"),
        ({"step": 10**400}, "start: step="),
        ({"best": 71.0}, "start: best=71.0: give values by metric"),
        ({"best": {"acc": nan}}, "best of 'acc' is nan: give a finite number"),
        ({"best": {"acc": -inf}}, "best of 'acc' is -inf"),
        ({"best": {"acc": "71"}}, "best of 'acc' is '71'"),
        ({"best": {"acc": None}}, "best of 'acc' is None"),
        ({"best": {"acc": True}}, "best of 'acc' is True"),
        ({"best": {3: 1.0}}, "3"),
        (4, "start=4: give a mapping"),
        ([4], "give a mapping"),
    ],
)
def test_a_wrong_start_is_refused_with_the_right_key(start: Any, why: str) -> None:
    """Nothing is guessed, and nothing is trained."""
    with pytest.raises(SettingsError, match=why):
        Run(LineSubject(), start=start)


@pytest.mark.parametrize("value", [71, np.float32(71), Decimal(71), Fraction(71), np.array([71.0])])
def test_numbers_of_other_libraries_are_numbers(value: Any) -> None:
    """They become Python's own."""
    assert origin_of({"epoch": np.int64(4), "best": {"acc": value}}) == Origin(epoch=4, best={"acc": 71.0})


def trained(accuracies: dict[int, float], *callbacks: Any, epochs: int = 9, **options: Any) -> Run:
    with Run(LineSubject(), callbacks, **options) as run:
        for epoch in run.epochs(epochs):
            for _ in run.batches(range(5)):
                pass
            run.log(acc=accuracies.get(epoch, 0.0))
    return run


def test_a_run_goes_on_where_the_user_says() -> None:
    """Epochs, steps, names, history and the best value continue those before the run."""
    saver = ModelCheckpoint("m-{epoch}-{step}", monitor="acc", save_best_only=True, save_on=())
    run = trained({4: 70.0, 5: 72.0, 6: 71.5}, saver, epochs=7, start=START)

    assert [path.name for path in run.result.checkpoints] == ["m-6-510.npz"]
    assert run.history.epochs == [4, 5, 6]
    assert run.step == 515
    assert run.monitor("acc").best == BestValue(72.0, 5)


@pytest.mark.parametrize(
    ("metric", "mode", "best", "values", "stops"),
    [
        ("acc", "max", 71.0, [70, 70.5, 71, 72], 6),
        ("acc", "max", 71.0, [70, 71.5, 70, 70, 70], 8),
        ("loss", "min", 0.3, [0.5, 0.4, 0.31, 0.2], 6),
        ("loss", "min", -0.3, [-0.2, -0.31, 0.0, 1.0, 2.0], 8),
        ("f1", "auto", 0.0, [0.0, -1.0, 0.0], 6),
        ("val_loss", "auto", 1.0, [1.0, 1.0, 1.0, 0.5], 6),
    ],
)
def test_rules_begin_with_the_best_value(metric: str, mode: Any, best: float, values: list[float], stops: int) -> None:
    """Early stopping and rate cuts wait for an improvement on it, in the direction of the monitor."""
    options: dict[str, Any] = {"monitor": metric, "mode": mode}
    callbacks = [
        EarlyStopping(patience=3, **options),
        ReduceLROnPlateau(patience=2, min_delta=0, factor=0.5, **options),
    ]
    subject = LineSubject(0.5)
    with Run(subject, callbacks, start={"epoch": 4, "best": {metric: best}}) as run:
        for epoch in run.epochs(20):
            run.log({metric: values[epoch - 4]})
    assert run.epoch == stops
    assert subject.learning_rate < 0.5
    if stops == 6:
        assert "the best before the run" in run.result.reason


def test_the_best_weights_before_the_run_are_not_restored() -> None:
    """Nobody has kept them, so without an improvement the weights stay as they are."""
    stopper = EarlyStopping(monitor="acc", patience=2, restore_best_weights=True)
    assert trained({}, stopper, start=START).epoch == 5


@pytest.mark.parametrize("when", range(1, 5))
def test_a_run_that_started_in_the_middle_resumes_exactly(when: int, caplog: pytest.LogCaptureFixture) -> None:
    """Its checkpoints hold the start; with resume= the checkpoint wins, which one line says."""
    values = {4: 70.0, 5: 70.5, 6: 72.0, 7: 71.0, 8: 71.9}
    stopper = EarlyStopping(monitor="acc", patience=2, min_delta=0.5)
    for name in ("whole", "parts"):
        saver = ModelCheckpoint(f"{name}/m-{{epoch}}", monitor="acc", keep_last=2)
        if name == "whole":
            whole = trained(values, saver, stopper, start=START)
        else:
            trained(values, saver, stopper, start=START, epochs=4 + when, resume="auto")
            assert "start=" not in caplog.text
            run = trained(values, saver, stopper, start=START, resume="auto")
    assert run.history == whole.history
    assert run.step == whole.step
    assert run.monitor("acc").best == whole.monitor("acc").best
    assert [path.name for path in run.result.checkpoints] == [path.name for path in whole.result.checkpoints]
    assert "start= is not used, since the run is resumed" in caplog.text


def test_what_the_start_cannot_do_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """A best value that no callback monitors, and epochs that are done already."""
    trained({}, EarlyStopping(monitor="acc"), start={"epoch": 9, "best": {"f1": 1.0, "acc": 2.0}}, epochs=9)
    assert "start: no callback monitors 'f1'" in caplog.text
    assert "start: all 9 epochs are done; raise the number of epochs" in caplog.text


NEAR = [("ac", "acc"), ("accurcy", "acc"), ("val_ac", "val_acc"), ("vall_acc", "val_acc"), ("acc1", "acc")]


@pytest.mark.parametrize(("name", "near"), [*NEAR, ("lss", "loss")])
def test_a_mistyped_best_is_refused_before_the_training(name: str, near: str) -> None:
    """It would be a threshold that nothing compares."""
    callbacks = [ModelCheckpoint("m", monitor=near, save_best_only=True, mode="max")]
    with pytest.raises(SettingsError, match=f"^start: 'best': no callback monitors '{name}'; did you mean '{near}'"):
        trained({}, *callbacks, start={"best": {name: 0.61, "f1": 1.0}})
    assert not list(Path().glob("m*"))


def test_each_mistyped_best_is_named() -> None:
    listed = [EarlyStopping(monitor="acc"), EarlyStopping(monitor="val_loss")]
    with pytest.raises(SettingsError, match=r"'ac'; did you mean 'acc'\? no callback monitors 'val_los'; did you mean"):
        trained({}, *listed, start={"best": {"ac": 0.61, "val_los": 1.0}})


@pytest.mark.parametrize("again", [None, {"epoch": 1}, {"best": {"f1": 1.0}}, {"best": {"ac": 0.61}}])
def test_a_resume_says_once_that_the_start_is_not_used(again: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Its best values are in the checkpoint, and were checked when they were given."""
    callbacks = [ModelCheckpoint("m", monitor="acc")]
    trained({}, *callbacks, epochs=2, start={"best": {"f1": 0.61}})
    caplog.clear()
    trained({}, *callbacks, epochs=3, start=again, resume="auto")
    assert caplog.messages == (["start= is not used, since the run is resumed"] if again else [])


def test_keras_and_scikit_learn_start_with_the_epoch(tmp_path: Path) -> None:
    """``fit`` and ``partial_fit`` train the remaining epochs, and files have their numbers."""
    keras = pytest.importorskip("keras")
    linear = pytest.importorskip("sklearn.linear_model")
    from trainbus.adapters.keras import KerasCallback  # noqa: PLC0415
    from trainbus.adapters.sklearn import partial_fit  # noqa: PLC0415

    x, y = np.zeros((4, 1)), np.zeros(4)
    saver = ModelCheckpoint(str(tmp_path / "m-{epoch}-{step}"), monitor="loss", save_best_only=True, save_on=())
    start = {"epoch": 2, "step": 10, "best": {"loss": -1.0}}
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    bus = KerasCallback([saver], start=start)
    history = model.fit(x, y, epochs=5, batch_size=2, verbose=0, callbacks=[bus])
    assert history.epoch == bus.run.history.epochs == [2, 3, 4]
    assert bus.run.step == 16
    assert not list(tmp_path.glob("m-*"))  # nothing was better
    model.fit(x, y, epochs=1, verbose=0, callbacks=[bus])
    assert bus.run.history.epochs == [0]

    run = partial_fit(linear.SGDRegressor(), x, y, batch_size=2, epochs=5, callbacks=[saver], start={"epoch": 2})
    assert run.history.epochs == [2, 3, 4]
    assert list(tmp_path.glob("m-3-*"))
