"""Keras's callbacks and trainbus's, driven through the same histories."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import strategies as st

from trainbus import Run

COMPARABLE = [
    pytest.mark.skipif(keras.__version__ != "3.15.1", reason="later versions have other rules for baselines"),
    pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX computes in double precision only on request"),
    pytest.mark.usefixtures("float64"),
]
"""The marks of a test that compares decisions with those of Keras."""

History = Sequence[float | None]
"""The values of the monitored metric, None where an epoch does not log it."""


class Trained:
    """A model and subject that both sides train: it has its position, and records all calls.

    Keras's callbacks accept it as a model; as a subject it has all that the three deciders need.
    """

    def __init__(self, learning_rate: float = 0.1) -> None:
        self.metrics: list[Any] = []
        self.stop_training = False
        self.optimizer = self
        self.position = (-1, -1)
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
        return self.position[0]

    def set_weights(self, weights: Any) -> None:
        self.restored = weights

    def save(self, path: Any, overwrite: bool = True, *, weights_only: bool = False) -> None:
        if isinstance(path, Path):  # trainbus stages the file elsewhere
            path.touch()
            self.saved.append((self.position, ""))
        else:
            self.saved.append((self.position, path))

    save_weights = save

    # --- as trainbus sees it

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        return (".weights.h5",) if weights_only else (".keras", ".h5")

    def snapshot(self) -> Any:
        return self.position[0]

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
    """Drive a Keras callback; return the trained model and the learning rate after each epoch.

    If the history begins with a value that is not finite, ``harmless`` starts the search at the worst possible
    value, as in Keras 2, and replaces the best possible values by NaN.
    """
    model, rates = Trained(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about each epoch without the metric
        callback.set_model(model)
        callback.on_train_begin()
        if harmless and callback.best is None:
            callback.best = -math.inf if callback.mode == "max" else math.inf
        for epoch, value in enumerate(history, initial_epoch):
            model.position = (epoch, -1)
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
    run = Run(model, callback, verbose=0)
    run.state.validation_freq = None  # any epoch may lack the metric
    run.begin()
    for epoch, value in enumerate(history, initial_epoch):
        model.position = (epoch, -1)
        run.begin_epoch(epoch)
        run.end_epoch(logs(value))
        rates.append(float(model.learning_rate))
        if run.stopped:
            break
    run.end()
    return model, rates, run


def saves(model: Trained, run: Run) -> list[tuple[tuple[int, int], str]]:
    """Return when and where trainbus saved."""
    return [(position, str(each.path)) for (position, _), each in zip(model.saved, run.state.checkpoints, strict=True)]


# mostly from a coarse grid, so that ties and differences of just min_delta are common
grid = st.integers(-4, 4).map(lambda number: number / 2)
finite = st.one_of(grid, grid, st.floats(-2, 2, width=16), st.sampled_from([0.6, 1.0 - 1e-9]))
value = st.one_of(finite, finite, finite, st.sampled_from([math.nan, math.inf, -math.inf, None]))
deltas = st.sampled_from([0.0, 1e-4, 0.1, 0.5, -0.1, -2.0])
modes = st.sampled_from(["min", "max", "auto"])


def begins_finite(history: History, start: int = 0) -> bool:
    """Return whether the first value that counts is finite, so that Keras needs no help."""
    first = next((each for each in history[start:] if each is not None), 0.0)
    return math.isfinite(first)
