"""A small framework that owns its loop, with checkpoints of its own, and a binding for it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainbus import Run
from trainbus.binding import RunDriver
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import LineSubject

EPOCHS, BATCHES = 7, 3
LOSSES = [5.0, 4.0, 4.5, 4.4, 3.0, 3.1, 3.2]
CHECKPOINT = Path("framework.pickle")


class Framework:
    """Trains a line by a loop of its own; calls functions of its user by the names of its events.

    Args:
        skips: Whether it skips the batches that were trained on itself.
    """

    def __init__(self, *, skips: bool = True) -> None:
        self.line = LineSubject(0.1)
        self.epoch, self.batch, self.stop, self.skips = 0, 0, False, skips
        self.state: Any = None

    def load(self) -> None:
        """Continue from its own checkpoint."""
        slope, offset, rate, self.epoch, self.batch, self.state = pickle.loads(CHECKPOINT.read_bytes())
        self.line.restore((slope, offset))
        self.line.learning_rate = rate

    def save(self, epoch: int, batch: int, state: Any) -> None:
        """Write its own checkpoint."""
        line = self.line
        held = pickle.dumps((line.slope, line.offset, line.learning_rate, epoch, batch, state))
        CHECKPOINT.with_suffix(".new").write_bytes(held)
        CHECKPOINT.with_suffix(".new").rename(CHECKPOINT)

    def fit(self, binding: Binding) -> None:
        """Train."""
        binding.begin(self)
        while self.epoch < EPOCHS and not self.stop:
            binding.begin_epoch(self)
            for batch in range(self.batch if self.skips else 0, BATCHES):
                if binding.begin_batch(self):
                    x = np.array([0.0, 1.0 + batch])
                    loss = self.line.train(x, 2 * x)
                    binding.end_batch(self, batch, loss)
                if self.stop:
                    break
            binding.validated(self, {"eval_score": LOSSES[self.epoch]})
            binding.end_epoch(self)
            self.epoch, self.batch = self.epoch + 1, 0
        binding.end(self)


class Binding:
    """Runs callbacks in the framework.

    Args:
        callbacks: The callbacks.
        own: Whether the framework's checkpoints carry the state of the run.
        every_batch: Whether the framework saves after each batch, and not only after each epoch.
        options: Further arguments of the driver.
    """

    def __init__(self, callbacks: Any, *, own: bool = False, every_batch: bool = False, **options: Any) -> None:
        self.callbacks, self.own, self.every_batch, self.options = callbacks, own, every_batch, options

    def begin(self, framework: Framework) -> None:
        if self.own and CHECKPOINT.exists():
            framework.load()
            self.options["resume"] = framework.state
        self.driver = RunDriver(framework.line, self.callbacks, prefixes={"eval_": "val_"}, **self.options)
        self.driver.begin(EPOCHS, batches=BATCHES, validation_freq=1)
        if not self.own:
            framework.epoch = self.driver.first_epoch
        framework.stop = self.driver.stopped

    def begin_epoch(self, framework: Framework) -> None:
        self.driver.begin_epoch(framework.epoch, batch=framework.batch if self.own and framework.skips else 0)
        if framework.skips and self.driver.batches_to_skip:
            framework.batch = self.driver.batches_to_skip
            for _ in range(framework.batch):
                assert not self.driver.begin_batch()

    def begin_batch(self, framework: Framework) -> bool:
        return self.driver.begin_batch()

    def end_batch(self, framework: Framework, batch: int, loss: float) -> None:
        self.driver.end_batch({"loss": loss})
        framework.stop = self.driver.stopped
        if self.own and self.every_batch:
            framework.save(framework.epoch, batch + 1, self.driver.run.state_dict())

    def validated(self, framework: Framework, metrics: dict[str, float]) -> None:
        self.driver.begin_validation()
        self.driver.end_validation(metrics)

    def end_epoch(self, framework: Framework) -> None:
        self.driver.end_epoch()
        framework.stop = self.driver.stopped
        if self.own:
            framework.save(framework.epoch + 1, 0, self.driver.run.state_dict())

    def end(self, framework: Framework) -> None:
        self.driver.end()


def callbacks(*more: object, save_freq: Any = "epoch") -> list[Any]:
    """Return the callbacks that decide, and save in the working directory."""
    return [
        EarlyStopping(monitor="val_score", mode="min", patience=2, restore_best_weights=True),
        ReduceLROnPlateau(monitor="val_score", mode="min", patience=1, factor=0.5),
        ModelCheckpoint("best", monitor="val_score", mode="min", save_best_only=True),
        ModelCheckpoint("last-{epoch}", save_freq=save_freq, keep_last=2),
        *more,
    ]


def training(make: Callable[..., Binding] = Binding, *, skips: bool = True, **options: Any) -> Callable[..., Run]:
    """Return a training for ``check_binding``."""

    def train(plugin: object, resume: bool) -> Run:
        given = dict(options)
        save_freq = given.pop("save_freq", "epoch")
        if resume and not given.get("own"):
            given["resume"] = "auto"
        binding = make(callbacks(plugin, save_freq=save_freq), verbose=0, **given)
        Framework(skips=skips).fit(binding)
        return binding.driver.run

    return train
