"""Files of Lightning's own ModelCheckpoint, on the same curves."""

from __future__ import annotations

from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trainbus.plugins import ModelCheckpoint
from trainbus.replay import replay
from trainbus.replay.libraries.checkpoints.lightning import LightningModelCheckpoint

from ...random_curves import SEEDS, random_curve, random_options
from ...recorded import History, recording


class Trainer:
    """A minimal trainer for Lightning's ModelCheckpoint, whose checkpoints hold the number of their epoch."""

    fast_dev_run = sanity_checking = False
    is_global_zero = True
    check_val_every_n_epoch = 1
    num_val_batches = 1
    val_check_interval = 1.0
    ckpt_path = None
    loggers = ()
    current_epoch = 0

    def __init__(self, states: Any) -> None:
        self.callback_metrics: dict[str, torch.Tensor] = {}
        self.strategy = self
        self.state = SimpleNamespace(fn=states.TrainerFn.FITTING)
        val_loop = SimpleNamespace(_has_run=False)
        self.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(val_loop=val_loop))

    @property
    def global_step(self) -> int:
        return self.current_epoch + 1

    def save_checkpoint(self, filepath: str, weights_only: bool) -> None:
        Path(filepath).write_text(str(self.current_epoch))

    def remove_checkpoint(self, filepath: str) -> None:
        Path(filepath).unlink()

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:  # noqa: A002 - Lightning's own name
        return decision

    def barrier(self) -> None:
        """Wait for no other process."""


def in_lightning(history: History, options: dict[str, Any], folder: Path, dtype: torch.dtype) -> tuple[Any, History]:
    """Return the callback after the run, and the values as Lightning logs them."""
    lightning = pytest.importorskip("lightning.pytorch", reason="needs trainbus[test-bindings]")
    from lightning.pytorch.trainer import states  # noqa: PLC0415 - not everybody has it

    callback, trainer = lightning.callbacks.ModelCheckpoint(folder, **options), Trainer(states)
    values = [None if each is None else torch.tensor(each, dtype=dtype) for each in history]
    validates = any(each is not None for each in values)
    for trainer.current_epoch, value in enumerate(values):
        if validates and value is None:  # an epoch without a validation, after which the trainer would call it
            continue
        trainer.callback_metrics = {} if value is None else {"val_loss": value}
        callback.on_train_epoch_end(trainer, None)
    return callback, [None if each is None else each.item() for each in values]


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.filterwarnings("ignore")
def test_the_files_of_lightning_on_random_curves(seeds: range, tmp_path: Path) -> None:
    """The same files hold the same models, versions and the last one included, and the best one is the same."""
    for seed in seeds:
        random = Random(seed)
        history = random_curve(random)
        choices: dict[str, list[Any]] = {"mode": ["min", "max"], "save_top_k": [1, 1, 2, 3, -1, 0]}
        choices |= {"save_last": [None, True, "link"], "every_n_epochs": [None, None, 2]}
        choices |= {"filename": [None, "best", "{epoch:02d}-{val_loss:.2f}", "{val_loss:.1f}"]}
        options = random_options(random, {**choices, "auto_insert_metric_name": [True, False]})
        if random.random() < 0.8 or options["save_top_k"] > 1:
            options["monitor"] = "val_loss"
        folder, dtype = tmp_path / str(seed), random.choice([torch.float32, torch.float64])
        folder.mkdir()
        callback, values = in_lightning(history, options, folder, dtype)
        files = {path.name: int(path.read_text()) for path in folder.iterdir() if path.exists()}

        (found,) = replay([recording(values)], LightningModelCheckpoint(**options), by="lightning").outcomes
        listed = {each.path: each.epoch for each in found.files}
        dangling = {path.name for path in folder.iterdir() if not path.exists()}  # a link to a removed file
        assert {path: epoch for path, epoch in listed.items() if path not in dangling} == files, (seed, options)
        best = Path(callback.best_model_path).name
        assert [each.path for each in found.files if each.best] == ([best] if best in files else []), (seed, options)


def test_options_of_trainbus_are_those_of_lightning() -> None:
    """A file for the best model is that of the metric, and keep is save_top_k."""
    run = recording([3.0, 2.0, 2.5, 1.0])

    (found,) = replay([run], ModelCheckpoint("best", save_best_only=True), by="lightning").outcomes
    assert [(each.path, each.epoch, each.best) for each in found.files] == [("best.ckpt", 3, True)]
    (found,) = replay([run], ModelCheckpoint("{epoch0}", monitor="val_loss", keep=2), by="lightning").outcomes
    assert [(each.path, each.epoch) for each in found.files] == [("epoch=1.ckpt", 1), ("epoch=3.ckpt", 3)]
    result = replay([run], LightningModelCheckpoint(every_n_train_steps=10), by="lightning")
    assert "every_n_train_steps=10 saves inside epochs" in " ".join(result.notes)
