"""A training by Lightning that is killed and resumed makes the decisions of the unbroken one, in both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from trainbus import Run, SettingsError
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import EventRecorder, check_binding

pl = pytest.importorskip("lightning.pytorch", reason="needs trainbus[lightning]")

from trainbus.adapters.lightning import LightningCallback  # noqa: E402

from .trainings import QUIET, Regression, TwoOptimizers, newest, quiet  # noqa: E402, F401

pytestmark = pytest.mark.filterwarnings("ignore")


class Rows(IterableDataset[torch.Tensor]):
    """Random rows, without a length."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from torch.randn(14, 2)


def shuffled() -> Any:
    return DataLoader(torch.randn(14, 2), 4, shuffle=True)


def of_own_generator() -> Any:
    return DataLoader(torch.randn(14, 2), 4, shuffle=True, generator=torch.Generator().manual_seed(5))


def of_workers() -> Any:
    return DataLoader(torch.randn(14, 2), 4, shuffle=True, num_workers=1)


def of_unknown_length() -> Any:
    return DataLoader(Rows(), 4)


def of_two() -> Any:
    return {"a": shuffled(), "b": of_own_generator()}


def stateful() -> Any:
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")
    return torchdata.StatefulDataLoader(torch.randn(14, 2), 4, shuffle=True)


class OfTwo(Regression):
    """Trains on the batches of two loaders."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return super().training_step(torch.cat([batch["a"], batch["b"]]), batch_idx)


def training(
    make: Callable[[], Any] = Regression,
    loader: Callable[[], Any] = shuffled,
    save_freq: str = "epoch",
    own: dict[str, Any] | None = None,
    epochs: int | None = 5,
    every: str = "epoch",
    **trainer: Any,
) -> Callable[[object, bool], Run]:
    """Return a training that resumes by trainbus's checkpoints, or by those of Lightning with settings ``own``."""

    def train(plugin: object, resume: bool) -> Run:
        torch.set_num_threads(1)
        pl.seed_everything(3, verbose=False)
        data, validation = loader(), DataLoader(torch.randn(8, 2), 4, shuffle=True)
        rules = [
            EarlyStopping(patience=2, min_delta=0.01, every=every, restore_best_weights=True),
            ReduceLROnPlateau(patience=0, factor=0.5, min_delta=0.01),
            plugin,
        ]
        if own is None:
            saved = ModelCheckpoint("m-{epoch}-{step}.pt", save_freq=save_freq)
            bus = LightningCallback([*rules, saved], resume="auto" if resume else None, verbose=0)
            beside, path = [], None
        else:
            bus = LightningCallback([*rules, ModelCheckpoint("best.pt", save_best_only=True)], verbose=0)
            beside = [pl.callbacks.ModelCheckpoint("own", save_top_k=-1, **own)]
            path = newest() if resume else None
        made = pl.Trainer(
            callbacks=[bus, *beside], max_epochs=epochs, **{**QUIET, "enable_checkpointing": bool(beside), **trainer}
        )
        made.fit(make(), data, validation, ckpt_path=path)
        assert made.global_step == bus.run.step
        assert made.fit_loop.epoch_loop._batches_that_stepped == bus.run.step or make is TwoOptimizers
        return bus.run

    return train


BATCHES = {"save_freq": "1 batches"}
EVERY_BATCH = {"own": {"every_n_train_steps": 1}}
EVERY_VALIDATION = {"own": {"monitor": "val_loss", "every_n_epochs": 1, "save_on_train_epoch_end": False}}
EVERY_EPOCH = {"own": {"every_n_epochs": 1}}
WAYS = {
    "auto": {},
    "auto, each batch": BATCHES,
    "auto, each validation": {"save_freq": "validation", "val_check_interval": 0.5},
    "auto, each batch, two validations": {**BATCHES, "val_check_interval": 0.5},
    "auto, two batches an update": {"save_freq": "2 batches", "accumulate_grad_batches": 2},
    "auto, validation in each second epoch": {**BATCHES, "check_val_every_n_epoch": 2, "epochs": 6},
    "auto, validation by batches": {**BATCHES, "check_val_every_n_epoch": None, "val_check_interval": 3, "epochs": 3},
    "auto, schedule by epochs": {"make": lambda: Regression("epoch")},
    "auto, schedule by steps": {**BATCHES, "make": lambda: Regression("step")},
    "auto, by steps": {"max_steps": 14, "epochs": None},
    "auto, by steps, each batch": {**BATCHES, "max_steps": 14, "epochs": None},
    "auto, two optimizers": {**BATCHES, "make": TwoOptimizers},
    "auto, own generator": {**BATCHES, "loader": of_own_generator},
    "auto, workers": {**BATCHES, "loader": of_workers},
    "auto, unknown length": {"loader": of_unknown_length},
    "auto, two loaders": {**BATCHES, "loader": of_two, "make": OfTwo},
    "auto, looks at validations": {**BATCHES, "val_check_interval": 0.5, "every": "validation"},
    "auto, loaders made anew": {**BATCHES, "reload_dataloaders_every_n_epochs": 1},
    "auto, stateful": {**BATCHES, "loader": stateful},
    "path": EVERY_EPOCH,
    "path, each batch": EVERY_BATCH,
    "path, each batch, two validations": {**EVERY_BATCH, "val_check_interval": 0.5},
    "path, each validation": {**EVERY_VALIDATION, "val_check_interval": 0.5},
    "path, schedule by steps": {**EVERY_BATCH, "make": lambda: Regression("step")},
    "path, by steps": {**EVERY_EPOCH, "max_steps": 14, "epochs": None},
    "path, two optimizers": {**EVERY_BATCH, "make": TwoOptimizers},
    "path, own generator": {**EVERY_BATCH, "loader": of_own_generator},
    "path, stateful": {**EVERY_BATCH, "loader": stateful},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.exhaustive
def test_it_resumes_exactly(way: str) -> None:
    """Killed at each validation, in a process of its own."""
    check_binding(training(**WAYS[way]), at=["on_validation_end"])


@pytest.mark.parametrize(
    "way", ["auto, each batch, two validations", "path, each batch, two validations", "path, two optimizers"]
)
@pytest.mark.exhaustive
def test_it_resumes_exactly_from_each_event(way: str) -> None:
    check_binding(training(**WAYS[way]))


@pytest.mark.usefixtures("quiet")
def test_it_continues_a_checkpoint_of_another_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which holds no position of Lightning's loops: epochs, steps and rates are counted on."""
    monkeypatch.chdir(tmp_path)
    module = Regression()
    optimizer = module.configure_optimizers()
    with Run(TorchSubject(module, optimizer), ModelCheckpoint("m.pt"), verbose=0) as run:
        for epoch in run.epochs(2):
            for batch in run.batches(shuffled()):
                optimizer.zero_grad()
                module.layer(batch).pow(2).mean().backward()
                optimizer.step()
            run.log(val_loss=float(epoch))
    bus = LightningCallback(ModelCheckpoint("m.pt"), resume="auto", verbose=0)
    made = pl.Trainer(callbacks=[bus], max_epochs=4, **QUIET)
    made.fit(Regression(), shuffled(), DataLoader(torch.randn(8, 2), 4))

    assert (made.current_epoch, made.global_step, bus.run.step) == (4, 16, 16)
    assert [epoch for epoch, _ in bus.run.state.epoch_metrics] == [0, 1, 2, 3]


def test_a_resume_in_an_epoch_of_unknown_length_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning would leave out what is left of the training."""
    monkeypatch.chdir(tmp_path)

    class Killed(Exception):
        """Ends a training in the middle."""

    def fail(event: Any) -> None:
        if event.values["step"] == 2:
            raise Killed

    train = training(**BATCHES, loader=of_unknown_length)
    with pytest.raises(Killed):
        train(EventRecorder("on_batch_end", answer=fail), False)
    with pytest.raises(
        SettingsError, match="a loader that has no length; resume from a checkpoint of the end of an epoch"
    ):
        train(EventRecorder("on_epoch_end"), True)
