"""Train on the digits with Keras."""

# the frameworks have incomplete or wrong type annotations
# pyright: basic, reportArgumentType=false, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal

import keras

from trainbus import Callback, Run
from trainbus.adapters.keras import KerasCallback

from .data import Digits


def train(data: Digits, callbacks: Sequence[Callback], epochs: int, resume: Literal["auto"] | None) -> Run:
    """Train for at most so many epochs; resume the run that ``resume`` names."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10, "softmax")], name="digits"
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    callback = KerasCallback(callbacks, resume=resume)
    model.fit(
        data.x,
        data.y,
        batch_size=32,
        validation_data=(data.x_val, data.y_val),
        epochs=epochs,
        callbacks=[callback],
        verbose=1 if sys.stdout.isatty() else 2,  # in a log file, a progress bar would fill a thousand lines
    )
    return callback.run
