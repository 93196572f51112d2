"""Decisions equal Keras 3.15.1's: its real callbacks and trainbus's go through the same histories side by side.

Keras compares in float64 here, as trainbus does. The deliberate differences stand at the end, each with what Keras
does and what trainbus does; `docs/differences-from-keras.md` lists them.
"""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import trainbus
from trainbus import MissingMetric, Run, SettingsError
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import EventRecorder

pytestmark = [
    pytest.mark.skipif(keras.__version__ != "3.15.1", reason="later versions have other rules for baselines"),
    pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has no double precision unless told so"),
]

History = Sequence[float | None]
"""The values of the monitored metric, None where an epoch does not log it."""


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """Keras compares in its default type of number."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


class Trained:
    """What both sides train: it knows where it stands, and writes down what is done to it.

    It is a model as far as Keras's callbacks can tell, and a subject with all that the three deciders need.
    """

    def __init__(self, learning_rate: float = 0.1) -> None:
        self.metrics: list[Any] = []
        self.stop_training = False
        self.optimizer = self
        self.moment = (-1, -1)
        self.restored: Any = None
        self.saved: list[tuple[tuple[int, int], str]] = []
        self._rate = np.float32(learning_rate)

    # --- as Keras sees it; float32 as in Keras's optimizers

    @property
    def learning_rate(self) -> np.float32:
        return self._rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._rate = np.float32(value)

    def get_weights(self) -> Any:
        return self.moment[0]

    def set_weights(self, weights: Any) -> None:
        self.restored = weights

    def save(self, path: Any, overwrite: bool = True, *, weights_only: bool = False) -> None:
        if isinstance(path, Path):  # trainbus stages the file elsewhere
            path.touch()
            self.saved.append((self.moment, ""))
        else:
            self.saved.append((self.moment, path))

    save_weights = save

    # --- as trainbus sees it

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        return (".weights.h5",) if weights_only else (".keras", ".h5")

    def snapshot(self) -> Any:
        return self.moment[0]

    def restore(self, snapshot: Any) -> None:
        self.restored = snapshot

    def learning_rates(self) -> dict[str, float]:
        return {"learning_rate": float(str(self._rate))}

    def set_learning_rates(self, rates: dict[str, float]) -> None:
        self._rate = np.float32(rates["learning_rate"])


def logs(value: float | None) -> dict[str, float]:
    return {"loss": 1.0} | ({} if value is None else {"val_loss": value})


def keras_run(
    callback: Any, history: History, *, initial_epoch: int = 0, harmless: bool = False
) -> tuple[Trained, list[float]]:
    """Drive a Keras callback; the trained thing and the learning rate after each epoch.

    Where the history begins with a value that is not finite, `harmless` lets the search begin at the worst possible
    value, as in Keras 2, and takes the best possible ones for NaN.
    """
    model, rates = Trained(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about each epoch without the metric
        callback.set_model(model)
        callback.on_train_begin()
        if harmless and callback.best is None:
            callback.best = -math.inf if callback.mode == "max" else math.inf
        for epoch, value in enumerate(history, initial_epoch):
            model.moment = (epoch, -1)
            callback.on_epoch_begin(epoch)
            best = math.inf if callback.mode == "max" else -math.inf
            callback.on_epoch_end(epoch, logs(math.nan if harmless and value == best else value))
            rates.append(float(model.learning_rate))
            if model.stop_training:
                break
        callback.on_train_end()
    return model, rates


def trainbus_run(callback: Any, history: History, *, initial_epoch: int = 0) -> tuple[Trained, list[float], Run]:
    """Drive a trainbus callback in the same way."""
    model, rates = Trained(), []
    run = Run(model, callback, progress=False)
    run.validation_freq = None  # any epoch may lack the metric
    run.begin()
    for epoch, value in enumerate(history, initial_epoch):
        model.moment = (epoch, -1)
        run.begin_epoch(epoch)
        run.end_epoch(logs(value))
        rates.append(float(model.learning_rate))
        if run.stopped:
            break
    run.end()
    return model, rates, run


def saves(model: Trained, run: Run) -> list[tuple[tuple[int, int], str]]:
    """When trainbus saved, and where."""
    return [(moment, str(each.path)) for (moment, _), each in zip(model.saved, run.checkpoints, strict=True)]


# mostly from a coarse grid, so that ties and differences of just min_delta are common
grid = st.integers(-4, 4).map(lambda number: number / 2)
finite = st.one_of(grid, grid, st.floats(-2, 2, width=16), st.sampled_from([0.6, 1.0 - 1e-9]))
value = st.one_of(finite, finite, finite, st.sampled_from([math.nan, math.inf, -math.inf, None]))
deltas = st.sampled_from([0.0, 1e-4, 0.1, 0.5, -0.1, -2.0])
modes = st.sampled_from(["min", "max", "auto"])


def begins_finite(history: History, start: int = 0) -> bool:
    """Whether the first value that is looked at is finite, so that Keras needs no help."""
    first = next((each for each in history[start:] if each is not None), 0.0)
    return math.isfinite(first)


# --- the same decisions


@given(
    history=st.lists(value, min_size=1, max_size=25),
    initial_epoch=st.integers(0, 3),
    options=st.fixed_dictionaries(
        {
            "min_delta": deltas,
            "patience": st.integers(0, 4),
            "mode": modes,
            "baseline": st.none() | grid,
            "restore_best_weights": st.booleans(),
            "start_from_epoch": st.sampled_from([0, 0, 1, 3, 6]),
        }
    ),
)
@example(  # an improvement that beats the baseline by less than min_delta goes on waiting
    history=[3.0, 1.0, 1.0],
    initial_epoch=0,
    options={"min_delta": 1.0, "patience": 3, "baseline": 1.5},
)
@example(history=[], initial_epoch=0, options={})
def test_early_stopping_is_keras_s(history: History, initial_epoch: int, options: dict[str, Any]) -> None:
    """Whatever the history and the options: the same last epoch, the same restored one."""
    start = max(options.get("start_from_epoch", 0) - initial_epoch, 0)
    infinite = any(each is not None and math.isinf(each) for each in history)
    helped = infinite or not begins_finite(history, start)

    theirs, epochs = keras_run(
        keras.callbacks.EarlyStopping(**options), history, initial_epoch=initial_epoch, harmless=helped
    )
    mine, mine_epochs, run = trainbus_run(EarlyStopping(**options), history, initial_epoch=initial_epoch)

    assert (len(mine_epochs), run.stopped) == (len(epochs), theirs.stop_training)
    looked_at = [each for each in history[start : len(epochs)] if each is not None]
    if any(math.isfinite(each) for each in looked_at):
        assert mine.restored == theirs.restored
    else:
        assert mine.restored is None, "no epoch was the best"


@given(
    history=st.lists(value, min_size=1, max_size=30),
    initial_epoch=st.integers(0, 3),
    options=st.fixed_dictionaries(
        {
            "factor": st.sampled_from([0.1, 0.5, 0.9]),
            "patience": st.integers(0, 3),
            "mode": modes,
            "min_delta": deltas,
            "cooldown": st.integers(0, 4),
            "min_lr": st.sampled_from([0, 0.001, 0.01, 0.1, 0.5]),
        }
    ),
)
@example(history=[1.0] * 25, initial_epoch=0, options={})
def test_reducing_the_learning_rate_is_keras_s(history: History, initial_epoch: int, options: dict[str, Any]) -> None:
    """Whatever the history and the options: the same learning rate after every epoch."""
    infinite = any(each is not None and math.isinf(each) for each in history)
    helped = infinite or not begins_finite(history)

    _, theirs = keras_run(
        keras.callbacks.ReduceLROnPlateau(**options), history, initial_epoch=initial_epoch, harmless=helped
    )
    _, mine, _ = trainbus_run(ReduceLROnPlateau(**options), history, initial_epoch=initial_epoch)

    np.testing.assert_allclose(mine, theirs, rtol=1e-6)


@given(
    history=st.lists(value, max_size=12),
    initial_epoch=st.integers(0, 3),
    path=st.sampled_from(["best", "{epoch:02d}", "{epoch}-{loss:.1f}", "all/{epoch:03d}", "{{x}}{epoch}"]),
    options=st.fixed_dictionaries(
        {"save_best_only": st.booleans(), "save_weights_only": st.booleans()},
        optional={"mode": modes, "initial_value_threshold": st.none() | finite},
    ),
)
def test_saving_at_epochs_is_keras_s(history: History, initial_epoch: int, path: str, options: dict[str, Any]) -> None:
    """Whatever the history, the options and the template: the same files, at the end of the same epochs."""
    if options["save_best_only"]:
        history = [math.nan if each is None else each for each in history]  # on a missing one they differ, see below
    with tempfile.TemporaryDirectory() as folder:
        name = f"{folder}/{path}" + (".weights.h5" if options["save_weights_only"] else ".keras")

        theirs, _ = keras_run(
            keras.callbacks.ModelCheckpoint(name, **options), history, initial_epoch=initial_epoch, harmless=True
        )
        mine, _, run = trainbus_run(ModelCheckpoint(name, **options), history, initial_epoch=initial_epoch)

    assert saves(mine, run) == theirs.saved


@given(history=st.lists(finite, max_size=8), options=st.fixed_dictionaries({"save_best_only": st.booleans()}))
def test_metrics_in_file_names_are_keras_s(history: History, options: dict[str, Any]) -> None:
    """A template with the monitored metric gives the same names."""
    with tempfile.TemporaryDirectory() as folder:
        name = f"{folder}/{{epoch:02d}}-{{val_loss:+.3e}}.keras"
        theirs, _ = keras_run(keras.callbacks.ModelCheckpoint(name, **options), history)
        mine, _, run = trainbus_run(ModelCheckpoint(name, **options), history)
    assert saves(mine, run) == theirs.saved


@given(
    epochs=st.lists(st.lists(finite, min_size=1, max_size=7), max_size=6),
    stride=st.integers(1, 3),
    save_freq=st.integers(1, 20),
    path=st.sampled_from(["best.keras", "{epoch}-{batch}.keras", "{epoch:02d}-{batch:03d}-{loss:.2f}.keras"]),
    options=st.fixed_dictionaries({"save_best_only": st.booleans()}, optional={"mode": modes}),
)
def test_saving_at_batches_is_keras_s(
    epochs: list[list[float]], stride: int, save_freq: int, path: str, options: dict[str, Any]
) -> None:
    """Whatever the lengths of the epochs and of an execution: the same files, after the same batches."""
    theirs, mine = Trained(), Trained()
    with tempfile.TemporaryDirectory() as folder:
        options |= {"filepath": f"{folder}/{path}", "monitor": "loss", "save_freq": save_freq}
        checkpoint = keras.callbacks.ModelCheckpoint(**options)
        checkpoint.set_model(theirs)
        checkpoint._set_monitor_op()  # without it Keras fails to save the best one at a batch, see below
        run = Run(mine, ModelCheckpoint(**options), progress=False)
        run.begin()
        for epoch, losses in enumerate(epochs):
            checkpoint.on_epoch_begin(epoch)
            run.begin_epoch(epoch)
            for number, loss in enumerate(losses):
                batch = (number + 1) * stride - 1
                theirs.moment = mine.moment = (epoch, batch)
                checkpoint.on_train_batch_end(batch, {"loss": loss})
                run.end_batch(batch, {"loss": loss}, steps=stride)
            checkpoint.on_epoch_end(epoch, {"loss": losses[-1]})
            run.end_epoch({"loss": losses[-1]})
        run.end()
    assert saves(mine, run) == theirs.saved


# --- Keras's own tables


@pytest.mark.parametrize("patience", [0, 1, 2, 3])
def test_table_of_patience(patience: int) -> None:
    """early_stopping_test.test_early_stopping_patience."""
    losses = [10.0, 9.0, 8.0, 9.0, 8.9, 8.8, 8.7, 8.6, 8.5]
    _, epochs, run = trainbus_run(EarlyStopping(patience=patience), losses)
    assert (len(epochs) - 1, run.stopped) == (max(patience, 1) + 2, True)


@pytest.mark.parametrize(
    ("losses", "options", "epochs", "restored"),
    [
        ([0.2, 0.15, 0.1, 0.11, 0.12], {"patience": 2}, 5, 2),
        ([0.9, 0.8, 0.7, 0.71, 0.72, 0.73], {"patience": 5, "baseline": 0.5}, 5, 2),
        ([0.9, 0.8, 0.7, 0.71], {"patience": 5, "baseline": 0.5}, 4, 2),  # where another callback stops
    ],
)
def test_table_of_restored_weights(losses: History, options: Any, epochs: int, restored: int) -> None:
    """early_stopping_test.test_early_stopping_final_weights_when_restoring_model_weights."""
    model, trained, _ = trainbus_run(EarlyStopping(restore_best_weights=True, **options), losses)
    assert (len(trained), model.restored) == (epochs, restored)


@pytest.mark.parametrize(
    ("options", "epochs", "rate"),
    [
        ({"min_delta": 100}, 2, 0.01),
        ({"min_delta": 10, "min_lr": 0.005}, 4, 0.005),
        ({"min_delta": 100, "cooldown": 2}, 4, 0.001),
    ],
)
def test_table_of_learning_rates(options: Any, epochs: int, rate: float) -> None:
    """reduce_lr_on_plateau_test: test_reduces_lr_with_model_fit, test_honors_min_lr, test_cooldown."""
    _, rates, _ = trainbus_run(ReduceLROnPlateau(patience=1, factor=0.1, **options), [1.0] * epochs)
    assert rates[-1] == pytest.approx(rate)


@pytest.mark.parametrize(
    ("mode", "monitor", "direction"),
    [
        ("max", "val_mse", "max"),
        ("min", "val_loss", "min"),
        ("auto", "val_mse", "min"),
        ("auto", "loss", "min"),
        ("auto", "acc", "max"),
        ("auto", "val_accuracy", "max"),
        ("auto", "hinge", "min"),
        ("auto", "f1_score", "max"),
    ],
)
def test_table_of_modes(mode: Any, monitor: str, direction: str) -> None:
    """monitor_callback_test.test_monitor_op_logic, whose names tell their directions without a metric object too."""
    assert Run().monitor(monitor, mode).direction == direction


def test_table_of_modes_ends_in_a_refusal() -> None:
    """monitor_callback_test.test_monitor_op_logic: an unknown name needs a mode; here before training."""
    with pytest.raises(trainbus.UnknownDirection, match="unknown"):
        Run(None, EarlyStopping(monitor="unknown"))


@pytest.mark.parametrize(
    ("score", "best", "improved"), [(0.75, 0, True), (0.5, -math.inf, True), (0.5, 0, False), (0.2, 0.5, False)]
)
def test_table_of_min_delta(score: float, best: float, improved: bool) -> None:
    """monitor_callback_test.test_min_delta."""
    assert trainbus.rules.improves(score, best, 0.5) is improved


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_table_of_save_freq(suffix: str) -> None:
    """model_checkpoint_test, case 8: every 15 batches, over epochs of 5, saves in epochs 3, 6 and 9."""
    callback = ModelCheckpoint("{epoch:02d}" + suffix, save_freq=15, save_weights_only=suffix == ".weights.h5")
    run = Run(Trained(), callback, progress=False)
    with run:
        for _ in run.epochs(10):
            for _ in run.batches(range(5)):
                run.log(loss=1.0)
    assert [each.path.name for each in run.checkpoints] == [f"{epoch:02d}{suffix}" for epoch in (3, 6, 9)]


@pytest.mark.parametrize(
    ("options", "saved"),
    [
        ({"mode": "max", "initial_value_threshold": -0.01}, True),  # case 11
        ({"initial_value_threshold": None}, True),  # case 12
        ({"mode": "min", "initial_value_threshold": 0}, False),  # case 13
        ({"mode": "auto", "initial_value_threshold": 0}, False),  # case 14
        ({"mode": "max", "initial_value_threshold": 1}, False),  # case 15
    ],
)
def test_table_of_thresholds(options: Any, saved: bool) -> None:
    """model_checkpoint_test, cases 11 to 15."""
    _, _, run = trainbus_run(ModelCheckpoint("best", save_best_only=True, **options), [0.5])
    assert bool(run.checkpoints) is saved


# --- deliberate differences


def test_difference_nan_is_never_the_best() -> None:
    """Keras takes a NaN that comes first for the best ever; trainbus waits for the first number."""
    history, options = [math.nan, 4.0, 3.0, 2.0, 1.0], {"patience": 3, "restore_best_weights": True}
    theirs, epochs = keras_run(keras.callbacks.EarlyStopping(**options), history)
    assert (len(epochs), theirs.restored) == (4, 0), "Keras stops while all improves, and restores the NaN epoch"
    mine, epochs, _ = trainbus_run(EarlyStopping(**options), history)
    assert (len(epochs), mine.restored) == (5, 4)

    _, rates = keras_run(keras.callbacks.ReduceLROnPlateau(patience=2), history)
    assert rates[-1] == pytest.approx(0.001), "Keras cuts the rate for ever"
    assert trainbus_run(ReduceLROnPlateau(patience=2), history)[1][-1] == pytest.approx(0.1)

    theirs, _ = keras_run(keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True), history)
    assert [moment[0] for moment, _ in theirs.saved] == [0], "Keras saves the NaN epoch, and never again"
    mine, _, _ = trainbus_run(ModelCheckpoint("best.keras", save_best_only=True), history)
    assert [moment[0] for moment, _ in mine.saved] == [1, 2, 3, 4]


def test_difference_infinity_is_never_the_best() -> None:
    """One -inf in the minimized metric is unbeatable for Keras; for trainbus it is as bad as NaN."""
    history, options = [3.0, -math.inf, 2.0, 1.0], {"patience": 2, "restore_best_weights": True}
    assert keras_run(keras.callbacks.EarlyStopping(**options), history)[0].restored == 1
    assert trainbus_run(EarlyStopping(**options), history)[0].restored == 3


def test_difference_no_best_epoch_restores_nothing() -> None:
    """Where no value was finite Keras goes back to the first epoch; trainbus leaves the weights as they are."""
    history, options = [math.nan, math.nan], {"restore_best_weights": True}
    assert keras_run(keras.callbacks.EarlyStopping(**options), history)[0].restored == 0
    assert trainbus_run(EarlyStopping(**options), history)[0].restored is None


def test_difference_a_missing_metric_never_saves_the_best() -> None:
    """With save_best_only Keras overwrites the best file in each epoch without the metric; trainbus leaves it."""
    history = [1.0, None, 2.0]
    theirs, _ = keras_run(keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True), history)
    assert [moment[0] for moment, _ in theirs.saved] == [0, 1]
    mine, _, _ = trainbus_run(ModelCheckpoint("best.keras", save_best_only=True), history)
    assert [moment[0] for moment, _ in mine.saved] == [0]


def test_difference_a_metric_that_never_comes_is_an_error() -> None:
    """Keras warns in every epoch and goes on; trainbus raises at the first epoch end that should have had it."""
    stopper = keras.callbacks.EarlyStopping(monitor="lss", mode="min")
    theirs, epochs = keras_run(stopper, [1.0] * 5)
    assert (len(epochs), theirs.stop_training) == (5, False)
    with pytest.raises(MissingMetric, match=r"'lss' is not logged; did you mean 'loss'\?"):
        trainbus_run(EarlyStopping(monitor="lss", mode="min"), [1.0])


def test_difference_a_validation_that_never_comes_is_an_error() -> None:
    """Without any validation Keras waits for val_loss for ever; trainbus raises when the first epoch ends."""
    theirs, epochs = keras_run(keras.callbacks.EarlyStopping(), [None] * 5)
    assert (len(epochs), theirs.stop_training) == (5, False)
    run = Run(Trained(), EarlyStopping(), progress=False)
    run.validation_freq = ()
    run.begin()
    run.begin_epoch(0)
    with pytest.raises(MissingMetric, match="there was no validation"):
        run.end_epoch({"loss": 1.0})


def test_difference_names_tell_directions() -> None:
    """Without a metric object Keras fails when the first epoch ends; trainbus judges by the name, or refuses before."""
    with pytest.raises(ValueError, match="isn't able to automatically determine"):
        keras_run(keras.callbacks.EarlyStopping(monitor="val_f1"), [1.0])
    assert Run(None, EarlyStopping(monitor="val_f1")).monitor("val_f1").direction == "max"
    with pytest.raises(trainbus.UnknownDirection):
        Run(None, EarlyStopping(monitor="val_gizmo"))


def test_difference_a_validation_metric_in_a_path_may_be_missing() -> None:
    """A path with {val_loss} kills Keras in an epoch without validation; trainbus writes nan, unless none comes."""
    with pytest.raises(KeyError, match="Failed to format this callback filepath"):
        keras_run(keras.callbacks.ModelCheckpoint("{val_loss:.1f}.keras"), [None, 1.0])
    _, _, run = trainbus_run(ModelCheckpoint("{val_loss:.1f}.keras"), [None, 1.0])
    assert [str(each.path) for each in run.checkpoints] == ["nan.keras", "1.0.keras"]


def test_difference_the_best_can_be_saved_at_batches() -> None:
    """Keras fails at the second save of save_best_only with an integer save_freq; trainbus saves the best."""
    options: dict[str, Any] = {"monitor": "loss", "save_best_only": True, "save_freq": 2}
    checkpoint = keras.callbacks.ModelCheckpoint("best.keras", **options)
    checkpoint.set_model(Trained())
    checkpoint.on_epoch_begin(0)
    for batch in range(3):
        checkpoint.on_train_batch_end(batch, {"loss": 1.0 - batch / 8})
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        checkpoint.on_train_batch_end(3, {"loss": 0.5})

    model = Trained()
    run = Run(model, ModelCheckpoint("best.keras", **options), progress=False)
    with run:
        run.begin_epoch(0)
        for batch in range(6):
            model.moment = (0, batch)
            run.end_batch(batch, {"loss": 1.0 - batch / 8 if batch < 4 else 9.0})
    assert [moment[1] for moment, _ in model.saved] == [1, 3]


def test_difference_a_metric_unknown_at_batches_is_an_error() -> None:
    """A val_ metric is never known at a batch: Keras saves every time, trainbus raises when the epoch ends."""
    options: dict[str, Any] = {"save_best_only": True, "save_freq": 1}
    checkpoint, theirs = keras.callbacks.ModelCheckpoint("best.keras", **options), Trained()
    checkpoint.set_model(theirs)
    checkpoint.on_epoch_begin(0)
    with pytest.warns(UserWarning, match="Can save best model only with val_loss available"):
        checkpoint.on_train_batch_end(0, {"loss": 1.0})
    assert len(theirs.saved) == 1

    mine = Trained()
    run = Run(mine, ModelCheckpoint("best.keras", **options), progress=False)
    run.begin()
    run.begin_epoch(0)
    run.end_batch(0, {"loss": 1.0})
    with pytest.raises(MissingMetric, match="'val_loss' is not known when a batch ends"):
        run.end_epoch({"loss": 1.0, "val_loss": 1.0})
    assert mine.saved == []


def test_difference_comparisons_in_double_precision() -> None:
    """Keras compares in float32 unless told otherwise; trainbus in double precision."""
    keras.config.set_floatx("float32")
    history, options = [1.0, 1.0 - 1e-9, 1.0 - 2e-9], {"patience": 1}
    assert len(keras_run(keras.callbacks.EarlyStopping(**options), history)[1]) == 2
    assert len(trainbus_run(EarlyStopping(**options), history)[1]) == 3


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("EarlyStopping", {"patience": -1}, r"patience=-1"),
        ("ReduceLROnPlateau", {"factor": 0}, r"factor=0"),
        ("ReduceLROnPlateau", {"factor": -1}, r"factor=-1"),
        ("ReduceLROnPlateau", {"patience": -1}, r"patience=-1"),
        ("ReduceLROnPlateau", {"cooldown": -1}, r"cooldown=-1"),
        ("ReduceLROnPlateau", {"min_lr": -1}, r"min_lr=-1"),
        ("ReduceLROnPlateau", {"epsilon": 0.1}, r"epsilon: no such option"),
        ("ModelCheckpoint", {"filepath": "m.keras", "save_freq": 0}, r"save_freq"),
        ("ModelCheckpoint", {"filepath": "m.keras", "save_freq": True}, r"save_freq=True"),
    ],
)
def test_difference_senseless_options_are_refused(name: str, options: dict[str, Any], said: str) -> None:
    """What Keras takes without a word, though it can only be a mistake, trainbus refuses, naming it."""
    getattr(keras.callbacks, name)(**options)
    with pytest.raises(SettingsError, match=said):
        getattr(trainbus.plugins, name)(**options)


def test_difference_an_unknown_mode_is_refused() -> None:
    """Keras warns of an unknown mode and takes "auto"; trainbus refuses it."""
    with pytest.warns(UserWarning, match="mode 'MAX' is unknown, fallback to auto mode"):
        assert keras.callbacks.EarlyStopping(mode="MAX").mode == "auto"
    with pytest.raises(SettingsError, match="mode='MAX'"):
        EarlyStopping(mode="MAX")  # type: ignore[arg-type]


def test_difference_the_best_is_new_in_each_run() -> None:
    """Keras's ModelCheckpoint remembers the best of an earlier fit; a callback of trainbus remembers nothing."""
    checkpoint = keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True)
    keras_run(checkpoint, [1.0])
    assert keras_run(checkpoint, [2.0])[0].saved == []

    callback = ModelCheckpoint("best.keras", save_best_only=True)
    trainbus_run(callback, [1.0])
    assert len(trainbus_run(callback, [2.0])[0].saved) == 1


def test_difference_a_direction_never_leaks() -> None:
    """Reused for a metric of the other direction, Keras's callback keeps the old one; trainbus asks anew."""

    class Knows(Trained):
        def __init__(self, direction: str) -> None:
            super().__init__()
            metric = keras.metrics.Mean(name="loss_of_mine")
            metric._direction = direction
            compiled = keras.src.trainers.compile_utils.MetricsList([metric])
            self.metrics = [compiled]

        def direction_of(self, metric: str) -> Any:
            return {"up": "max", "down": "min"}[self.metrics[0].metrics[0]._direction]

    stopper, mine = keras.callbacks.EarlyStopping(monitor="loss_of_mine"), EarlyStopping(monitor="loss_of_mine")
    theirs: list[int] = []
    ours: list[int] = []
    for direction in ("down", "up"):
        rising = [1.0, 2.0, 3.0]
        model = Knows(direction)
        stopper.set_model(model)
        stopper.on_train_begin()
        for epoch, number in enumerate(rising):
            if not model.stop_training:
                stopper.on_epoch_end(epoch, {"loss_of_mine": number})
                last = epoch
        theirs.append(last)
        with Run(Knows(direction), mine, progress=False) as run:
            for epoch in run.epochs(3):
                run.log(loss_of_mine=rising[epoch])
        ours.append(run.epoch)
    assert theirs == [1, 1], "Keras minimizes for ever"
    assert ours == [1, 2]


def test_difference_a_stop_before_training_stops_a_loop_at_once() -> None:
    """Keras's fit trains one batch though on_train_begin asked for a stop; a loop over run.epochs trains none."""
    never = EventRecorder("on_train_begin", answer=lambda _: trainbus.decision.stop("not today"))

    class KerasNever(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.model.stop_training = True

    keras.config.set_floatx("float32")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=1, epochs=3, verbose=0, callbacks=[KerasNever()])
    assert int(model.optimizer.iterations) == 1

    with Run(None, never) as run:
        assert list(run.epochs(3)) == []
