"""The weights of Keras models: names, snapshots and moving averages, on the backend of the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainbus import CheckpointError
from trainbus.adapters.keras import KerasCallback, KerasSubject
from trainbus.plugins import EarlyStopping

from .fits import AtEpochEnd, X, Y, fit, line, subclassed, two_layers

pytestmark = pytest.mark.filterwarnings("ignore:\\s*Your input ran out of data:UserWarning")


def test_snapshots_hold_what_is_not_trained() -> None:
    """A snapshot restores moving statistics as well as trained weights, whatever training did since."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    subject = KerasSubject(model)
    before, snapshot = model.get_weights(), subject.snapshot()
    fit(model, None)
    assert not np.array_equal(model.get_weights()[2], before[2])

    subject.restore(snapshot)

    for mine, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("kind", ["plain", "loss scale", "multi"])
def test_restoring_the_best_weights_keeps_their_averages(kind: str) -> None:
    """With EMA a fit ends with averaged weights; with restore_best_weights with those of the best epoch."""

    def optimizer() -> Any:
        inner = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)
        if kind == "loss scale":
            return keras.optimizers.LossScaleOptimizer(inner)
        if kind == "multi":
            return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(inner))
        return inner

    def averages() -> list[Any]:
        inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        inner = inner.optimizers[0] if kind == "multi" else inner
        return [np.array(keras.ops.convert_to_numpy(each)) for each in inner._model_variables_moving_average]

    model = line(optimizer())
    seen: list[list[Any]] = []
    stopper = EarlyStopping(monitor="loss", mode="max", patience=2, restore_best_weights=True)
    cb = KerasCallback(stopper)

    fit(model, [AtEpochEnd(lambda epoch: seen.append(averages())), cb], epochs=5)

    assert cb.run.result.best["loss"].epoch == 0
    assert cb.run.result.epochs == 3
    for weight, average in zip(model.get_weights(), seen[0], strict=True):
        np.testing.assert_array_equal(weight, average)

    # Keras's own callback restores the weights that were not averaged
    model, raw = line(optimizer()), []
    theirs = keras.callbacks.EarlyStopping("loss", mode="max", patience=2, restore_best_weights=True)
    fit(model, [AtEpochEnd(lambda epoch: raw.append(model.get_weights())), theirs], epochs=5)
    np.testing.assert_array_equal(model.get_weights()[0], raw[0][0])
    assert not np.array_equal(raw[0][0], seen[0][0])


def test_averages_that_are_swapped_in_are_not_lost() -> None:
    """Listed before Keras's SwapEMAWeights, the callback saves weights and averages as they are."""
    model = line(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9))
    seen: list[Any] = []

    def look(_: int) -> None:
        seen.append([np.array(each) for each in KerasSubject(model).snapshot()[len(model.weights) :]])

    stopper = EarlyStopping(monitor="loss", mode="max", patience=2, restore_best_weights=True)
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    fit(model, [AtEpochEnd(look), KerasCallback(stopper), swap], epochs=9, validation_data=(X, Y))
    np.testing.assert_allclose(model.get_weights()[0], seen[0][0], rtol=1e-6)


def test_restores_raw_weights_and_averages_during_training() -> None:
    """A model restored during a fit continues from its raw weights, and its averages from theirs."""
    model = line(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9))
    subject = KerasSubject(model)
    model.train_on_batch(X, Y)
    model.train_on_batch(X, Y)
    raw, snapshot = model.get_weights(), subject.snapshot()
    model.train_on_batch(X, Y)

    subject.restore(snapshot)

    np.testing.assert_array_equal(model.get_weights()[0], raw[0])
    model.optimizer.finalize_variable_values(model.trainable_variables)
    np.testing.assert_array_equal(model.get_weights()[0], snapshot[len(model.weights)])
    assert not np.array_equal(raw[0], snapshot[len(model.weights)])


def test_weights_have_unique_names_in_a_stable_order() -> None:
    """Every weight is listed once, including a subclassed model's own, even if layers share a name."""
    model = subclassed()
    weights = dict(KerasSubject(model).weights())
    assert len(weights) == len(model.weights) == 7
    assert any(name.endswith("scale") for name in weights)
    assert list(weights) == list(dict(KerasSubject(model).weights()))
    assert all(isinstance(array, np.ndarray) for array in weights.values())
    assert list(dict(KerasSubject(line()).weights())) == ["line/out/kernel", "line/out/bias"]


def test_weights_are_numbers_that_numpy_knows() -> None:
    """Weights of types that NumPy lacks come as float32."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, dtype="bfloat16")])
    assert {array.dtype.name for _, array in KerasSubject(model).weights()} == {"float32"}


GROWN: dict[str, Any] = {
    "a layer that was added": lambda model: model.add(keras.layers.Dense(1)),
    "a layer of another size": lambda model: (model.pop(), model.add(keras.layers.Dense(2, name="last"))),
    "a layer of its own kind": lambda model: (model.pop(), model.add(keras.layers.BatchNormalization())),
    "a layer in front": lambda model: (
        model.pop(),
        model.pop(),
        model.add(keras.layers.PReLU()),
        model.add(keras.layers.Dense(1)),
    ),
}


@pytest.mark.parametrize("growth", GROWN)
@pytest.mark.parametrize("source", ["snapshot", ".keras", ".weights.h5", ".h5"])
def test_weights_that_no_longer_fit_change_nothing(growth: str, source: str) -> None:
    """A model that has changed its form since is refused in words, and keeps the weights that it has."""
    model = two_layers("sgd")
    subject, path = KerasSubject(model), Path(f"saved{source}")
    snapshot = subject.snapshot()
    if source != "snapshot":
        subject.save(path, weights_only=source == ".weights.h5")
    for each in model.weights:
        each.assign(np.full(each.shape, 7.0))
    GROWN[growth](model)
    model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises(CheckpointError, match=r"nothing was changed|does not fit"):
        subject.restore(snapshot) if source == "snapshot" else subject.load(path)

    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
