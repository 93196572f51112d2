"""The callbacks act as those of skorch do in a real ``net.fit``: what is saved, under which name, and loaded again.

By design they differ: one file has model, optimizer and history together, and the callbacks' state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from trainbus import MissingMetric, Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .trainings import histories, saved

skorch = pytest.importorskip("skorch", reason="needs trainbus[bench]")
callbacks = pytest.importorskip("skorch.callbacks", reason="needs trainbus[bench]")


class Falling(torch.nn.Module):
    """Its only weight falls by the learning rate of 1 in each update."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.weight * rows


class Sum(torch.nn.Module):
    """The loss whose gradient is 1."""

    def forward(self, given: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return given.mean()


def in_skorch(values: Sequence[float], *its: Any, epochs: int | None = None, mode: str = "max") -> Any:
    """Return skorch's net after a fit in which ``score`` has one of the values in each epoch."""
    score = callbacks.EpochScoring(
        lambda net, *_: values[len(net.history) - 1], on_train=True, lower_is_better=mode == "min", name="score"
    )
    net = skorch.NeuralNet(
        Falling,
        Sum,
        lr=1.0,
        batch_size=1,
        max_epochs=len(values) if epochs is None else epochs,
        train_split=None,
        verbose=0,
        callbacks=[("own score", score), *its],
    )
    rows = np.ones((1, 1), "float32")
    return net.fit(rows, rows)


def own(values: Sequence[float], given: Any, **options: Any) -> Run:
    """Return this library's run over the same model with the same values."""
    model = Falling()
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    with Run(TorchSubject(model, optimizer), given, **options) as run:
        for epoch in run.epochs(len(values)):
            for _ in run.batches(range(1)):
                optimizer.zero_grad()
                model(torch.ones(1, 1)).mean().backward()
                optimizer.step()
            run.log(score=values[epoch])
    return run


def saver(folder: Path, **options: Any) -> Any:
    """Return skorch's Checkpoint that writes only the model."""
    files = {"f_optimizer": None, "f_criterion": None, "f_history": None}
    return callbacks.Checkpoint(dirname=str(folder), **{"f_params": "{last_epoch[epoch]}.pt", **files, **options})


def lengthened(count: int, **options: Any) -> Iterator[list[float]]:
    for history in histories(count, **options):
        yield [*history, 1.5, 0.25][: max(2, len(history))]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_each_new_best_is_saved_and_noted(mode: Any, tmp_path: Path) -> None:
    """``monitor="score_best"``; what ``event_name`` notes in the history is ``run.result.checkpoints``."""
    for number, values in enumerate(lengthened(6)):
        folder = tmp_path / str(number)
        net = in_skorch(values, saver(folder / "its", monitor="score_best", event_name="event_own"), mode=mode)
        callback = ModelCheckpoint(folder / "own/{epoch}", monitor="score", mode=mode, save_best_only=True)
        run = own(values, callback)

        assert saved(folder / "own") == saved(folder / "its"), values
        noted = [str(epoch) for epoch, event in enumerate(net.history[:, "event_own"], start=1) if event]
        assert [path.stem for path in run.result.checkpoints] == noted


def test_without_a_monitor_every_epoch_is_saved(tmp_path: Path) -> None:
    """``monitor=None``."""
    in_skorch([1.0, 2.0, 0.5], saver(tmp_path / "its", monitor=None))
    own([1.0, 2.0, 0.5], ModelCheckpoint(tmp_path / "own/{epoch}"))

    assert saved(tmp_path / "own") == saved(tmp_path / "its") == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("its", "template"),
    [
        ({"fn_prefix": "exp1_"}, "exp1_{epoch}"),
        ({"fn_prefix": "unet_", "f_params": "params.pt"}, "unet_params.pt"),
        ({"f_params": "m-{last_epoch[epoch]}-{last_epoch[score]:.2f}.pt"}, "m-{epoch}-{score:.2f}"),
        ({"f_params": "model_{last_epoch[epoch]}_{net.max_epochs}.pt"}, "model_{epoch}_3"),
        ({"f_params": "w.pth"}, "w.pth"),
    ],
)
def test_its_names(its: dict[str, Any], template: str, tmp_path: Path) -> None:
    """``fn_prefix``, ``dirname`` and the fields of ``f_params`` are written into ``filepath``."""
    values = [0.5, 0.25, 0.125]
    in_skorch(values, saver(tmp_path / "its", monitor=None, **its))
    own(values, ModelCheckpoint(tmp_path / "own" / template))
    names = [
        sorted(each.name for each in (tmp_path / side).iterdir() if each.name[0] != ".") for side in ("its", "own")
    ]

    assert [each for each in names[1] if each.endswith((".pt", ".pth"))] == names[0]


@pytest.mark.parametrize("load", [False, True])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_best_is_loaded_at_the_end(load: bool, mode: Any, tmp_path: Path) -> None:
    """``Checkpoint(load_best=...)`` and ``EarlyStopping(load_best=...)``, after a stop and after the last epoch."""
    for number, values in enumerate(lengthened(5, distinct=True)):
        for patience in (1, 99):
            stopper = callbacks.EarlyStopping(
                "score", patience, 0.0, lower_is_better=mode == "min", load_best=load, sink=lambda *_: None
            )
            net = in_skorch(values, stopper, mode=mode)
            callback = EarlyStopping(monitor="score", mode=mode, patience=patience, restore_best_weights=load)
            run = own(values, callback)

            assert len(run.history["score"]) == len(net.history)
            assert run.subject.model.weight.item() == net.module_.weight.item(), (values, patience)
        cp = saver(tmp_path / str(number), monitor="score_best", f_params="params.pt", load_best=load)
        net = in_skorch(values, cp, mode=mode)
        run = own(values, EarlyStopping(monitor="score", mode=mode, patience=99, restore_best_weights=load))
        assert run.subject.model.weight.item() == net.module_.weight.item(), values


def test_the_end_of_the_training(tmp_path: Path) -> None:
    """``TrainEndCheckpoint`` is ``save_on``, with its prefix as a name; the final model is in it."""
    values = [0.5, 0.25, 0.125]
    end = callbacks.TrainEndCheckpoint(
        dirname=str(tmp_path / "its"), f_optimizer=None, f_criterion=None, f_history=None
    )
    in_skorch(values, end)
    own(
        values,
        ModelCheckpoint(tmp_path / "own/{epoch}", save_freq="9 epochs", save_on={"end": "train_end_params"}),
    )

    assert saved(tmp_path / "own") == saved(tmp_path / "its") == ["train_end_params"]
    weights = [torch.load(tmp_path / side / "train_end_params.pt", weights_only=False) for side in ("its", "own")]
    assert weights[0]["weight"].item() == weights[1]["model"]["weight"].item() == -3


@pytest.mark.parametrize("prefix", ["train_end_", ""])
@pytest.mark.parametrize("more", [1, 3])
def test_a_net_that_goes_on_from_the_end(prefix: str, more: int, tmp_path: Path) -> None:
    """``LoadInitState(TrainEndCheckpoint())`` is ``resume="auto"``; skorch counts only the new epochs, here all."""
    values = [0.5, 0.25, 0.125, 0.5, 0.75, 0.625]

    def end() -> Any:
        return callbacks.TrainEndCheckpoint(dirname=str(tmp_path / "its"), fn_prefix=prefix, f_criterion=None)

    in_skorch(values, end(), epochs=2)
    again = end()
    net = in_skorch(values, callbacks.LoadInitState(again), again, epochs=more)
    callback = ModelCheckpoint(tmp_path / "own/{epoch}", save_freq="9 epochs", save_on={"end": prefix + "params"})
    own(values[:2], callback)
    run = own(values[: 2 + more], callback, resume="auto")

    assert list(run.history["score"]) == net.history[:, "score"]
    assert run.subject.model.weight.item() == net.module_.weight.item() == -2 - more


def test_a_monitor_that_is_not_in_the_history(tmp_path: Path) -> None:
    """Both libraries say so in the first epoch."""
    with pytest.raises(Exception, match="validation data"):
        in_skorch([1.0], saver(tmp_path / "its", monitor="valid_loss_best"))
    with pytest.raises(MissingMetric, match="valid_loss"):
        own([1.0], ModelCheckpoint(tmp_path / "own/{epoch}", monitor="valid_loss", save_best_only=True))


@pytest.mark.parametrize("step_every", ["epoch", "batch"])
@pytest.mark.parametrize("monitor", ["score", "callable"])
@pytest.mark.parametrize("patience", [0, 2])
def test_its_scheduler_of_a_plateau(step_every: str, monitor: str, patience: int) -> None:
    """``LRScheduler(ReduceLROnPlateau)``: the rate after each look; ``event_name`` is ``run.history``."""
    for history in lengthened(8):
        values = [nan if place % 5 == 4 else abs(value) for place, value in enumerate(history)]
        given = iter(values)
        reads = "score" if monitor == "score" else lambda _, given=given: next(given)
        scheduler = callbacks.LRScheduler(
            torch.optim.lr_scheduler.ReduceLROnPlateau,
            monitor=reads,
            step_every=step_every,
            factor=0.5,
            patience=patience,
        ).initialize()
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
        net = SimpleNamespace(history=skorch.history.History(), optimizer_=optimizer)
        scheduler.on_train_begin(net)
        rates = []
        for number, value in enumerate(values):
            if number == 0 or step_every == "epoch":
                net.history.new_epoch()
            net.history.new_batch()
            (net.history.record_batch if step_every == "batch" else net.history.record)("score", value)
            scheduler.on_batch_end(net, training=True)
            if step_every == "epoch":
                scheduler.on_epoch_end(net)
            rates.append(optimizer.param_groups[0]["lr"])

        mine = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
        callback = ReduceLROnPlateau(
            monitor="score",
            mode="min",
            rule="torch",
            factor=0.5,
            patience=patience,
            eps=1e-8,
            every="epoch" if step_every == "epoch" else "1 steps",
            value="mean" if step_every == "epoch" else "last",
        )
        found = []
        with Run(TorchSubject(torch.nn.Linear(1, 1), mine), callback) as run:
            epochs = len(values) if step_every == "epoch" else 1
            for epoch in run.epochs(epochs):
                for value in run.batches(
                    values if epochs == 1 and step_every == "batch" else values[epoch : epoch + 1]
                ):
                    if run.step:
                        found.append(mine.param_groups[0]["lr"])
                    mine.step()
                    run.log(score=value)
        found.append(mine.param_groups[0]["lr"])

        assert found == rates, values
        if step_every == "epoch":
            assert list(run.history["learning_rate"]) == list(net.history[:, "event_lr"])
