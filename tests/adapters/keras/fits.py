"""Small Keras models and fits, and what a recorder shows of the events of a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from trainbus.testing import EventRecorder

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(10, 4)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5], [0.0]]).astype("float32")


SHOWN: dict[str, tuple[str, ...]] = {
    "on_train_begin": (),
    "on_epoch_begin": ("epoch",),
    "on_validation_begin": ("epoch",),
    "on_validation_end": ("epoch",),
    "on_epoch_end": ("epoch", "batch", "step"),
    "on_exception": ("error",),
    "on_train_end": (),
}
"""Each hook but those of batches, with the values that ``described`` shows of it."""
SHOWN_OF_BATCHES = {"on_batch_begin": ("batch",), "on_batch_end": ("batch", "step")}

EPOCHS = tuple(SHOWN)
BATCHES = (*SHOWN, *SHOWN_OF_BATCHES)
"""The hooks that a recorder listens to, without and with those of batches."""


def described(recorder: EventRecorder) -> list[tuple[Any, ...]]:
    """Return of each event the hook, its values of ``SHOWN``, and the sorted names of its metrics."""
    found: list[tuple[Any, ...]] = []
    for event in recorder.events:
        shown = (event.values[name] for name in (SHOWN | SHOWN_OF_BATCHES)[event.hook])
        names = [sorted(event.values["metrics"])] if "metrics" in event.values else []
        found.append((event.hook, *shown, *names))
    return found


class KerasRaises(keras.callbacks.Callback):
    """A Keras callback that raises at the end of the first epoch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        raise ZeroDivisionError("of another callback")


class AtEpochEnd(keras.callbacks.Callback):
    """A Keras callback that calls a function at the end of each epoch."""

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


class Subclassed(keras.Model):
    """A model that calls its layers freely, has its own weight, and two layers of the same name."""

    def __init__(self) -> None:
        super().__init__(name="subclassed")
        self.first = keras.layers.Dense(3, name="twin")
        self.second = keras.layers.Dense(3, name="twin")
        self.inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="last")], name="inner")
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        return self.inner(self.second(self.first(x))) * self.scale


def subclassed() -> Any:
    model = Subclassed()
    model.compile("sgd", "mse")
    model(X)
    return model


def epoch(
    number: int, steps: int, *, val: bool = False, last: int = 4, names: tuple[str, ...] = ("loss",)
) -> list[Any]:
    """Return what ``described`` shows of an epoch that ends after ``steps`` updates with batch number ``last``."""
    val_names = [f"val_{name}" for name in names]
    validation = [("on_validation_begin", number), ("on_validation_end", number, val_names)] if val else []
    metrics = sorted(["learning_rate", *names, *(val_names if val else [])])
    return [("on_epoch_begin", number), *validation, ("on_epoch_end", number, last, steps, metrics)]


def two_layers(optimizer: Any, *, frozen: str = "") -> Any:
    """Return a compiled model of two layers; one may be frozen."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(4, name="first"), keras.layers.Dense(1, name="last")]
    )
    for layer in model.layers:
        layer.trainable = layer.name != frozen
    if optimizer is not None:
        model.compile(optimizer, "mse")
    return model
