"""Small Keras models and fits, and plugins that record the events of a fit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import trainbus
from trainbus import hookimpl

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(10, 4)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5], [0.0]]).astype("float32")


class Ears:
    """A plugin that records every event of a run."""

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
    """An ``Ears`` that also listens to batches."""

    @hookimpl
    def on_batch_begin(self, batch: int) -> None:
        self.heard.append(f"batch {batch} begin")

    @hookimpl
    def on_batch_end(self, batch: int, step: int, metrics: dict[str, Any]) -> None:
        self.threads.add(threading.current_thread().name)
        self.heard.append((f"batch {batch} end", step, sorted(metrics)))


class KerasRaises(keras.callbacks.Callback):
    """A callback of Keras's own kind that raises at the end of the first epoch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        raise ZeroDivisionError("somebody else's")


class Listens(keras.callbacks.Callback):
    """A plugin that does something at the end of each epoch."""

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


class Own(keras.Model):
    """A model that calls its layers freely, has its own weight, and two layers of the same name."""

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


def epoch(
    number: int, steps: int, *, val: bool = False, last: int = 4, names: tuple[str, ...] = ("loss",)
) -> list[Any]:
    """Return the events of an epoch that ends after ``steps`` updates with batch number ``last``."""
    val_names = [f"val_{name}" for name in names]
    validation = [f"validation {number} begin", (f"validation {number} end", val_names)] if val else []
    metrics = sorted(["learning_rate", *names, *(val_names if val else [])])
    return [f"epoch {number} begin", *validation, (f"epoch {number} end", last, steps, metrics)]
