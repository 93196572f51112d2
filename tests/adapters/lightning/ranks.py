"""A training by Lightning on two processes: ``python -m ... FOLDER WAY [EVENT]``, killed at that event on both."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from trainbus import Run, hookimpl
from trainbus.adapters.lightning import LightningCallback
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .trainings import QUIET, Regression, newest


class Killer:
    """Kills its process at the end of a batch or an epoch, such as "1 3" or "1"."""

    def __init__(self, moment: str) -> None:
        self.moment = [int(each) for each in moment.split()]

    @hookimpl
    def on_batch_end(self, epoch: int, batch: int) -> None:
        self._at(epoch, batch)

    @hookimpl
    def on_epoch_end(self, epoch: int) -> None:
        self._at(epoch)

    def _at(self, *moment: int) -> None:
        if list(moment) == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str, way: str, moment: str = "", strategy: str = "ddp") -> None:
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[3])  # Lightning starts this module again, in the folder
    os.chdir(folder)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    pl.seed_everything(3, verbose=False)
    rules: list[Any] = [
        EarlyStopping(patience=2, min_delta=0.01, restore_best_weights=True),
        ReduceLROnPlateau(patience=0, factor=0.5, min_delta=0.01),
        Killer(moment),
    ]
    beside, path = list[Any](), None
    if way == "auto":
        bus = LightningCallback([*rules, ModelCheckpoint("m-{epoch}-{batch}.pt", save_freq="1 batches")], resume="auto")
    else:
        bus = LightningCallback(rules)
        beside, path = [pl.callbacks.ModelCheckpoint("own", save_top_k=-1, every_n_train_steps=1)], newest()
    data = torch.randn(14, 2)
    trainer = pl.Trainer(
        callbacks=[bus, *beside, Reports()],
        max_epochs=5,
        devices=2,
        strategy=strategy,
        **{**QUIET, "enable_checkpointing": bool(beside)},
    )
    trainer.fit(Regression(), DataLoader(data, 2, shuffle=True), DataLoader(data[:6], 2), ckpt_path=path)


class Reports(pl.Callback):
    """Writes what each rank has seen, also one in a process that Lightning spawns."""

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        report(next(each.run for each in trainer.callbacks if isinstance(each, LightningCallback)), trainer)


def report(run: Run, trainer: Any) -> None:
    """Write what this rank has seen."""
    weights = [each.tolist() for each in trainer.lightning_module.state_dict().values()]
    seen = {"history": run.history, "reason": run.result.reason, "step": run.step, "weights": weights}
    seen["files"] = sorted(each.name for each in Path.cwd().iterdir() if each.match("[!.]*.pt"))
    Path(f"rank-{run.rank}.json").write_text(json.dumps({**seen, "epochs": trainer.current_epoch}))


if __name__ == "__main__":
    main(*sys.argv[1:])
