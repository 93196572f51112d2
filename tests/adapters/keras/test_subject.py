"""Keras models as subjects, on the backend of the environment (KERAS_BACKEND, torch unless set)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import trainbus
from trainbus import CheckpointError, SettingsError, UnreadableCheckpoint
from trainbus.adapters.keras import KerasCallback, KerasSubject
from trainbus.capabilities import (
    HasDirections,
    HasGraph,
    HasLearningRate,
    HasWeights,
    Restorable,
    Saveable,
    Snapshotable,
    missing,
)
from trainbus.plugins import EarlyStopping
from trainbus.testing import check_subject

from .fits import AtEpochEnd, Subclassed, X, Y, fit, line, subclassed, two_layers

pytestmark = pytest.mark.filterwarnings("ignore:\\s*Your input ran out of data:UserWarning")


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.Adam(0.1),
        lambda: keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
        lambda: keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(
                keras.optimizers.SGD(0.1, name="slow"), {".*bias": keras.optimizers.Adam(0.01, name="quick")}
            )
        ),
    ],
    ids=["adam", "ema", "loss scale", "multi"],
)
def test_keeps_the_contract_of_every_capability(optimizer: Callable[[], Any]) -> None:
    """A compiled model has every capability, and keeps its contract."""
    capabilities = (Saveable, Restorable, Snapshotable, HasLearningRate, HasDirections, HasWeights, HasGraph)
    assert [missing(KerasSubject(line(optimizer())), capability) for capability in capabilities] == [None] * 7

    check_subject(
        lambda: KerasSubject(line(optimizer()), validation_data=(X, Y)),
        lambda subject: subject.model.train_on_batch(X, Y),
    )


def test_is_found_by_the_type_of_the_model() -> None:
    """A Keras model goes to Keras's adapter, even if it is also a torch module."""
    assert isinstance(trainbus.watch(line()).subject, KerasSubject)


def test_takes_models_only() -> None:
    """An object that is not a model is refused."""
    with pytest.raises(SettingsError, match=r"takes a keras.Model; this is a Dense"):
        KerasSubject(keras.layers.Dense(1))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_complete_models_are_loaded_by_keras(suffix: str) -> None:
    """Keras loads what it saves: the same predictions, the same optimizer."""
    model = line("adam", loss=keras.losses.MeanSquaredError())  # Keras 3.15.1 cannot load "mse" from .h5
    fit(model, None)
    KerasSubject(model).save(Path(f"model{suffix}"), weights_only=False)

    loaded = keras.models.load_model(f"model{suffix}")

    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert int(loaded.optimizer.iterations) == 5


def test_weights_are_loaded_by_keras() -> None:
    """``load_weights`` loads what the subject saves as weights."""
    model, other = line(), line()
    fit(model, None)
    KerasSubject(model).save(Path("model.weights.h5"), weights_only=True)

    other.load_weights("model.weights.h5")

    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_loads_the_state_of_an_optimizer_that_is_not_built(suffix: str) -> None:
    """A new model loads the optimizer's state too, so that training continues as if uninterrupted."""
    model, other = line("adam"), line("adam")
    fit(model, None)
    KerasSubject(model).save(Path(f"model{suffix}"), weights_only=suffix != ".keras")

    KerasSubject(other).load(Path(f"model{suffix}"))

    assert int(other.optimizer.iterations) == 5
    fit(model, None, shuffle=False)
    fit(other, None, shuffle=False)
    np.testing.assert_allclose(other.get_weights()[0], model.get_weights()[0], rtol=1e-6)


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


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_a_file_that_does_not_fit_is_refused_by_name(suffix: str) -> None:
    """Another model's, a file that Keras did not write, and one of another framework's suffix."""
    path, weights_only = Path(f"best{suffix}"), suffix != ".keras"
    KerasSubject(compiled_model(units=3)).save(path, weights_only=weights_only)
    subject = KerasSubject(compiled_model(units=2))
    foreign, other = Path(f"foreign{suffix}"), Path("best.pt")
    foreign.write_bytes(b"PK")
    other.write_bytes(path.read_bytes())

    for file in (path, other):
        with pytest.raises(CheckpointError, match=f"{file.name}' does not fit this model; it is another model's, or"):
            subject.load(file)
    with pytest.raises(UnreadableCheckpoint, match=f"{foreign.name}' is not a readable Keras file"):
        subject.load(foreign)


def compiled_model(units: int) -> Any:
    """Return a model with one dense layer of this many units."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])
    model.compile("adam", "mse")
    return model


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


def nested(inner: int, *, normalized: bool = False) -> Any:
    """Return a model with a model of some layers inside."""
    part = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4) for _ in range(inner))])
    if normalized:
        part.add(keras.layers.BatchNormalization())
    return keras.Sequential([keras.Input((4,)), part, keras.layers.Dense(1)])


class Blocks(keras.Model):  # type: ignore[misc, unused-ignore]
    """A model with a list of layers and perhaps a layer and a weight of its own."""

    def __init__(self, count: int, *, head: bool = False, weight: bool = False) -> None:
        super().__init__()
        self.made_with = {"count": count, "head": head, "weight": weight}
        self.blocks = [keras.layers.Dense(4) for _ in range(count)]
        self.head = keras.layers.Dense(1) if head else None
        self.scale = self.add_weight(shape=(1,), name="scale") if weight else None

    def get_config(self) -> Any:
        """Return the arguments."""
        return self.made_with

    def call(self, x: Any) -> Any:
        """Pass through all layers."""
        for block in self.blocks:
            x = block(x)
        x = x if self.head is None else self.head(x)
        return x if self.scale is None else x * self.scale


def stacked(*layers: Any) -> Any:
    """Return a model of these layers."""
    return keras.Sequential([keras.Input((4,)), *layers])


SHRUNK: dict[str, tuple[Callable[[], Any], Callable[[], Any], str]] = {
    "a last layer": (
        lambda: stacked(keras.layers.Dense(4), keras.layers.Dense(4)),
        lambda: stacked(keras.layers.Dense(4)),
        "layers/dense_1",
    ),
    "two layers": (
        lambda: stacked(*(keras.layers.Dense(4) for _ in range(3))),
        lambda: stacked(keras.layers.Dense(4)),
        "layers/dense_1, layers/dense_2",
    ),
    "a normalization": (
        lambda: stacked(keras.layers.Dense(4), keras.layers.BatchNormalization()),
        lambda: stacked(keras.layers.Dense(4)),
        "layers/batch_normalization",
    ),
    "a layer of a model inside": (lambda: nested(2), lambda: nested(1), "layers/sequential/layers/dense_1"),
    "a normalization inside": (
        lambda: nested(1, normalized=True),
        lambda: nested(1),
        "layers/sequential/layers/batch_normalization",
    ),
    "a layer of a list": (lambda: Blocks(2), lambda: Blocks(1), "blocks/dense_1"),
    "an attribute": (lambda: Blocks(1, head=True), lambda: Blocks(1), "head"),
    "a weight of the model itself": (lambda: Blocks(1, weight=True), lambda: Blocks(1), "the model itself"),
    "a bias": (
        lambda: stacked(keras.layers.Dense(4)),
        lambda: stacked(keras.layers.Dense(4, use_bias=False)),
        "layers/dense",
    ),
}


@pytest.mark.covering(1)
@pytest.mark.parametrize("case", SHRUNK)
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize("optimizer", ["sgd", pytest.param(None, marks=pytest.mark.exhaustive)])
def test_a_file_with_more_layers_is_refused_by_their_names(case: str, suffix: str, optimizer: str | None) -> None:
    """Keras would load what fits and drop the rest; nothing is changed then, and the same model still fits."""
    larger, smaller, named = SHRUNK[case]
    models = [larger(), smaller(), larger()]
    for model in models:
        model(np.zeros((1, 4), "float32"))
        if optimizer is not None:
            model.compile(optimizer, "mse")
    KerasSubject(models[0]).save(Path(f"saved{suffix}"), weights_only=suffix != ".keras")
    values = models[1].get_weights()
    with pytest.raises(CheckpointError, match=rf"does not fit this model.* has more weights: {named};"):
        KerasSubject(models[1]).load(Path(f"saved{suffix}"))

    for one, other in zip(values, models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    KerasSubject(models[2]).load(Path(f"saved{suffix}"))
    for one, other in zip(models[0].get_weights(), models[2].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_metrics_and_optimizers_are_no_layers(suffix: str) -> None:
    """A file of a compiled model that was trained fits a model without optimizer and metrics."""
    saved, model = two_layers("adam"), two_layers(None)
    saved.compile("adam", "mse", metrics=["mae", keras.metrics.MeanSquaredError()])
    saved.fit(np.zeros((4, 4), "float32"), np.zeros((4, 1), "float32"), verbose=0)
    KerasSubject(saved).save(Path(f"saved{suffix}"), weights_only=suffix != ".keras")
    KerasSubject(model).load(Path(f"saved{suffix}"))
    for one, other in zip(saved.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_without_weights_loads_nothing() -> None:
    """And says what to do first."""
    KerasSubject(subclassed()).save(Path("file.keras"), weights_only=False)
    model = Subclassed()
    model.compile("sgd", "mse")

    with pytest.raises(CheckpointError, match=r"the model is not built, .*; run one batch through it, or build\(\) it"):
        KerasSubject(model).load(Path("file.keras"))
    assert not model.optimizer.built
