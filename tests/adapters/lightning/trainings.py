"""Small trainings by Lightning."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from trainbus.adapters.lightning import LightningCallback

SAMPLES, BATCH = 14, 4
QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}

torch.set_num_threads(1)  # trainings of forked processes are compared bit by bit


class Regression(pl.LightningModule):
    """Fits a line with dropout, so that a training depends on all random numbers that were drawn before.

    Args:
        scheduler: The interval of a schedule, "step" or "epoch"; empty for none.
    """

    def __init__(self, scheduler: str = "", rate: float = 0.1) -> None:
        super().__init__()
        self.layer, self.drop = torch.nn.Linear(2, 1), torch.nn.Dropout(0.2)
        self.scheduler, self.rate = scheduler, rate

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss = self.drop(self.layer(batch)).pow(2).mean()
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.log("number", float(batch_idx))
        self.log("highest", loss, on_step=False, on_epoch=True, reduce_fx="max")
        return loss

    def validation_step(self, batch: torch.Tensor) -> None:
        self.log("val_loss", self.layer(batch).pow(2).mean())

    def on_train_epoch_end(self) -> None:
        self.log("score", float(self.current_epoch))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), self.rate, momentum=0.9)
        if not self.scheduler:
            return optimizer
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.7)
        return [optimizer], [{"scheduler": schedule, "interval": self.scheduler}]


class TwoOptimizers(Regression):
    """Optimises by hand, two layers in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.second = torch.nn.Linear(2, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        for layer, optimizer in zip((self.layer, self.second), self.optimizers(), strict=True):
            loss = self.drop(layer(batch)).pow(2).mean()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            self.log("loss", loss, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.layer.parameters(), 0.1), torch.optim.Adam(self.second.parameters(), 0.01)


class Scripted(pl.LightningModule):
    """Logs given values of the validation, one in each epoch.

    Args:
        values: The values.
        name: Their name.
    """

    def __init__(self, values: Sequence[float], name: str = "val_loss") -> None:
        super().__init__()
        self.layer, self.values, self.name = torch.nn.Linear(2, 1), values, name

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        return self.layer(batch).sum()

    def validation_step(self, batch: torch.Tensor) -> None:
        self.log(self.name, torch.tensor(self.values[self.current_epoch], dtype=torch.float64))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def loaders(*, workers: int = 0, generator: torch.Generator | None = None) -> tuple[Any, Any]:
    """Return a shuffled loader of 4 batches, and one of 2."""
    data = torch.randn(SAMPLES, 2)
    train = DataLoader(data, BATCH, shuffle=True, num_workers=workers, generator=generator)
    return train, DataLoader(torch.randn(8, 2), BATCH)


def fit(
    callbacks: Any = (),
    module: pl.LightningModule | type[pl.LightningModule] = Regression,
    *,
    epochs: int | None = 3,
    beside: Sequence[Any] = (),
    path: Any = None,
    options: dict[str, Any] | None = None,
    **trainer: Any,
) -> tuple[pl.Trainer, LightningCallback]:
    """Train with a new trainer; return it and the callback."""
    pl.seed_everything(3, verbose=False)
    bus = callbacks if isinstance(callbacks, LightningCallback) else LightningCallback(callbacks, **(options or {}))
    train, validation = loaders()
    made = pl.Trainer(callbacks=[bus, *beside], max_epochs=epochs, **{**QUIET, **trainer})
    made.fit(module() if isinstance(module, type) else module, train, validation, ckpt_path=path)
    return made, bus


def newest(folder: str = "own") -> str | None:
    """Return the newest checkpoint of Lightning in a directory."""
    found = sorted(Path(folder).glob("*.ckpt"), key=lambda each: each.stat().st_mtime_ns)
    return str(found[-1]) if found else None


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work in another directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Hide lines of Lightning below errors."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)
