"""Looks inside of epochs with Keras and scikit-learn."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from trainbus import Run, SettingsError, hookimpl
from trainbus.adapters.keras import KerasCallback
from trainbus.adapters.sklearn.stream import partial_fit_stream
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau

ROWS = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
LABELS = (ROWS[:, 0] > 0).astype("int64")


class Seen:
    """A plugin that keeps what each batch and each validation reports."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, float]] = []
        self.validations: list[float] = []

    @hookimpl
    def on_batch_end(self, step: int, metrics: Any) -> None:
        if "loss" in metrics:
            self.batches.append((step, float(metrics["loss"])))

    @hookimpl
    def on_validation_end(self, metrics: Any) -> None:
        self.validations.append(float(metrics["val_loss"]))


def fit_keras(callbacks: list[Any]) -> Run:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    bus = KerasCallback(callbacks)
    model.fit(ROWS, LABELS, batch_size=4, epochs=4, validation_data=(ROWS, LABELS), callbacks=[bus], verbose=0)
    return bus.run


def fit_sklearn(callbacks: list[Any]) -> Run:
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.1, random_state=1)
    batches = [(ROWS[start : start + 4], LABELS[start : start + 4]) for start in range(0, 32, 4)]
    return partial_fit_stream(
        model, batches, classes=[0, 1], epochs=4, validation_data=(ROWS, LABELS), callbacks=callbacks
    )


FITS = {"keras": (fit_keras, "loss", "min"), "sklearn": (fit_sklearn, "loss", "min")}


def expected_stop(values: list[float], mode: str, patience: int) -> int | None:
    """Return the number of looks after which patience is exhausted."""
    best, wait = None, 0
    for number, value in enumerate(values, start=1):
        if best is None or (value < best if mode == "min" else value > best):
            best, wait = value, 0
        else:
            wait += 1
            if wait >= patience:
                return number
    return None


@pytest.mark.parametrize("framework", FITS)
def test_steps_and_validations_of_a_framework(framework: str) -> None:
    """A look every 3 steps decides by what these batches report, and one at validations by these."""
    fit, metric, mode = FITS[framework]
    seen = Seen()
    whole = fit([seen])
    assert whole.step == 32
    looks = [value for step, value in seen.batches if step % 3 == 0]
    for patience in (1, 2):
        stop = expected_stop(looks, mode, patience)
        run = fit([EarlyStopping(monitor=metric, mode=mode, patience=patience, every="3 steps")])  # type: ignore[arg-type]
        assert run.step == (3 * stop if stop else 32)
    run = fit([EarlyStopping(monitor=f"val_{metric}", mode=mode, min_delta=9, patience=2, every="validation")])  # type: ignore[arg-type]
    assert (run.result.epochs, len(seen.validations)) == (3, 4)


@pytest.mark.parametrize("framework", FITS)
def test_a_cut_at_steps(framework: str) -> None:
    """Nothing is better by 9, so each look but the first one cuts."""
    fit, metric, mode = FITS[framework]
    run = fit([ReduceLROnPlateau(monitor=metric, mode=mode, min_delta=9, patience=1, factor=0.5, every="8 steps")])  # type: ignore[arg-type]
    rates = run.history["learning_rate"]
    assert len(run.result.decisions) == 3
    assert run.subject.learning_rates()["learning_rate"] == pytest.approx(rates[0] / 8)  # type: ignore[attr-defined]


@pytest.mark.parametrize("callback", [EarlyStopping, ReduceLROnPlateau])
@pytest.mark.parametrize("every", ["2 steps", "10000 steps", "1 hour"])
def test_batches_of_keras_are_means(callback: Any, every: str) -> None:
    """So there is no last value; the reason says before the training what to set."""
    seen = Seen()
    message = "value='last': this loop reports only means of the epoch; set value=\"mean\""
    with pytest.raises(SettingsError, match=re.escape(message)):
        fit_keras([callback(monitor="loss", every=every, value="last"), seen])
    assert seen.batches == []


@pytest.mark.parametrize("framework", FITS)
@pytest.mark.parametrize(("every", "step"), [("2 steps", 10), ("3 steps", 9), ("8 steps", 16), ("30%", 10)])
def test_a_validation_metric_at_steps_is_that_of_the_last_validation(framework: str, every: str, step: int) -> None:
    """It comes after the last batch of an epoch, and waits for the next look."""
    fit, metric, mode = FITS[framework]
    run = fit([EarlyStopping(monitor=f"val_{metric}", mode=mode, divergence_threshold=-1e9, every=every)])  # type: ignore[arg-type]
    assert (run.step, run.result.stopped) == (step, True)
