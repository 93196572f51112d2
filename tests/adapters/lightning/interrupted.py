"""A training by Lightning in a process of its own, which gets a signal: ``python -m ... FOLDER SIGNAL WAY``."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from typing import Any

import lightning.pytorch as pl
import torch

from trainbus.plugins import EarlyStopping, ModelCheckpoint, TensorBoard

from .trainings import Regression, fit, newest


class Interrupted(Regression):
    """Sends its process a signal in a batch of the second epoch."""

    number = 0

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        if (self.current_epoch, batch_idx) == (1, 1) and self.number:
            os.kill(os.getpid(), self.number)
        return super().training_step(batch, batch_idx)


def main(folder: str, name: str, way: str) -> None:
    os.chdir(folder)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    Interrupted.number = getattr(signal, name, 0)
    callbacks = [EarlyStopping(patience=9), TensorBoard("logs"), ModelCheckpoint("m-{epoch}.pt", save_on=["signal"])]
    beside: list[Any] = [pl.callbacks.OnExceptionCheckpoint(".", "error")] if way == "path" else []
    path = newest(".") if way == "path" else None
    options: Any = {"resume": "auto" if way == "auto" else None, "verbose": 0}
    if way == "alone":
        options, callbacks = {"signals": ()}, []
    bus = fit(callbacks, Interrupted, path=path, beside=beside, options=options, enable_checkpointing=bool(beside))[1]
    print(json.dumps({"history": bus.run.history, "step": bus.run.step}))


if __name__ == "__main__":
    main(*sys.argv[1:])
