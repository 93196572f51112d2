"""Keras models as subjects, on the backend of the environment (KERAS_BACKEND, torch unless set)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import trainbus
from trainbus import SettingsError
from trainbus.adapters.keras import KerasSubject
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
from trainbus.testing import check_subject

from .fits import X, Y, fit, line

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
