"""One fit as a run: its steps, its errors, and what ends it."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainbus import LoopError, hookimpl
from trainbus.adapters.keras import KerasCallback
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import EventRecorder, RecordedEvent

from .fits import BATCHES, EPOCHS, AtEpochEnd, KerasRaises, X, Y, described, fit, line
from .own_optimizer import OwnOptimizer

BACKEND = keras.backend.backend()
pytestmark = pytest.mark.filterwarnings("ignore:\\s*Your input ran out of data:UserWarning")


class Raises:
    """A plugin that raises at the end of the first epoch."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @hookimpl
    def on_epoch_end(self) -> None:
        raise self.error


def batches(count: int | None = None) -> Iterator[tuple[Any, Any]]:
    """Batches of 2 without a known length."""
    done = 0
    while count is None or done < count:
        yield X[:2], Y[:2]
        done += 1


@pytest.mark.parametrize("hooks", [EPOCHS, BATCHES])
def test_unknown_numbers_of_batches(hooks: tuple[str, ...]) -> None:
    """A generator without a length is counted as it comes, and so is one that gives fewer batches than it has."""
    recorder, model = EventRecorder(*hooks), line()
    cb = KerasCallback([recorder])
    model.fit(batches(4), shuffle=False, verbose=0, callbacks=[cb])
    # JAX and TensorFlow begin a fifth batch before they find none; TensorFlow's optimizer counts it, too
    last = 4 if hooks is BATCHES and BACKEND != "torch" else 3
    assert recorder.of("on_epoch_end", "epoch", "batch", "step") == [(0, last, int(model.optimizer.iterations))]
    assert cb.run.state.planned_batches is None

    recorder = EventRecorder(*hooks)
    line().fit(batches(), steps_per_epoch=3, epochs=2, shuffle=False, verbose=0, callbacks=[KerasCallback([recorder])])
    assert recorder.of("on_epoch_end", "epoch", "batch", "step")[-1] == (1, 2, 6)


@pytest.mark.skipif(BACKEND == "torch", reason="Keras on torch has no steps_per_execution")
def test_steps_per_execution() -> None:
    """Several batches to an execution are one event, which counts each of their weight updates."""
    recorder, at_keras = EventRecorder(*BATCHES), list[int]()
    other = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: at_keras.append(batch))
    fit(line(steps_per_execution=2), [KerasCallback(recorder), other], epochs=2)
    assert at_keras == [1, 3, 5, 1, 3, 5], "Keras reports a sixth batch that does not exist"
    assert recorder.of("on_batch_end", "batch") == [1, 3, 4, 1, 3, 4]
    assert recorder.of("on_batch_end", "step") == [2, 4, 5, 7, 9, 10]
    assert recorder.of("on_epoch_end", "epoch", "batch", "step")[-1] == (1, 4, 10)


@pytest.mark.parametrize("hooks", [EPOCHS, BATCHES])
def test_a_step_is_a_weight_update(hooks: tuple[str, ...]) -> None:
    """With gradient accumulation a step is counted when the weights were changed, across epochs and fits."""
    model, recorder = line(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)), EventRecorder(*hooks)
    fit(model, [KerasCallback(recorder)], epochs=2)
    assert recorder.of("on_epoch_end", "step") == [2, 5]
    if hooks is BATCHES:
        assert recorder.of("on_batch_end", "step") == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]


def test_a_skipped_update_is_no_step() -> None:
    """A loss scale so high that gradients are infinite changes no weights, and counts none."""
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=1e38)
    model, recorder = line(optimizer), EventRecorder("on_batch_end")
    fit(model, [KerasCallback(recorder)], y=Y * 100)
    steps = recorder.of("on_batch_end", "step")
    assert steps[0] == 0
    assert steps[-1] == int(optimizer.iterations) < 5


@pytest.mark.parametrize("hooks", [EPOCHS, BATCHES])
def test_a_train_step_with_other_optimizers(hooks: tuple[str, ...]) -> None:
    """If the compiled optimizer is not used, as in a GAN, each batch is a step."""
    model, recorder = OwnOptimizer(metric="d_loss"), EventRecorder(*hooks)
    model.compile()
    fit(model, [KerasCallback(recorder)], epochs=2)
    assert recorder.of("on_epoch_end", "batch", "step") == [(4, 5), (4, 10)]
    assert recorder.of("on_epoch_end", "metrics")[0].keys() == {"d_loss"}


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_an_error_in_a_plugin_ends_the_run(error: BaseException) -> None:
    """The user gets the error of a plugin, after the end hooks of all plugins."""
    recorder = EventRecorder(*EPOCHS)
    cb = KerasCallback([recorder, Raises(error)])
    with pytest.raises(type(error)) as info:
        fit(line(), [cb], epochs=9)
    assert info.value is error is cb.run.error
    assert described(recorder)[-2:] == [("on_exception", error), ("on_train_end",)]


class FailingObserver(EventRecorder):
    """An observer that implements every hook, and raises in one of them each time."""

    critical = False

    def __init__(self, hook: str) -> None:
        def answer(event: RecordedEvent) -> None:
            if event.hook == hook:
                raise ZeroDivisionError(hook)

        super().__init__(*BATCHES, answer=answer)


@pytest.mark.parametrize(("hook", "times"), [("on_batch_end", 3), ("on_epoch_end", 3), ("on_train_end", 1)])
def test_a_failing_observer_disturbs_no_fit(hook: str, times: int) -> None:
    """The fit and the other plugins continue as without it; it is switched off after three failures and closed once."""
    undisturbed, healthy, failing = EventRecorder(*BATCHES), EventRecorder(*BATCHES), FailingObserver(hook)
    plain = fit(line(), [KerasCallback(undisturbed)], epochs=5)
    cb = KerasCallback([failing, healthy])
    history = fit(line(), [cb], epochs=5)

    assert history.history == plain.history
    assert described(healthy) == described(undisturbed)
    assert failing.names.count("on_train_end") == 1
    assert [(each.plugin, each.hook) for each in cb.run.failures] == [("FailingObserver", hook)] * times
    assert cb.run.error is None


@pytest.mark.parametrize("place", [0, 1])
def test_a_failing_decider_is_named_to_fit(place: int) -> None:
    """The same error leaves fit, with one note of plugin and hook, after the hooks of the others were called."""
    error, recorder = ZeroDivisionError("mine"), EventRecorder(*EPOCHS)
    plugins: list[object] = [recorder]
    plugins.insert(place, Raises(error))
    with pytest.raises(ZeroDivisionError) as raised:
        fit(line(), [KerasCallback(plugins)], epochs=5)
    assert raised.value is error
    assert error.__notes__ == ["raised in on_epoch_end by the plugin 'Raises'"]
    assert described(recorder)[-2:] == [("on_exception", error), ("on_train_end",)]
    assert recorder.names.count("on_train_end") == 1


class Breaks(keras.layers.Layer):
    """A layer that raises at its n-th call outside of fit's own trial runs."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None

    def call(self, x: Any) -> Any:
        if self.error is not None:
            raise self.error
        return x


@pytest.mark.parametrize("error", [ZeroDivisionError("in the loop"), KeyboardInterrupt()])
def test_an_error_in_a_training_step_ends_the_run_at_once(error: BaseException) -> None:
    """When a step raises, or is interrupted, all plugins get that same error before fit is left."""
    breaks, recorder = Breaks(), EventRecorder(*EPOCHS)
    model = keras.Sequential([keras.Input((4,)), breaks, keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    cb = KerasCallback(recorder)
    with pytest.raises(type(error)) as info:
        fit(model, [cb, AtEpochEnd(lambda _: setattr(breaks, "error", error))], epochs=9)
    assert cb.run.error is info.value  # whose traceback holds fit's frame alive
    assert described(recorder)[-3:] == [("on_epoch_begin", 1), ("on_exception", info.value), ("on_train_end",)]

    breaks.error = None
    recorder.events.clear()
    fit(model, [cb])
    assert recorder.names[-1] == "on_train_end"
    assert cb.run.error is None


@pytest.mark.parametrize("where", ["data", "callback"])
def test_an_error_elsewhere_ends_the_run_when_its_traceback_is_released(where: str) -> None:
    """When data or another Keras callback raises, the run ends as soon as the error's traceback is released."""

    def broken() -> Iterator[Any]:
        yield from batches(8)
        raise ZeroDivisionError("no data")

    recorder = EventRecorder(*EPOCHS)
    cb = KerasCallback(recorder)
    others = [KerasRaises()] if where == "callback" else []
    with pytest.raises(Exception, match=r"no data|of another callback"):  # TensorFlow turns it into its own error
        line().fit(batches(2) if others else broken(), shuffle=False, verbose=0, callbacks=[cb, *others])
    gc.collect()
    assert recorder.names[-1] == "on_train_end"
    # JAX and TensorFlow fetch the data in the training step
    assert isinstance(cb.run.error, LoopError) == (where == "callback" or BACKEND == "torch")


def test_the_next_fit_ends_a_run_that_was_left_open() -> None:
    """If the error remains referenced, as in notebooks, the run ends at the latest when the next fit begins."""
    recorder = EventRecorder(*EPOCHS)
    cb = KerasCallback(recorder)
    with pytest.raises(ZeroDivisionError) as info:
        fit(line(), [cb, KerasRaises()])
    assert info.value is not None
    assert recorder.names[-1] != "on_train_end"
    first = cb.run
    fit(line(), [cb])
    assert recorder.names.count("on_train_end") == 2
    assert "ended with an error" in first.result.reason


def test_ctrl_c_after_a_fit_that_was_left_interrupts() -> None:
    """A signal interrupts at once if the run's loop is gone, even if its error is referenced; ``fit`` receives it."""

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


@pytest.mark.exhaustive
def test_the_end_of_python_ends_a_run() -> None:
    """A script that dies of another callback's error still ends its run, so that writers are closed."""
    script = """
import keras, numpy as np, trainbus
from trainbus.adapters.keras import KerasCallback
class Ends:
    @trainbus.hookimpl
    def on_train_end(self, run):
        print("ended:", run.result.reason)
class Breaks(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise ZeroDivisionError
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.ones((4, 1)), np.ones((4, 1)), verbose=0, callbacks=[KerasCallback(Ends()), Breaks()])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ended: LoopError: fit() ended with an error" in done.stdout


def test_the_model_is_restored_after_a_fit() -> None:
    """After a fit the model runs Keras's own functions again, whatever ended it."""
    model = line()
    fit(model, None)
    before = model.train_function
    fit(model, [KerasCallback(EventRecorder(*BATCHES))])
    assert model.train_function is before
    with pytest.raises(ValueError, match="mine"):
        fit(model, [KerasCallback(Raises(ValueError("mine")))])
    assert model.train_function is before


def test_an_interrupted_fit_releases_its_directory_to_the_next() -> None:
    """A fit that Ctrl-C ended in its data, whose traceback is still held, leaves its directory to others."""

    def dying() -> Any:
        for _ in range(20):  # Keras fetches the first few before fit begins
            yield X[:2], Y[:2]
        raise KeyboardInterrupt("in the data")

    # tf.data makes an error of its own of it
    with pytest.raises(Exception if BACKEND == "tensorflow" else KeyboardInterrupt, match="in the data") as held:
        dead = KerasCallback(ModelCheckpoint("runs/best"))
        line().fit(dying(), steps_per_epoch=50, verbose=0, shuffle=False, callbacks=[dead])
    cb = KerasCallback(ModelCheckpoint("runs/best"))
    fit(line(), [cb], epochs=1)

    assert held.value.__traceback__ is not None
    assert [path.name for path in cb.run.result.checkpoints] == ["best.keras"]


class StartsAt(keras.callbacks.Callback):
    """A callback that restores a training of its own, and says with which epoch fit begins."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_train_begin(self, logs: Any = None) -> None:
        self.model._initial_epoch = self.epoch


class BreaksAt(keras.callbacks.Callback):
    """A callback that breaks a fit."""

    def __init__(self, event: str, error: BaseException) -> None:
        super().__init__()
        setattr(self, event, self.fail)
        self.error = error

    def fail(self, *_: Any, **__: Any) -> None:
        raise self.error


@pytest.mark.covering(2)
@pytest.mark.parametrize("event", ["on_train_begin", "on_epoch_begin", "on_epoch_end", "on_test_end"])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("first", [True, False])
def test_the_initial_epoch_that_another_callback_sets_is_kept(
    event: str, error: type[BaseException], first: bool
) -> None:
    """After a fit that was broken, the next one begins where the other callback continues."""
    model, bus, ears = line(), KerasCallback(EarlyStopping(monitor="loss")), EventRecorder("on_epoch_begin")
    with pytest.raises(error):
        fit(model, [bus, BreaksAt(event, error())], validation_data=(X, Y), epochs=2)
    again = KerasCallback([ears])
    fit(model, [StartsAt(3), bus, again] if first else [again, bus, StartsAt(3)], epochs=5)

    assert ears.of("on_epoch_begin", "epoch") == [3, 4]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("broken_after", [1, 2])
def test_a_training_that_keras_backs_up_continues(order: int, broken_after: int) -> None:
    """Keras's BackupAndRestore works beside the bus, listed before or after it."""

    def callbacks(*more: Any) -> list[Any]:
        return [*[keras.callbacks.BackupAndRestore("backup"), bus][::order], *more]

    def fail(epoch: int) -> None:
        if epoch == broken_after:
            raise ZeroDivisionError

    model, ears = line(), EventRecorder("on_epoch_begin")
    bus = KerasCallback([ears])
    with pytest.raises(ZeroDivisionError):
        fit(model, callbacks(AtEpochEnd(fail)), epochs=4)
    ears.events.clear()
    fit(model, callbacks(), epochs=4)

    assert ears.of("on_epoch_begin", "epoch") == list(range(broken_after + 1, 4))


COMPILED: dict[str, dict[str, Any]] = {
    "a loss": {},
    "a metric": {"metrics": ["mae"]},
    "metrics": {"metrics": ["mae", "mse", "cosine_similarity"]},
    "a metric with a state of its own": {"metrics": ["RootMeanSquaredError"]},
    "a weighted metric": {"weighted_metrics": ["mae"]},
    "run eagerly": {"metrics": ["mae"], "run_eagerly": True},
    "several steps at once": {"metrics": ["mae"], "steps_per_execution": 2},
}


class Unbuilt(keras.Model):  # type: ignore[misc]
    """A model whose layers have no weights before ``fit``."""

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        self.parts = [*layers, keras.layers.Dense(1)]

    def call(self, x: Any) -> Any:
        for each in self.parts:
            x = each(x)
        return x


UNBUILT: dict[str, Callable[[], Any]] = {
    "one layer": Unbuilt,
    "several layers": lambda: Unbuilt(keras.layers.Dense(3), keras.layers.Dense(2)),
    "normalization": lambda: Unbuilt(keras.layers.Dense(3), keras.layers.BatchNormalization()),
    "a model inside": lambda: Unbuilt(Unbuilt(keras.layers.Dense(3))),
    "no inputs given": lambda: keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(1)]),
}


@pytest.mark.covering(1)
@pytest.mark.parametrize("name", UNBUILT)
@pytest.mark.parametrize(("data", "step"), [("array", 2), ("generator", 5)])
def test_a_model_that_fit_builds_is_resumed(name: str, data: str, step: int) -> None:
    """Its weights are loaded although its first step has not made them yet."""

    def train(**options: Any) -> tuple[Any, ...]:
        keras.utils.set_random_seed(1)
        model, bus = UNBUILT[name](), KerasCallback(ModelCheckpoint("run/{step}", save_freq=step), **options)
        model.compile("adam", "mse", metrics=["mae"])
        given = {} if data == "array" else {"x": batches(), "y": None, "batch_size": None, "steps_per_epoch": 5}
        fit(model, [bus], epochs=2, shuffle=False, **given)
        return bus.run.history, [each.tolist() for each in model.get_weights()]

    unbroken = train()

    assert train(resume=Path(f"run/{step}.keras")) == unbroken


@pytest.mark.covering(1)
@pytest.mark.parametrize("step", [4, 7])
@pytest.mark.parametrize("name", COMPILED)
def test_a_resume_in_mid_epoch_equals_the_unbroken_fit(name: str, step: int) -> None:
    """The metrics are those of the whole epoch, however many batches are skipped before they are built."""
    if name == "several steps at once" and BACKEND == "torch":
        pytest.skip("Keras on torch has no steps_per_execution")

    def train(**options: Any) -> tuple[Any, ...]:
        model = line(keras.optimizers.Adam(0.1), **COMPILED[name])
        bus = KerasCallback(ModelCheckpoint("run/{step}", save_freq=step), **options)
        weights = {"sample_weight": np.arange(1.0, 11.0)} if name == "a weighted metric" else {}
        fit(model, [bus], epochs=2, shuffle=False, **weights)
        return bus.run.history, [each.tolist() for each in model.get_weights()]

    unbroken = train()

    assert train(resume=Path(f"run/{step}.keras")) == unbroken


@pytest.mark.parametrize("broken", [False, True])
def test_a_resume_moves_the_initial_epoch_of_its_own_fit_only(broken: bool) -> None:
    """The fit after a resumed one begins with epoch 0; that of another model also if the resumed one was broken off."""
    fit(line(), [KerasCallback(ModelCheckpoint("run/newest.keras"))], epochs=2)
    model, ears = line(), EventRecorder("on_epoch_begin")
    resumed = KerasCallback([ModelCheckpoint("run/newest.keras"), ears], resume="auto")
    if broken:
        with pytest.raises(ZeroDivisionError):
            fit(model, [resumed, BreaksAt("on_epoch_begin", ZeroDivisionError())], epochs=3)
        model = line()
    else:
        fit(model, [resumed], epochs=3)
    fit(model, [resumed], epochs=1)

    assert ears.of("on_epoch_begin", "epoch") == [2, 0]


@pytest.mark.parametrize("patience", [1, 2])
@pytest.mark.parametrize("freq", ["epoch", "2 epochs"])
def test_a_fit_that_is_over_trains_no_further_when_it_is_resumed(patience: int, freq: str) -> None:
    """Whatever file is the newest: it has the epochs and the reason that it had."""
    x = np.ones((8, 2), "float32")

    def fit(epochs: int) -> tuple[Any, KerasCallback]:
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        saver = ModelCheckpoint("run/m", save_best_only=freq == "epoch", monitor="loss", save_freq=freq)
        bus = KerasCallback([saver, EarlyStopping(monitor="loss", mode="max", patience=patience)], resume="auto")
        return model.fit(x, x[:, :1] * 5, epochs=epochs, verbose=0, callbacks=[bus]), bus

    _, first = fit(6)
    history, again = fit(6)

    assert history.epoch == []
    assert again.run.result.reason == first.run.result.reason
    assert again.run.result.epochs == first.run.result.epochs == patience + 1
