"""The Keras adapter, under real fits on Keras's backend of the environment (KERAS_BACKEND, torch unless set)."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import trainbus
from trainbus import LoopError, MissingMetric, SettingsError, hookimpl
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
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import check_subject

BACKEND = keras.backend.backend()
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(10, 4)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5], [0.0]]).astype("float32")

pytestmark = [
    pytest.mark.filterwarnings("ignore:\\s*Your input ran out of data:UserWarning"),
    # Keras's own reading of variables, under NumPy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]


class Ears:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.threads: set[str] = set()

    @hookimpl
    def on_train_begin(self) -> None:
        self.heard.append("train begin")

    @hookimpl
    def on_epoch_begin(self, epoch: int) -> None:
        self.heard.append(f"epoch {epoch} begin")

    @hookimpl
    def on_validation_begin(self, epoch: int) -> None:
        self.heard.append(f"validation {epoch} begin")

    @hookimpl
    def on_validation_end(self, epoch: int, metrics: dict[str, Any]) -> None:
        self.heard.append((f"validation {epoch} end", sorted(metrics)))

    @hookimpl
    def on_epoch_end(self, run: trainbus.Run, epoch: int, metrics: dict[str, Any]) -> None:
        self.heard.append((f"epoch {epoch} end", run.batch, run.step, sorted(metrics)))

    @hookimpl
    def on_exception(self, error: BaseException) -> None:
        self.heard.append(type(error))

    @hookimpl
    def on_train_end(self) -> None:
        self.heard.append("train end")


class BatchEars(Ears):
    """Hears batches too."""

    @hookimpl
    def on_batch_begin(self, batch: int) -> None:
        self.heard.append(f"batch {batch} begin")

    @hookimpl
    def on_batch_end(self, batch: int, step: int, metrics: dict[str, Any]) -> None:
        self.threads.add(threading.current_thread().name)
        self.heard.append((f"batch {batch} end", step, sorted(metrics)))


class Raises:
    """Raises at the end of the first epoch."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @hookimpl
    def on_epoch_end(self) -> None:
        raise self.error


class KerasRaises(keras.callbacks.Callback):
    """A callback of Keras's own kind that raises at the end of the first epoch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        raise ZeroDivisionError("somebody else's")


class Listens(keras.callbacks.Callback):
    """Does something at the end of each epoch."""

    def __init__(self, action: Callable[[int], object]) -> None:
        super().__init__()
        self.action = action

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.action(epoch)


def line(optimizer: Any = None, **options: Any) -> Any:
    """A compiled straight line."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="out")], name="line")
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse", **options)
    return model


def fit(model: Any, callbacks: Any, **options: Any) -> Any:
    """A short, quiet fit: 5 batches to an epoch."""
    return model.fit(**{"x": X, "y": Y, "batch_size": 2, "verbose": 0, "callbacks": callbacks, **options})


def batches(count: int | None = None) -> Iterator[tuple[Any, Any]]:
    """Batches of 2 without a known length."""
    done = 0
    while count is None or done < count:
        yield X[:2], Y[:2]
        done += 1


# --- the subject


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

    check_subject(lambda: KerasSubject(line(optimizer())), lambda subject: subject.model.train_on_batch(X, Y))


def test_is_found_by_the_type_of_the_model() -> None:
    """A Keras model goes to Keras's adapter, also where it is a torch module as well."""
    assert isinstance(trainbus.watch(line()).subject, KerasSubject)


def test_takes_models_only() -> None:
    """What is no model is refused."""
    with pytest.raises(SettingsError, match=r"takes a keras.Model; this is a Dense"):
        KerasSubject(keras.layers.Dense(1))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_whole_models_are_loaded_by_keras(suffix: str) -> None:
    """What it saves, Keras loads: the same predictions, the same optimizer."""
    model = line("adam")
    fit(model, None)
    KerasSubject(model).save(Path(f"model{suffix}"), weights_only=False)

    loaded = keras.models.load_model(f"model{suffix}")

    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert int(loaded.optimizer.iterations) == 5


def test_weights_are_loaded_by_keras() -> None:
    """What it saves as weights, `load_weights` loads."""
    model, other = line(), line()
    fit(model, None)
    KerasSubject(model).save(Path("model.weights.h5"), weights_only=True)

    other.load_weights("model.weights.h5")

    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_loads_the_state_of_an_optimizer_that_is_not_built(suffix: str) -> None:
    """A new model takes over the optimizer's state as well, so that training goes on as if unbroken."""
    model, other = line("adam"), line("adam")
    fit(model, None)
    KerasSubject(model).save(Path(f"model{suffix}"), weights_only=suffix != ".keras")

    KerasSubject(other).load(Path(f"model{suffix}"))

    assert int(other.optimizer.iterations) == 5
    fit(model, None, shuffle=False)
    fit(other, None, shuffle=False)
    np.testing.assert_allclose(other.get_weights()[0], model.get_weights()[0], rtol=1e-6)


def test_snapshots_hold_what_is_not_trained() -> None:
    """A snapshot brings back moving statistics as well as trained weights, whatever training did since."""
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

    fit(model, [Listens(lambda epoch: seen.append(averages())), cb], epochs=5)

    assert cb.run.result.best["loss"].epoch == 0
    assert cb.run.result.epochs == 3
    for weight, average in zip(model.get_weights(), seen[0], strict=True):
        np.testing.assert_array_equal(weight, average)


def test_restores_raw_weights_and_averages_while_training_goes_on() -> None:
    """Before the end of a fit a restored model goes on from its raw weights, and its averages from theirs."""
    model = line(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9))
    subject = KerasSubject(model)
    model.train_on_batch(X, Y)
    model.train_on_batch(X, Y)
    raw, snapshot = model.get_weights(), subject.snapshot()
    model.train_on_batch(X, Y)

    subject.restore(snapshot)

    np.testing.assert_array_equal(model.get_weights()[0], raw[0])
    model.optimizer.finalize_variable_values(model.trainable_variables)
    np.testing.assert_array_equal(model.get_weights()[0], snapshot.averages[0])
    assert not np.array_equal(raw[0], snapshot.averages[0])


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
    """Every write is read back: one that the type of number swallows is told."""
    before = keras.config.floatx()
    keras.config.set_floatx("float16")
    try:
        optimizer = keras.optimizers.SGD(0.5)
    finally:
        keras.config.set_floatx(before)
    with pytest.raises(SettingsError, match=r"learning_rate was set to 0.4999, yet it is 0.5"):
        KerasSubject(line(optimizer)).set_learning_rates({"learning_rate": 0.4999})


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


def test_a_schedule_is_logged_where_nobody_steers_it() -> None:
    """A run's metrics hold the learning rate that the schedule gives."""
    cb = KerasCallback()
    fit(line(keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5))), [cb], epochs=2)
    np.testing.assert_allclose(cb.run.history["learning_rate"], [0.05, 0.025], rtol=1e-6)


def test_a_model_without_optimizer_has_no_learning_rate() -> None:
    """Where there is no optimizer it says so."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    assert missing(KerasSubject(model), HasLearningRate) == "the model is not compiled with an optimizer"
    assert KerasSubject(model).learning_rates() == {}


def test_directions_come_from_metric_objects() -> None:
    """What is compiled tells its direction under every name that it is logged under; what does not tell leaves None."""
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(1, activation="sigmoid", name=name)(inputs) for name in "ab"]
    model = keras.Model(inputs, outputs)

    def odd(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(y_pred)

    model.compile(
        "sgd",
        {"a": "mse", "b": "mse"},
        metrics={"a": ["accuracy", "mae"], "b": [odd, keras.metrics.R2Score(name="r2"), keras.metrics.R2Score(name="r2")]},
        weighted_metrics={"a": ["accuracy"], "b": []},
    )
    subject = KerasSubject(model)
    assert subject.direction_of("a_accuracy") is None, "not known before the metrics are built"
    history = model.fit(X, [Y > 0, Y], batch_size=5, verbose=0, validation_data=(X, [Y > 0, Y])).history

    told = {name: subject.direction_of(name) for name in history}

    down, up = ["loss", "a_loss", "b_loss", "a_mae"], ["a_accuracy", "a_weighted_accuracy", "b_r2", "b_r2_1"]
    wanted = dict.fromkeys(down, "min") | dict.fromkeys([name for name in up if name in history], "max") | {"b_odd": None}
    assert told == wanted | {f"val_{name}": direction for name, direction in wanted.items()}
    assert subject.direction_of("val_a_acc") in ("max", None)
    assert subject.direction_of("nonsense") is None


def test_direction_of_the_metric_object_wins_over_the_name() -> None:
    """A metric named against its nature is judged by its nature."""
    model = line(metrics=[keras.metrics.R2Score(name="error")])
    cb = KerasCallback(EarlyStopping(monitor="val_error", patience=9))
    fit(model, [cb], validation_data=(X, Y), epochs=2)
    assert cb.run.monitor("val_error").direction == "max"


class Own(keras.Model):
    """A model that calls its layers freely, has a weight of its own and two layers of one name."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.first = keras.layers.Dense(3, name="twin")
        self.second = keras.layers.Dense(3, name="twin")
        self.inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="last")], name="inner")
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        return self.inner(self.second(self.first(x))) * self.scale


def own() -> Any:
    model = Own()
    model.compile("sgd", "mse")
    model(X)
    return model


def test_weights_have_unique_names_in_a_stable_order() -> None:
    """Every weight is there once, a subclassed model's own included, also where layers share a name."""
    model = own()
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


def test_graph_of_a_functional_model() -> None:
    """A node a layer, edges from the calls, nested models as scopes, a layer called twice once."""
    inputs = keras.Input((4,), name="in")
    inner = keras.Sequential([keras.Input((4,), name="hole"), keras.layers.Dense(4, name="deep")], name="inner")
    twice = keras.layers.Dense(4, name="twice")
    hidden = inner(inputs)
    joined = keras.ops.add(twice(hidden), twice(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(joined))

    nodes = {node.name: node for node in KerasSubject(model).graph()}

    assert {name: node.inputs for name, node in nodes.items()} == {
        "in": (),
        "inner/hole": ("in",),
        "inner/deep": ("inner/hole",),
        "twice": ("inner/deep", "in"),
        joined._keras_history.operation.name: ("twice",),
        "out": (joined._keras_history.operation.name,),
    }
    assert nodes["out"].kind == "Dense"
    assert dict(nodes["out"].attributes) == {
        "parameters": "5",
        "dtype": "float32",
        "trainable": "True",
        "output_shape": "(None, 1)",
    }


def test_graph_of_other_models() -> None:
    """Layers that are called freely have no edges; those of a sequential model follow one another even before it is built."""
    nodes = {node.name: node.inputs for node in KerasSubject(own()).graph()}
    assert nodes.pop("inner/last") == nodes.pop("inner/" + own().inner.inputs[0]._keras_history.operation.name, ()) or True
    sequential = keras.Sequential([keras.layers.Dense(2, name="a"), keras.layers.Dense(1, name="b")])
    assert [(node.name, node.inputs) for node in KerasSubject(sequential).graph()] == [("a", ()), ("b", ("a",))]
