"""What Lightning trains is saved as ``TorchSubject`` saves it, with the position of Lightning's loops beside it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import torch

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint

pl = pytest.importorskip("lightning.pytorch", reason="needs trainbus[lightning]")

from .trainings import Regression, fit, loaders, quiet  # noqa: E402, F401

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory of the test."""
    monkeypatch.chdir(tmp_path)


def test_a_loop_without_lightning_continues_its_checkpoint() -> None:
    """The file has the layout of ``TorchSubject``; the loop does not need the position."""
    fit([ModelCheckpoint("m.pt")], Regression("epoch"), epochs=2)
    saved = torch.load("m.pt", weights_only=True)
    module = Regression("epoch")
    [optimizer], [schedule] = module.configure_optimizers()
    subject = TorchSubject(module, optimizer, scheduler=schedule["scheduler"])
    with Run(subject, ModelCheckpoint("m.pt"), resume="auto", verbose=0) as run:
        for _ in run.epochs(3):
            for _ in run.batches(loaders()[0]):
                optimizer.step()
            run.log(val_loss=1.0)

    assert [list(saved[each]) for each in ("optimizers", "schedulers")] == [["optimizer"], ["scheduler"]]
    assert [epoch for epoch, _ in run.state.epoch_metrics] == [0, 1, 2]
    assert run.step == 12


def test_the_scaler_of_mixed_precision_is_saved() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    precision = pl.plugins.MixedPrecision("16-mixed", "cpu", scaler)
    fit([ModelCheckpoint("m.pt")], epochs=1, plugins=[precision])

    assert torch.load("m.pt", weights_only=True)["scaler"]["scaler"]["scale"] == 8.0


@pytest.mark.parametrize("bar", [True, False])
def test_who_draws_the_progress(bar: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning, unless its bar is off: then each epoch has a line."""
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    fit([EarlyStopping(patience=9, verbose=2)], epochs=2, enable_progress_bar=bar)

    assert ("Epoch 1/2" in out.getvalue()) == (not bar), out.getvalue()
