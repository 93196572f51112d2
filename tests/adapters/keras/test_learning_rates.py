"""Learning rates of Keras's optimizers by name."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import trainbus
from trainbus import SettingsError
from trainbus.adapters.keras import KerasCallback, KerasSubject
from trainbus.capabilities import (
    HasLearningRate,
    missing,
)
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau

from .fits import fit, line

pytestmark = pytest.mark.filterwarnings("ignore:\\s*Your input ran out of data:UserWarning")


def test_learning_rates_of_several_optimizers_have_their_names() -> None:
    """One rate is called learning_rate, several are called after their optimizers; each can be set alone."""
    one = KerasSubject(line(keras.optimizers.SGD(0.5)))
    assert one.learning_rates() == {"learning_rate": 0.5}

    optimizers = keras.optimizers.OptimizerMap(
        keras.optimizers.SGD(0.5, name="a"), {".*bias": keras.optimizers.SGD(0.25, name="b")}
    )
    two = KerasSubject(line(keras.optimizers.MultiOptimizer(optimizers)))
    two.set_learning_rates({"learning_rate/b": 0.125})
    assert two.learning_rates() == {"learning_rate/b": 0.125, "learning_rate/a": 0.5}


def test_a_learning_rate_that_cannot_be_written_is_an_error() -> None:
    """Every write is read back: one that the number's type rounds away is reported."""
    before = keras.config.floatx()
    keras.config.set_floatx("float16")
    try:
        optimizer = keras.optimizers.SGD(0.5)
    finally:
        keras.config.set_floatx(before)
    with pytest.raises(SettingsError, match=r"learning_rate was set to 0.4999 but is 0.5"):
        KerasSubject(line(optimizer)).set_learning_rates({"learning_rate": 0.4999})


def test_the_floor_of_a_learning_rate_is_reached_once() -> None:
    """A floor that the optimizer's type of number cannot hold exactly is reached, and then nothing is changed."""
    assert float(np.float32(1e-3)) > 1e-3
    callback = ReduceLROnPlateau(monitor="loss", mode="max", patience=1, min_lr=1e-3)
    cb = KerasCallback(callback)
    fit(line(keras.optimizers.SGD(0.005)), [cb], epochs=4, shuffle=False)
    assert cb.run.history["learning_rate"] == [0.005, 0.005, 0.001, 0.001]


def constant() -> float:
    return 0.1


@pytest.mark.parametrize(
    ("rate", "name"),
    [(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9), "ExponentialDecay"), (constant, "function")],
)
def test_a_schedule_refuses_before_training(rate: Any, name: str) -> None:
    """Reducing a learning rate that a schedule or a function gives is refused before the first batch."""
    model = line(keras.optimizers.SGD(rate))
    with pytest.raises(trainbus.MissingCapability, match=rf"optimizer 'sgd.*' is given by '{name}' and cannot be set"):
        fit(model, [KerasCallback(ReduceLROnPlateau())])
    assert int(model.optimizer.iterations) == 0
    with pytest.raises(SettingsError, match="cannot be set"):
        KerasSubject(model).set_learning_rates({"learning_rate": 0.1})


def test_keras_reports_the_schedule_at_the_first_reduction_only() -> None:
    """Keras's own callback fails at its first reduction only."""
    model = line(keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)))
    with pytest.raises(TypeError, match="is not settable"):
        fit(model, [keras.callbacks.ReduceLROnPlateau("loss", mode="max", patience=1)], epochs=9)
    assert int(model.optimizer.iterations) == 10


def test_a_schedule_is_logged_without_callbacks_that_change_it() -> None:
    """A run's metrics hold the learning rate that the schedule gives for the first update of each epoch."""
    cb = KerasCallback()
    fit(line(keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5))), [cb], epochs=2)
    np.testing.assert_allclose(cb.run.history["learning_rate"], [0.1, 0.05], rtol=1e-6)


def test_a_model_without_optimizer_has_no_learning_rate() -> None:
    """A model without an optimizer raises an error that says so."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    assert missing(KerasSubject(model), HasLearningRate) == "the model is not compiled with an optimizer"
    assert KerasSubject(model).learning_rates() == {}


def test_history_has_the_learning_rates_that_a_callback_changes() -> None:
    """Rates that a callback changes are in Keras's history, as with Keras's own callback; else nothing is added."""
    options: Any = {"monitor": "loss", "mode": "max", "patience": 1, "factor": 0.5}
    mine = fit(line(), [KerasCallback(ReduceLROnPlateau(**options))], epochs=4, shuffle=False).history
    theirs = fit(line(), [keras.callbacks.ReduceLROnPlateau(**options)], epochs=4, shuffle=False).history
    assert mine["learning_rate"] == pytest.approx(theirs["learning_rate"])
    assert len(set(mine["learning_rate"])) > 1
    assert "learning_rate" not in fit(line(), [KerasCallback(EarlyStopping(monitor="loss"))]).history


@pytest.mark.parametrize("every", ["validation", "epoch"])
def test_a_cut_at_a_validation_acts_and_is_the_one_of_the_epoch(every):
    """Keras validates inside of the epoch, after its updates."""
    x = np.ones((12, 2), "float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    rule = ReduceLROnPlateau(monitor="val_loss", patience=2, every=every, min_delta=10, factor=0.5)
    bus = KerasCallback([rule], verbose=0)
    model.fit(x, x[:, :1], epochs=7, validation_data=(x, x[:, :1]), callbacks=[bus], verbose=0)
    assert bus.run.failures == []
    assert [epoch for epoch, _ in bus.run.state.decision_log] == [2, 4, 6]
