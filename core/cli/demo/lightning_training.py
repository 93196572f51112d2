"""Train on the digits with PyTorch Lightning."""

# the frameworks have incomplete or wrong type annotations
# pyright: basic, reportArgumentType=false, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from trainbus import Callback, Run
from trainbus.adapters.lightning import LightningCallback

from .data import Digits


class Classifier(pl.LightningModule):
    """A network of one hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the loss of a batch."""
        images, labels = batch
        loss = torch.nn.functional.cross_entropy(self.layers(images), labels)
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss and the accuracy of a batch."""
        images, labels = batch
        scores = self.layers(images)
        accuracy = (scores.argmax(1) == labels).float().mean()
        self.log_dict({"val_loss": torch.nn.functional.cross_entropy(scores, labels), "val_accuracy": accuracy})

    def configure_optimizers(self) -> Any:
        """Return the optimizer."""
        return torch.optim.Adam(self.parameters(), lr=0.01)


def train(data: Digits, callbacks: Sequence[Callback], epochs: int, resume: Literal["auto"] | None) -> Run:
    """Train for at most so many epochs; resume the run that ``resume`` names."""
    pl.seed_everything(0, verbose=False)
    x, y, x_val, y_val = (torch.from_numpy(array) for array in data)
    bus = LightningCallback(callbacks, resume=resume)
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=epochs, callbacks=[bus], enable_progress_bar=False, **quiet)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    trainer.fit(Classifier(), loader, DataLoader(TensorDataset(x_val, y_val), batch_size=360))
    return bus.run
