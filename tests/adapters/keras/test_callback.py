"""The Keras adapter, under real fits on Keras's backend of the environment (KERAS_BACKEND, torch unless set)."""

from __future__ import annotations

import gc
import signal
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
from trainbus import CheckpointError, LoopError, MissingMetric, SettingsError, UnreadableCheckpoint, hookimpl
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

pytestmark = pytest.mark.filterwarnings("ignore:\\s*Your input ran out of data:UserWarning")


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
    model.compile(**{"optimizer": optimizer or keras.optimizers.SGD(0.1), "loss": "mse", **options})
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

    check_subject(
        lambda: KerasSubject(line(optimizer()), validation_data=(X, Y)),
        lambda subject: subject.model.train_on_batch(X, Y),
    )


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
    model = line("adam", loss=keras.losses.MeanSquaredError())  # Keras 3.15.1 cannot load "mse" from .h5
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

    # Keras's own callback brings back what was not averaged
    model, raw = line(optimizer()), []
    theirs = keras.callbacks.EarlyStopping("loss", mode="max", patience=2, restore_best_weights=True)
    fit(model, [Listens(lambda epoch: raw.append(model.get_weights())), theirs], epochs=5)
    np.testing.assert_array_equal(model.get_weights()[0], raw[0][0])
    assert not np.array_equal(raw[0][0], seen[0][0])


def test_averages_that_are_swapped_in_are_not_lost() -> None:
    """Listed before Keras's SwapEMAWeights the callback remembers weights and averages as they are."""
    model = line(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9))
    seen: list[Any] = []

    def look(_: int) -> None:
        seen.append([np.array(each) for each in KerasSubject(model).snapshot().averages])

    stopper = EarlyStopping(monitor="loss", mode="max", patience=2, restore_best_weights=True)
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    fit(model, [Listens(look), KerasCallback(stopper), swap], epochs=9, validation_data=(X, Y))
    np.testing.assert_allclose(model.get_weights()[0], seen[0][0], rtol=1e-6)


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


def test_keras_finds_the_schedule_hours_later() -> None:
    """Keras's own callback fails at its first reduction only."""
    model = line(keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)))
    with pytest.raises(TypeError, match="is not settable"):
        fit(model, [keras.callbacks.ReduceLROnPlateau("loss", mode="max", patience=1)], epochs=9)
    assert int(model.optimizer.iterations) == 10


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
        metrics={
            "a": ["accuracy", "mae"],
            "b": [odd, keras.metrics.R2Score(name="r2"), keras.metrics.R2Score(name="r2")],
        },
        weighted_metrics={"a": ["accuracy"], "b": []},
    )
    subject = KerasSubject(model)
    assert subject.direction_of("a_accuracy") is None, "not known before the metrics are built"
    history = model.fit(X, [Y > 0, Y], batch_size=5, verbose=0, validation_data=(X, [Y > 0, Y])).history

    told = {name: subject.direction_of(name) for name in history}

    down, up = ["loss", "a_loss", "b_loss", "a_mae"], ["a_accuracy", "a_weighted_accuracy", "b_r2", "b_r2_1"]
    wanted = (
        dict.fromkeys(down, "min") | dict.fromkeys([name for name in up if name in history], "max") | {"b_odd": None}
    )
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
    """Layers called freely have no edges between them; those of a sequential model have, even before it is built."""
    model = own()
    hole = model.inner.inputs[0]._keras_history.operation.name
    nodes = [(node.name, node.inputs) for node in KerasSubject(model).graph()]
    # two layers of one name are two nodes
    assert nodes == [("twin", ()), ("twin_2", ()), (f"inner/{hole}", ()), ("inner/last", (f"inner/{hole}",))]

    sequential = keras.Sequential([keras.layers.Dense(2, name="a"), keras.layers.Dense(1, name="b")])
    assert [(node.name, node.inputs) for node in KerasSubject(sequential).graph()] == [("a", ()), ("b", ("a",))]


# --- the events of a fit


def epoch(
    number: int, steps: int, *, val: bool = False, last: int = 4, names: tuple[str, ...] = ("loss",)
) -> list[Any]:
    """What Ears hear of an epoch that ends after `steps` weight updates, its last batch being number `last`."""
    told = [f"val_{name}" for name in names]
    validation = [f"validation {number} begin", (f"validation {number} end", told)] if val else []
    metrics = sorted(["learning_rate", *names, *(told if val else [])])
    return [f"epoch {number} begin", *validation, (f"epoch {number} end", last, steps, metrics)]


@pytest.mark.parametrize("freq", [2, [2, 4], [2, 9]])
def test_events_under_validation_freq_and_initial_epoch(freq: Any) -> None:
    """Epochs keep Keras's numbers, and a validation is told in the epochs that have one."""
    ears = Ears()
    fit(line(), [KerasCallback(ears)], initial_epoch=1, epochs=4, validation_data=(X, Y), validation_freq=freq)
    last = epoch(3, 15, val=freq != [2, 9])
    assert ears.heard == ["train begin", *epoch(1, 5, val=True), *epoch(2, 10), *last, "train end"]


def test_batches_are_told_to_those_who_listen() -> None:
    """A listener hears each batch, in order, in the main thread, with Keras's running means."""
    ears = BatchEars()
    fit(line(), [KerasCallback(ears)], batch_size=4, epochs=2)
    told = [[f"batch {b} begin", (f"batch {b} end", b + 1, ["loss"])] for b in range(3)]
    assert ears.heard[2:8] == [event for pair in told for event in pair]
    assert [event[1] for event in ears.heard if isinstance(event, tuple) and "batch" in event[0]] == [1, 2, 3, 4, 5, 6]
    assert ears.threads == {threading.current_thread().name}


@pytest.mark.parametrize("kind", ["bare", "list", "tuple", "dict", "CallbackList"])
def test_batches_never_come_in_threads(kind: str) -> None:
    """However a fit is given the callback, Keras's threaded dispatch is not used for it."""
    ears, model = BatchEars(), line()
    cb = KerasCallback([ears])
    given: Any = {"bare": cb, "list": [cb], "tuple": (cb,), "dict": {"a": cb}}.get(kind)
    if kind == "CallbackList":
        given = keras.callbacks.CallbackList([cb], add_history=True, model=model, epochs=2, steps=10)
    fit(model, given, batch_size=1, epochs=2)
    steps = [event[1] for event in ears.heard if isinstance(event, tuple) and "batch" in event[0]]
    assert steps == list(range(1, 21))
    assert ears.threads == {threading.current_thread().name}


def test_where_nobody_hears_batches_keras_is_left_as_it_is() -> None:
    """Without a listener for batches the callback overrides no batch hook, also after a fit that had one and failed."""
    cb = KerasCallback([BatchEars()])
    with pytest.raises(ZeroDivisionError):
        fit(line(), [cb, KerasRaises()])
    cb.callbacks = [Ears()]
    overridden: list[bool] = []

    def look(_: int) -> None:
        overridden.append("on_train_batch_end" in vars(cb) or "on_train_batch_begin" in vars(cb))

    fit(line(), [cb, Listens(look)])
    assert overridden == [False]
    assert KerasCallback.on_train_batch_end is keras.callbacks.Callback.on_train_batch_end


@pytest.mark.parametrize("ears", [Ears, BatchEars])
def test_unknown_numbers_of_batches(ears: type[Ears]) -> None:
    """A generator without a length is counted as it comes, and so is one that gives fewer batches than it has."""
    heard, model = ears(), line()
    cb = KerasCallback([heard])
    model.fit(batches(4), shuffle=False, verbose=0, callbacks=[cb])
    # JAX and TensorFlow begin a fifth batch before they find none; TensorFlow's optimizer counts it, too
    last = 4 if ears is BatchEars and BACKEND != "torch" else 3
    assert heard.heard[-2][:3] == ("epoch 0 end", last, int(model.optimizer.iterations))
    assert cb.run.state.planned_batches is None

    heard = ears()
    line().fit(batches(), steps_per_epoch=3, epochs=2, shuffle=False, verbose=0, callbacks=[KerasCallback([heard])])
    assert heard.heard[-2][:3] == ("epoch 1 end", 2, 6)


@pytest.mark.skipif(BACKEND == "torch", reason="Keras on torch has no steps_per_execution")
def test_steps_per_execution() -> None:
    """Several batches to an execution are one event, which counts each of their weight updates."""
    ears, said = BatchEars(), []
    keras_s = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: said.append(batch))
    fit(line(steps_per_execution=2), [KerasCallback(ears), keras_s], epochs=2)
    assert said == [1, 3, 5, 1, 3, 5], "Keras tells of a sixth batch that is not there"
    told = [event[:2] for event in ears.heard if isinstance(event, tuple) and "batch" in event[0]]
    assert [int(name.split()[1]) for name, _ in told] == [1, 3, 4, 1, 3, 4]
    assert [step for _, step in told] == [2, 4, 5, 7, 9, 10]
    assert ears.heard[-2][:3] == ("epoch 1 end", 4, 10)


@pytest.mark.parametrize("ears", [Ears, BatchEars])
def test_a_step_is_a_weight_update(ears: type[Ears]) -> None:
    """With gradient accumulation a step is told when the weights were changed, across epochs and fits."""
    model, heard = line(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)), ears()
    cb = KerasCallback(heard)
    fit(model, [cb], epochs=2)
    ends = [event[2] for event in heard.heard if isinstance(event, tuple) and "epoch" in event[0]]
    assert ends == [2, 5]
    if ears is BatchEars:
        steps = [event[1] for event in heard.heard if isinstance(event, tuple) and "batch" in event[0]]
        assert steps == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]


def test_a_skipped_update_is_no_step() -> None:
    """A loss scale so high that gradients are infinite changes no weights, and counts none."""
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=1e38)
    model, ears = line(optimizer), BatchEars()
    fit(model, [KerasCallback(ears)], y=Y * 100)
    steps = [event[1] for event in ears.heard if isinstance(event, tuple) and "batch" in event[0]]
    assert steps[0] == 0
    assert steps[-1] == int(optimizer.iterations) < 5


@pytest.mark.skipif(BACKEND != "torch", reason="a train step written for torch")
@pytest.mark.parametrize("ears", [Ears, BatchEars])
def test_a_train_step_with_optimizers_of_its_own(ears: type[Ears]) -> None:
    """Where the compiled optimizer is not used, as in a GAN, each batch is a step."""

    class Adversary(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(1)
            self.mine = keras.optimizers.SGD(0.1)

        def call(self, x: Any) -> Any:
            return self.dense(x)

        def train_step(self, data: Any) -> dict[str, Any]:
            x, y = data
            self.zero_grad()
            loss = keras.ops.mean((self(x) - y) ** 2)
            loss.backward()
            variables = self.trainable_variables
            self.mine.apply([each.value.grad for each in variables], variables)
            return {"d_loss": loss}

    model, heard = Adversary(), ears()
    model.compile()
    fit(model, [KerasCallback(heard)], epochs=2)
    ends = [event for event in heard.heard if isinstance(event, tuple) and "epoch" in event[0]]
    assert [event[1:3] for event in ends] == [(4, 5), (4, 10)]
    assert ends[0][3] == ["d_loss", "learning_rate"]


def test_models_with_several_outputs() -> None:
    """The names of outputs are in the metrics, and can be monitored."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [keras.layers.Dense(1, name=name)(inputs) for name in "ab"])
    model.compile("sgd", ["mse", "mse"], metrics=[["mae"], ["accuracy"]])
    cb = KerasCallback(
        [EarlyStopping(monitor="val_b_accuracy", patience=9), EarlyStopping(monitor="a_mae", patience=9)]
    )
    model.fit(X, [Y, Y], validation_data=(X, [Y, Y]), verbose=0, callbacks=[cb])
    assert {"a_loss", "b_loss", "a_mae", "b_accuracy", "val_a_mae", "val_b_accuracy"} <= cb.run.history.keys()
    assert (cb.run.monitor("val_b_accuracy").direction, cb.run.monitor("a_mae").direction) == ("max", "min")

    with pytest.raises(ValueError, match="isn't able to automatically determine"):
        model.fit(X, [Y, Y], verbose=0, callbacks=[keras.callbacks.EarlyStopping("b_accuracy")])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy: str, request: pytest.FixtureRequest) -> None:
    """Half precision, with or without a loss scale, changes nothing: rates are cut, the best is saved and restored."""
    before = keras.config.dtype_policy()
    request.addfinalizer(lambda: keras.config.set_dtype_policy(before))
    keras.config.set_dtype_policy(policy)
    model = line(keras.optimizers.SGD(1e-3))
    callbacks = [
        EarlyStopping(monitor="loss", mode="max", patience=3, restore_best_weights=True),
        ReduceLROnPlateau(monitor="loss", mode="max", patience=2, factor=0.5),
        ModelCheckpoint("best.keras", monitor="loss", mode="max", save_best_only=True),
    ]
    cb = KerasCallback(callbacks)
    history = fit(model, [cb], epochs=6, shuffle=False).history
    best = cb.run.result.best["loss"].epoch
    rates = [1e-3] * (best + 3) + [5e-4] * (len(history["loss"]) - best - 3)
    assert history["learning_rate"] == pytest.approx(rates)
    np.testing.assert_array_equal(model.get_weights()[0], keras.models.load_model("best.keras").get_weights()[0])


# --- what is none of the run's business


def test_evaluate_and_predict_on_their_own_are_not_heard() -> None:
    """The callback may stand in evaluate and predict too; that tells nobody anything."""
    ears, model = Ears(), line()
    cb = KerasCallback(ears)
    model.evaluate(X, Y, verbose=0, callbacks=[cb])
    model.predict(X, verbose=0, callbacks=[cb])
    assert ears.heard == []
    with pytest.raises(LoopError, match="no run yet"):
        _ = cb.run


def test_evaluate_and_predict_inside_a_fit_are_not_its_validation() -> None:
    """Only fit's own validation is one, whoever evaluates meanwhile with the same callback."""
    ears, model = BatchEars(), line()
    cb = KerasCallback(ears)

    def interfere(_: int) -> None:
        model.evaluate(X, Y, verbose=0, callbacks=[cb])
        model.predict(X, verbose=0, callbacks=[cb])
        model.evaluate(X, Y, verbose=0)

    fit(model, [Listens(interfere), cb, Listens(interfere)], epochs=3, validation_data=(X, Y), validation_freq=3)
    heard = [event for event in ears.heard if "batch" not in event[0] and not str(event).startswith("batch")]
    assert heard == ["train begin", *epoch(0, 5), *epoch(1, 10), *epoch(2, 15, val=True), "train end"]


def test_loops_of_train_on_batch_are_not_affected() -> None:
    """A hand-written loop, also on a model that a fit has watched, is nobody's but its own."""
    ears, model = BatchEars(), line()
    fit(model, [KerasCallback(ears)])
    heard = list(ears.heard)
    model.train_on_batch(X, Y)
    assert ears.heard == heard


def test_a_hand_written_loop_has_a_run_of_its_own() -> None:
    """`Run` round train_on_batch has the same callbacks as a fit."""
    model = line()
    with trainbus.watch(model, callbacks=[ModelCheckpoint("m", monitor="loss", save_best_only=True)]) as run:
        for _ in run.epochs(2):
            for x, y in run.batches([(X[:5], Y[:5]), (X[5:], Y[5:])]):
                run.log(model.train_on_batch(x, y, return_dict=True), count=len(x))
    assert run.result.checkpoints == (Path("m.keras"),)
    assert run.step == int(model.optimizer.iterations) == 4


def test_a_loop_that_drives_a_callback_list() -> None:
    """Keras's list of callbacks can be driven by hand, and the run goes with it."""
    ears, model = BatchEars(), line()
    events = keras.callbacks.CallbackList([KerasCallback(ears)], model=model)
    events.on_train_begin()
    events.on_epoch_begin(0)
    for batch in range(2):
        events.on_train_batch_begin(batch)
        events.on_train_batch_end(batch, model.train_on_batch(X, Y, return_dict=True))
    events.on_epoch_end(0, {"loss": 1.0})
    events.on_train_end()
    told = [
        f"batch {b} {what}" if what == "begin" else (f"batch {b} end", b + 1, ["loss"])
        for b in (0, 1)
        for what in ("begin", "end")
    ]
    assert ears.heard == ["train begin", "epoch 0 begin", *told, *epoch(0, 2, last=1)[1:], "train end"]


def test_an_inner_fit_needs_its_own_callback() -> None:
    """One callback cannot hear two fits at once, and says so."""
    inner, outer = line(), line()
    cb = KerasCallback(Ears())
    with pytest.raises(LoopError, match=r"an outer fit\(\) uses this KerasCallback already"):
        fit(outer, [cb, Listens(lambda _: fit(inner, [cb]))])


# --- decisions


class Stops:
    """Asks for an end at one event."""

    def __init__(self, event: str) -> None:
        self.event = event

    @hookimpl
    def on_train_begin(self) -> Any:
        return trainbus.decision.stop("enough") if self.event == "train" else None

    @hookimpl
    def on_batch_end(self, epoch: int, batch: int) -> Any:
        return trainbus.decision.stop("enough") if self.event == "batch" and (epoch, batch) == (1, 2) else None

    @hookimpl
    def on_epoch_end(self, epoch: int) -> Any:
        return trainbus.decision.stop("enough") if self.event == "epoch" and epoch == 1 else None


@pytest.mark.parametrize(("event", "steps"), [("train", 1), ("batch", 8), ("epoch", 10)])
def test_a_stop_ends_the_fit(event: str, steps: int) -> None:
    """Keras ends the training after the batch in which the stop was asked for, the epoch's end still told."""
    cb = KerasCallback(Stops(event))
    history = fit(line(), [cb], epochs=9, validation_data=(X, Y)).history
    assert (cb.run.step, cb.run.result.reason) == (steps, "enough")
    assert len(history["val_loss"]) == len(cb.run.history["val_loss"]) == 1 + (event != "train")


def test_anyone_may_stop_the_run() -> None:
    """Another callback of the fit can end the training through the run, with its reason."""
    cb = KerasCallback()
    fit(line(), [cb, Listens(lambda _: cb.run.stop("the neighbour wants it"))], epochs=9)
    assert (cb.run.result.epochs, cb.run.result.reason) == (1, "the neighbour wants it")


def test_best_weights_are_restored_when_fit_ends() -> None:
    """After a fit the model has the weights of the best epoch, as with Keras's own callback."""
    mine, theirs = line(keras.optimizers.SGD(0.9)), line(keras.optimizers.SGD(0.9))
    options: Any = {"monitor": "loss", "patience": 2, "restore_best_weights": True}
    cb = KerasCallback(EarlyStopping(**options))
    first = fit(mine, [cb], epochs=9, shuffle=False).history["loss"]
    second = fit(theirs, [keras.callbacks.EarlyStopping(**options)], epochs=9, shuffle=False).history["loss"]
    assert first == pytest.approx(second)
    np.testing.assert_allclose(mine.get_weights()[0], theirs.get_weights()[0], rtol=1e-6)
    assert cb.run.result.best["loss"].value == pytest.approx(min(first))


def test_history_has_the_learning_rates_that_a_callback_steers() -> None:
    """Where rates are steered they are in Keras's history, as with Keras's own callback; else nothing is added."""
    options: Any = {"monitor": "loss", "mode": "max", "patience": 1, "factor": 0.5}
    mine = fit(line(), [KerasCallback(ReduceLROnPlateau(**options))], epochs=4, shuffle=False).history
    theirs = fit(line(), [keras.callbacks.ReduceLROnPlateau(**options)], epochs=4, shuffle=False).history
    assert mine["learning_rate"] == pytest.approx(theirs["learning_rate"])
    assert len(set(mine["learning_rate"])) > 1
    assert "learning_rate" not in fit(line(), [KerasCallback(EarlyStopping(monitor="loss"))]).history


def test_the_list_of_the_four() -> None:
    """The callbacks of the README work in a fit, whose checkpoints Keras loads."""
    callbacks = [
        EarlyStopping(monitor="val_loss", patience=3),
        ModelCheckpoint("best.keras", monitor="val_loss", save_best_only=True),
        ModelCheckpoint("best.weights.h5", monitor="val_loss", save_best_only=True, save_weights_only=True),
        ModelCheckpoint("all/{epoch}-{val_loss:.3f}"),
        ReduceLROnPlateau(monitor="val_loss", factor=0.1, patience=2, min_lr=1e-5),
    ]
    model = line()
    cb = KerasCallback(callbacks)
    fit(model, [cb], epochs=3, validation_data=(X, Y))

    best = cb.run.result.best["val_loss"]
    loaded, weights = keras.models.load_model("best.keras"), line()
    weights.load_weights("best.weights.h5")
    for each in (loaded, weights):
        assert each.evaluate(X, Y, verbose=0) == pytest.approx(best.value, rel=1e-5)
    values = cb.run.history["val_loss"]
    assert {path.name for path in Path("all").glob("*.keras")} == {
        f"{i + 1}-{v:.3f}.keras" for i, v in enumerate(values)
    }


def test_a_second_fit_starts_afresh() -> None:
    """Nothing leaks from one fit to the next: each has a run of its own, with plugins of its own."""
    cb = KerasCallback(EarlyStopping(monitor="loss", mode="max", patience=1))
    fit(line(), [cb], epochs=9)
    first = cb.run
    fit(line(), [cb], epochs=9)
    assert cb.run is not first
    assert (cb.run.result, cb.run.history) == (first.result, first.history)


# --- a metric that is not there


@pytest.mark.parametrize(
    ("options", "epochs", "said"),
    [
        ({}, 1, "'val_loss' is not logged; .*there was no validation"),
        ({"validation_data": (X, Y), "validation_freq": 3}, 3, None),
        ({"validation_data": (X, Y), "validation_freq": [2]}, 3, None),
        ({"validation_split": 0.5}, 3, None),
    ],
)
def test_a_metric_of_a_validation_is_missed_when_there_is_none(
    options: dict[str, Any], epochs: int, said: str | None
) -> None:
    """Without validation data a monitored val_loss fails at the end of the first epoch; else it is waited for."""
    cb = KerasCallback(EarlyStopping(monitor="val_loss", patience=9))
    if said is None:
        fit(line(), [cb], epochs=epochs, **options)
    else:
        with pytest.raises(MissingMetric, match=said):
            fit(line(), [cb], epochs=9, **options)
    assert cb.run.epoch + 1 == epochs


def test_a_misspelt_metric_fails_when_it_should_have_come() -> None:
    """With a validation every second epoch, a wrong val_ name fails at the end of the second."""
    cb = KerasCallback(EarlyStopping(monitor="val_los"))
    with pytest.raises(MissingMetric, match=r"'val_los' is not logged; did you mean 'val_loss'\? logged: .*val_loss$"):
        fit(line(), [cb], epochs=9, validation_data=(X, Y), validation_freq=2)
    assert cb.run.epoch == 1


def test_a_metric_that_another_callback_adds() -> None:
    """What an earlier Keras callback puts into the logs can be monitored."""

    class Adds(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["val_mine"] = -epoch

    cb = KerasCallback(EarlyStopping(monitor="val_mine", mode="max", patience=2))
    fit(line(), [Adds(), cb], epochs=9)
    assert cb.run.history["val_mine"] == [0, -1, -2]


# --- errors


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_an_error_in_a_plugin_ends_the_run(error: BaseException) -> None:
    """What a plugin raises goes to the user, and everyone is told of the end first."""
    ears = Ears()
    cb = KerasCallback([ears, Raises(error)])
    with pytest.raises(type(error)) as info:
        fit(line(), [cb], epochs=9)
    assert info.value is error is cb.run.error
    assert ears.heard[-2:] == [type(error), "train end"]


class FailingObserver(BatchEars):
    """Hears all, and raises at one hook, whenever it comes."""

    critical = False

    def __init__(self, hook: str) -> None:
        super().__init__()
        self.hook = hook

    @hookimpl
    def on_batch_end(self) -> None:
        self.go("on_batch_end")

    @hookimpl
    def on_epoch_end(self) -> None:
        self.go("on_epoch_end")

    @hookimpl
    def on_train_end(self) -> None:
        super().on_train_end()
        self.go("on_train_end")

    def go(self, hook: str) -> None:
        if hook == self.hook:
            raise ZeroDivisionError(hook)


@pytest.mark.parametrize(("hook", "times"), [("on_batch_end", 3), ("on_epoch_end", 3), ("on_train_end", 1)])
def test_a_failing_observer_disturbs_no_fit(hook: str, times: int) -> None:
    """The fit and the other plugins go on as without it; it is switched off after three failures and closed once."""
    undisturbed, healthy, failing = BatchEars(), BatchEars(), FailingObserver(hook)
    plain = fit(line(), [KerasCallback(undisturbed)], epochs=5)
    cb = KerasCallback([failing, healthy])
    history = fit(line(), [cb], epochs=5)

    assert history.history == plain.history
    assert healthy.heard == undisturbed.heard
    assert failing.heard.count("train end") == 1
    assert [(each.plugin, each.hook) for each in cb.run.failures] == [("FailingObserver", hook)] * times
    assert cb.run.error is None


@pytest.mark.parametrize("place", [0, 1])
def test_a_failing_decider_is_named_to_fit(place: int) -> None:
    """The very error leaves fit, with one note of plugin and hook, after the others have heard of it and of the end."""
    error, ears = ZeroDivisionError("mine"), Ears()
    plugins: list[object] = [ears]
    plugins.insert(place, Raises(error))
    with pytest.raises(ZeroDivisionError) as raised:
        fit(line(), [KerasCallback(plugins)], epochs=5)
    assert raised.value is error
    assert error.__notes__ == ["raised in on_epoch_end by the plugin 'Raises'"]
    assert ears.heard[-2:] == [ZeroDivisionError, "train end"]
    assert ears.heard.count("train end") == 1


class Breaks(keras.layers.Layer):
    """Raises at its n-th call outside of fit's own trial runs."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None

    def call(self, x: Any) -> Any:
        if self.error is not None:
            raise self.error
        return x


@pytest.mark.parametrize("error", [ZeroDivisionError("in the loop"), KeyboardInterrupt()])
def test_an_error_in_a_training_step_ends_the_run_at_once(error: BaseException) -> None:
    """When a step raises, or is interrupted, everyone is told of that very error before fit is left."""
    breaks, ears = Breaks(), Ears()
    model = keras.Sequential([keras.Input((4,)), breaks, keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    cb = KerasCallback(ears)
    with pytest.raises(type(error)) as info:
        fit(model, [cb, Listens(lambda _: setattr(breaks, "error", error))], epochs=9)
    assert cb.run.error is info.value  # whose traceback holds fit's frame alive
    assert ears.heard[-3:] == ["epoch 1 begin", type(error), "train end"]

    breaks.error = None
    ears.heard.clear()
    fit(model, [cb])
    assert ears.heard[-1] == "train end"
    assert cb.run.error is None


@pytest.mark.parametrize("where", ["data", "callback"])
def test_an_error_elsewhere_ends_the_run_when_it_was_dealt_with(where: str) -> None:
    """When data or another Keras callback raises, the run ends as soon as the error is let go."""

    def broken() -> Iterator[Any]:
        yield from batches(8)
        raise ZeroDivisionError("no more")

    ears = Ears()
    cb = KerasCallback(ears)
    others = [KerasRaises()] if where == "callback" else []
    with pytest.raises(Exception, match=r"no more|somebody else's"):  # TensorFlow makes an error of its own of it
        line().fit(batches(2) if others else broken(), shuffle=False, verbose=0, callbacks=[cb, *others])
    gc.collect()
    assert ears.heard[-1] == "train end"
    # JAX and TensorFlow fetch the data in the training step
    assert isinstance(cb.run.error, LoopError) == (where == "callback" or BACKEND == "torch")


def test_the_next_fit_ends_a_run_that_was_left_open() -> None:
    """Where the error is kept, as notebooks do, the run ends at the latest when the next fit begins."""
    ears = Ears()
    cb = KerasCallback(ears)
    with pytest.raises(ZeroDivisionError) as info:
        fit(line(), [cb, KerasRaises()])
    assert info.value is not None
    assert ears.heard[-1] != "train end"
    first = cb.run
    fit(line(), [cb])
    assert ears.heard.count("train end") == 2
    assert "left by an error" in first.result.reason


def test_ctrl_c_after_a_fit_that_was_left_interrupts() -> None:
    """It is not kept for a run whose loop is gone, while somebody still holds the error; inside `fit` it is heard."""

    class Asks(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            signal.raise_signal(signal.SIGINT)

    cb = KerasCallback()
    with pytest.raises(ZeroDivisionError) as info:
        fit(line(), [cb, KerasRaises()])
    assert info.value is not None
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert not cb.run.state.requested

    with pytest.raises(KeyboardInterrupt):
        fit(line(), [cb, Asks()])
    assert cb.run.state.requested == "SIGINT"


def test_the_end_of_python_ends_a_run() -> None:
    """A script that dies of another callback's error still ends its run, so that writers are closed."""
    script = """
import keras, numpy as np, trainbus
from trainbus.adapters.keras import KerasCallback
class Ears:
    @trainbus.hookimpl
    def on_train_end(self, run):
        print("ended:", run.result.reason)
class Breaks(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise ZeroDivisionError
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.ones((4, 1)), np.ones((4, 1)), verbose=0, callbacks=[KerasCallback(Ears()), Breaks()])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ended: LoopError: fit() was left by an error" in done.stdout


def test_the_model_is_left_as_it_was() -> None:
    """After a fit the model runs Keras's own functions again, whatever ended it."""
    model = line()
    fit(model, None)
    before = model.train_function
    fit(model, [KerasCallback(BatchEars())])
    assert model.train_function is before
    with pytest.raises(ValueError, match="mine"):
        fit(model, [KerasCallback(Raises(ValueError("mine")))])
    assert model.train_function is before


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="tf.data makes another error of it")
def test_a_lost_fit_gives_its_directory_back_to_the_next() -> None:
    """A fit that Ctrl-C ended in its data, whose traceback is still held, leaves its directory to others."""

    def dying() -> Any:
        for _ in range(20):  # Keras looks at the first few before fit begins
            yield X[:2], Y[:2]
        raise KeyboardInterrupt("in the data")

    with pytest.raises(KeyboardInterrupt) as held:
        dead = KerasCallback(ModelCheckpoint("runs/best"))
        line().fit(dying(), steps_per_epoch=50, verbose=0, shuffle=False, callbacks=[dead])
    cb = KerasCallback(ModelCheckpoint("runs/best"))
    fit(line(), [cb], epochs=1)

    assert held.value.args == ("in the data",)
    assert [path.name for path in cb.run.result.checkpoints] == ["best.keras"]


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_a_file_that_does_not_fit_is_told_by_name(suffix: str) -> None:
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
    with pytest.raises(UnreadableCheckpoint, match=f"{foreign.name}' is no file of Keras's that can be read"):
        subject.load(foreign)


def compiled_model(units: int) -> Any:
    """A dense layer of so many units."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])
    model.compile("adam", "mse")
    return model
