"""The callbacks decide as those of skorch do, on skorch's own cases and on others.

By design they differ: a stop continues to the end of the epoch, and of a negative best value a relative threshold asks
for a better value.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from sklearn.base import clone

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .trainings import histories, saved, stopped_after, train

skorch = pytest.importorskip("skorch", reason="needs trainbus[bench]")
callbacks = pytest.importorskip("skorch.callbacks", reason="needs trainbus[bench]")


def its_stop(
    values: Sequence[float], *, patience: int, min_delta: float, mode: str, min_delta_mode: str = "abs"
) -> int:
    """Return the number of epochs after which skorch stops, or of all."""
    stopper = callbacks.EarlyStopping(
        "score", patience=patience, threshold=min_delta, threshold_mode=min_delta_mode, lower_is_better=mode == "min"
    )
    net = SimpleNamespace(history=skorch.history.History(), verbose=0)
    stopper.on_train_begin(net)
    for number, value in enumerate(values, start=1):
        net.history.new_epoch()
        net.history.record("epoch", number)
        net.history.record("score", value)
        try:
            stopper.on_epoch_end(net)
        except KeyboardInterrupt:
            return number
    return len(values)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([0.5] * 8, {"patience": 5, "min_delta": 0.0, "mode": "min"}),
        ([0.5] * 8, {"patience": 5, "min_delta": 0.0, "mode": "max"}),
        ([*range(2, 10)], {"patience": 5, "min_delta": 0.0, "mode": "max"}),
        ([0.7, 0.69, 0.68, 0.67, 0.66, 0.65, 0.64, 0.63], {"patience": 5, "min_delta": 0.1, "mode": "min"}),
    ],
)
def test_its_own_cases_of_early_stopping(values: list[float], options: dict[str, Any]) -> None:
    """The same epoch is the last."""
    assert stopped_after(values, **options) == its_stop(values, **options)


@pytest.mark.exhaustive
@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stopping(mode: str) -> None:
    """With any patience and min_delta, where the differences are exact in both."""
    for number, values in enumerate(histories(200)):
        options: dict[str, Any] = {"patience": number % 4 + 1, "min_delta": (0.0, 0.5, 1.0)[number % 3], "mode": mode}

        assert stopped_after(values, **options) == its_stop(values, **options), (values, options)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_relative_thresholds(mode: Literal["min", "max"]) -> None:
    """Skorch's default mode; of values that are not negative, with NaN after the first."""
    for number, values in enumerate(histories(100)):
        known = [nan if place and (number + place) % 7 == 6 else abs(value) for place, value in enumerate(values)]
        options: dict[str, Any] = {
            "patience": number % 4 + 1,
            "min_delta": (1e-4, 0.1, 0.5, 0.0)[number % 4],
            "mode": mode,
            "min_delta_mode": "rel",
        }

        assert stopped_after(known, **options) == its_stop(known, **options), (known, options)


@pytest.mark.parametrize(("best", "worse"), [(-1.0, -0.95), (-100.0, -91.0), (-1e-3, -9.5e-4)])
def test_a_worse_value_below_0_is_no_relative_improvement(best: float, worse: float) -> None:
    """Skorch calls it one: it is below the best value times 0.9."""
    values = [best, worse, worse, worse]
    options: dict[str, Any] = {"patience": 1, "min_delta": 0.1, "mode": "min", "min_delta_mode": "rel"}

    assert its_stop(values, **options) > stopped_after(values, **options) == 2


def in_skorch(folder: Path, epochs: int, *, load: bool = False) -> Any:
    """Fit skorch's network, whose score is 1 in epoch 3 and else 0, and save each new best; return the network."""
    score = callbacks.EpochScoring(
        lambda net, *_: int(net.history[-1, "epoch"] == 3), on_train=True, lower_is_better=False, name="score"
    )
    saver = callbacks.Checkpoint(
        "score_best", f_params="{last_epoch[epoch]}.pt", f_optimizer=None, f_criterion=None, dirname=str(folder)
    )
    loader = [callbacks.LoadInitState(saver)] if load else []
    net = skorch.NeuralNetRegressor(
        torch.nn.Linear, module__in_features=1, module__out_features=1, max_epochs=epochs, verbose=0,
        callbacks=[*loader, ("own score", score), saver],
    )  # fmt: skip
    rows = np.zeros((10, 1), "float32")
    return net.fit(rows, rows)


def test_a_run_that_goes_on_from_the_best_saves_nothing_worse(tmp_path: Path) -> None:
    """Skorch's test: the best of 10 epochs is the third; 10 more epochs from there are 13 in all, with no new best."""
    in_skorch(tmp_path / "its", 10)
    net = in_skorch(tmp_path / "its", 10, load=True)
    callback = ModelCheckpoint(tmp_path / "own" / "{epoch}", monitor="score", mode="max", save_best_only=True)
    values = [float(epoch == 2) for epoch in range(13)]
    train(values[:10], callback)
    run = train(values, callback, resume=tmp_path / "own" / "3.pt")

    assert len(run.history["score"]) == len(net.history) == 13
    assert saved(tmp_path / "own") == saved(tmp_path / "its") == ["1", "3"]


def test_an_error_while_saving_is_reported_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Skorch's test of its sink, with ``on_error="warn"``; also where a subclass saves."""

    class Broken(TorchSubject):
        def save(self, path: Path, *, weights_only: bool) -> object:
            raise RuntimeError("encoding error")

    model = torch.nn.Linear(1, 1)
    subject = Broken(model, torch.optim.SGD(model.parameters()))
    with Run(subject, ModelCheckpoint(tmp_path / "{epoch}", on_error="warn")) as run:
        for _ in run.epochs(4):
            run.log(loss=1.0)

    assert sum("encoding error" in record.getMessage() for record in caplog.records) == 4
    assert saved(tmp_path) == []


@pytest.mark.parametrize("best", [True, False])
def test_the_best_weights_come_back_if_asked_for(best: bool) -> None:
    """Skorch's load_best."""
    model = torch.nn.Linear(1, 1)
    optimizer, weights = torch.optim.SGD(model.parameters(), 0.1), list[float]()
    with Run(
        TorchSubject(model, optimizer),
        EarlyStopping(monitor="score", mode="min", patience=9, restore_best_weights=best),
    ) as run:
        for epoch in run.epochs(3):
            model(torch.ones(1, 1)).sum().backward()
            optimizer.step()
            weights.append(model.weight.item())
            run.log(score=float(epoch))

    assert model.weight.item() == weights[0 if best else 2]


@pytest.mark.parametrize("callback", [ModelCheckpoint("m"), EarlyStopping(patience=2), ReduceLROnPlateau(factor=0.5)])
def test_callbacks_can_be_cloned(callback: object) -> None:
    """As scikit-learn clones what it does not know; skorch's test for its bug 459."""
    assert clone(callback, safe=False) == callback
