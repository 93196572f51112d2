"""Keras's rules are compared with Keras's own objects on the same curves."""

from __future__ import annotations

import math
import warnings
from random import Random
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainbus.plugins import EarlyStopping, ReduceLROnPlateau

from ..random_curves import SEEDS, random_curve, random_options
from ..recorded import History, deltas, finite, histories, logged, modes, outcome


class KerasModel:
    """A minimal model for Keras's callbacks."""

    metrics: tuple[Any, ...] = ()

    def __init__(self) -> None:
        self.stop_training = False
        self.optimizer = self
        self.learning_rate = 0.1
        self.epoch = -1
        self.restored: int | None = None

    @property
    def learning_rate(self) -> np.float32:
        return self._rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._rate = np.float32(rate)  # as Keras's optimizers hold it

    def get_weights(self) -> int:
        return self.epoch

    def set_weights(self, epoch: int) -> None:
        self.restored = epoch


def in_keras(callback: Any, history: History) -> tuple[KerasModel, list[float]]:
    """The model after the history, or after as much of it as was trained, and the rate of each epoch."""
    model, rates = KerasModel(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about each epoch without the metric
        callback.set_model(model)
        callback.on_train_begin()
        for model.epoch, value in enumerate(history):
            rates.append(float(model.learning_rate))
            callback.on_epoch_end(model.epoch, {} if value is None else {"val_loss": value})
            if model.stop_training:
                break
        callback.on_train_end()
    return model, rates


keras_only = pytest.mark.skipif(keras.__version__ != "3.15.1", reason="later versions have other rules for baselines")


@keras_only
@given(
    history=histories.filter(logged),
    options=st.fixed_dictionaries(
        {
            "min_delta": deltas,
            "patience": st.integers(0, 4),
            "mode": modes,
            "baseline": st.none() | finite,
            "start_from_epoch": st.sampled_from([0, 0, 1, 3, 6]),
        }
    ),
)
@example(history=[math.nan, 1.0, 0.9, 0.8], options={"patience": 3, "mode": "min"})  # Keras never leaves the NaN
@example(history=[1.0, 1.0 - 1e-9, 1.0 - 2e-9], options={"patience": 2, "mode": "min"})  # single precision
def test_early_stopping_as_keras(history: History, options: dict[str, Any]) -> None:
    """Keras's own EarlyStopping stops in the same epoch and restores the same one."""
    callback = EarlyStopping(monitor="val_loss", restore_best_weights=True, **options)
    model, rates = in_keras(keras.callbacks.EarlyStopping(restore_best_weights=True, **options), history)

    found = outcome(history, callback, "keras")
    assert found.censored is not model.stop_training
    if model.stop_training:
        restored = [each.of for each in found.decisions if each.action == "restore"]
        assert (found.stop.epoch, restored) == (len(rates) - 1, [model.restored])


@keras_only
@given(
    history=histories.filter(logged),
    options=st.fixed_dictionaries(
        {
            "patience": st.integers(0, 3),
            "mode": modes,
            "min_delta": deltas,
            "cooldown": st.integers(0, 4),
            "factor": st.sampled_from([0.1, 0.5]),
            "min_lr": st.sampled_from([0.0, 0.01, 0.1]),
        }
    ),
)
def test_plateaus_as_keras(history: History, options: dict[str, Any]) -> None:
    """Keras's own ReduceLROnPlateau reduces in the same epochs; replayed on its own record, all of them are exact."""
    _, rates = in_keras(keras.callbacks.ReduceLROnPlateau(**options), history)
    callback = ReduceLROnPlateau(monitor="val_loss", **options)

    found = outcome(history, callback, "keras", rates)
    reduced = [epoch for epoch in range(len(rates) - 1) if rates[epoch + 1] < rates[epoch]]
    cuts = [each.epoch for each in found.cuts]
    assert cuts[: len(reduced)] == reduced
    assert all(epoch == len(history) - 1 for epoch in cuts[len(reduced) :]), "the last shows in no later rate"
    assert all(each.exact for each in found.decisions)


@keras_only
@pytest.mark.parametrize("seeds", SEEDS)
def test_the_stops_of_keras_on_random_curves(seeds: range) -> None:
    """On each of many curves, Keras's own EarlyStopping stops in the same epoch and restores the same one."""
    for seed in seeds:
        random = Random(seed)
        history = random_curve(random)
        choices = {"patience": [0, 1, 2, 5, 10], "min_delta": [0.0, 1e-8, 1e-4, 0.01], "mode": ["min", "max"]}
        options = random_options(random, {**choices, "baseline": [None, None, 0.8], "start_from_epoch": [0, 0, 5]})
        model, rates = in_keras(keras.callbacks.EarlyStopping(restore_best_weights=True, **options), history)
        callback = EarlyStopping(monitor="val_loss", restore_best_weights=True, **options)

        found = outcome(history, callback, "keras")
        stopped = (len(rates) - 1, [model.restored]) if model.stop_training else (None, [])
        restored = [each.of for each in found.decisions if each.action == "restore"]
        assert (found.stop.epoch if found.stop else None, restored) == stopped, (seed, options)


@keras_only
@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("recorded", ["the same cuts", "no cut"])
def test_the_cuts_of_keras_on_random_curves(seeds: range, recorded: str) -> None:
    """All of them, down to the floor in single precision, also if the recorded run had a constant rate."""
    for seed in seeds:
        random = Random(seed)
        history = random_curve(random)
        choices: dict[str, list[Any]] = {"patience": [0, 1, 2, 3], "cooldown": [0, 1, 3], "mode": ["min", "max"]}
        choices |= {"min_delta": [0.0, 1e-8, 1e-4], "factor": [0.1, 0.5, 0.3, 0.9]}
        options = random_options(random, {**choices, "min_lr": [0.0, 1e-3, 0.05, 0.1, 1e-6, 0.0125]})
        _, rates = in_keras(keras.callbacks.ReduceLROnPlateau(**options), [*history, None])
        told = rates[:-1] if recorded == "the same cuts" else [rates[0]] * len(history)

        found = outcome(history, ReduceLROnPlateau(monitor="val_loss", **options), "keras", told)
        reduced = [epoch for epoch in range(len(history)) if rates[epoch + 1] < rates[epoch]]
        assert [each.epoch for each in found.cuts] == reduced, (seed, options)
