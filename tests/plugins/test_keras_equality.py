"""Decisions equal those of Keras 3.15.1: its real callbacks and trainbus's run over the same histories.

Keras compares in float64 here, as trainbus does. ``test_keras_differences.py`` has the deliberate differences.
"""

from __future__ import annotations

import math
import tempfile
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import trainbus
from trainbus import Run
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .keras_runs import (
    COMPARABLE,
    History,
    Trained,
    begins_finite,
    deltas,
    finite,
    grid,
    keras_run,
    modes,
    saves,
    trainbus_run,
    value,
)

pytestmark = COMPARABLE


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
@example(  # an improvement that beats the baseline by less than min_delta continues to wait
    history=[3.0, 1.0, 1.0],
    initial_epoch=0,
    options={"min_delta": 1.0, "patience": 3, "baseline": 1.5},
)
@example(history=[], initial_epoch=0, options={})
def test_early_stopping_equals_keras(history: History, initial_epoch: int, options: dict[str, Any]) -> None:
    """For any history and options: the same last epoch, and the same restored epoch."""
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
def test_reducing_the_learning_rate_equals_keras(history: History, initial_epoch: int, options: dict[str, Any]) -> None:
    """For any history and options: the same learning rate after every epoch."""
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
    ).filter(lambda options: options["save_best_only"] or options.get("initial_value_threshold") is None),
)
def test_saving_at_epochs_equals_keras(
    history: History, initial_epoch: int, path: str, options: dict[str, Any]
) -> None:
    """For any history, options and template: the same files, at the end of the same epochs."""
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
def test_metrics_in_file_names_equal_keras(history: History, options: dict[str, Any]) -> None:
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
def test_saving_at_batches_equals_keras(
    epochs: list[list[float]], stride: int, save_freq: int, path: str, options: dict[str, Any]
) -> None:
    """For epochs and executions of any length: the same files, after the same batches."""
    theirs, mine = Trained(), Trained()
    with tempfile.TemporaryDirectory() as folder:
        options |= {"filepath": f"{folder}/{path}", "monitor": "loss", "save_freq": save_freq}
        checkpoint = keras.callbacks.ModelCheckpoint(**options)
        checkpoint.set_model(theirs)
        checkpoint._set_monitor_op()  # without it Keras fails to save the best one at a batch, see below
        run = Run(mine, ModelCheckpoint(**options), verbose=0)
        run.begin()
        for epoch, losses in enumerate(epochs):
            checkpoint.on_epoch_begin(epoch)
            run.begin_epoch(epoch)
            for number, loss in enumerate(losses):
                batch = (number + 1) * stride - 1
                theirs.position = mine.position = (epoch, batch)
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
        ([0.9, 0.8, 0.7, 0.71], {"patience": 5, "baseline": 0.5}, 4, 2),  # another callback stops here
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
    """monitor_callback_test.test_monitor_op_logic, for names that imply a direction without a metric object."""
    assert Run().monitor(monitor, mode).direction == direction


def test_table_of_modes_rejects_an_unknown_name() -> None:
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
    run = Run(Trained(), callback, verbose=0)
    with run:
        for _ in run.epochs(10):
            for _ in run.batches(range(5)):
                run.log(loss=1.0)
    assert [each.path.name for each in run.state.checkpoints] == [f"{epoch:02d}{suffix}" for epoch in (3, 6, 9)]


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
    assert bool(run.state.checkpoints) is saved


@pytest.mark.parametrize(
    ("own", "its", "options"),
    [
        (EarlyStopping, keras.callbacks.EarlyStopping, {"patience": 1}),
        (EarlyStopping, keras.callbacks.EarlyStopping, {"patience": 2, "min_delta": 0.5}),
        (EarlyStopping, keras.callbacks.EarlyStopping, {"patience": 2, "restore_best_weights": True}),
        (ReduceLROnPlateau, keras.callbacks.ReduceLROnPlateau, {"patience": 1, "factor": 0.5}),
        (ReduceLROnPlateau, keras.callbacks.ReduceLROnPlateau, {"patience": 1, "factor": 0.5, "cooldown": 3}),
    ],
)
def test_a_callback_that_is_used_again(own: Any, its: Any, options: dict[str, Any]) -> None:
    """early_stopping_test.test_early_stopping_reuse_across_models, reduce_lr test_state_reset_across_fit_calls."""
    ours, theirs = own(**options), its(**options)
    for history in ([0.5, 0.25, 0.25, 0.5], [3.0, 2.0, 2.0, 2.0, 2.0, 1.0], [0.1, 0.2, 0.3]):
        model, rates, _ = trainbus_run(ours, history)
        expected, its_rates = keras_run(theirs, history)

        assert (rates, model.restored) == (its_rates, expected.restored)
