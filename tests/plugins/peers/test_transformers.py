"""The callbacks decide as those of Transformers do, and act under its optimizers and schedules and under Accelerate.

By design it differs: a short name such as "accuracy" does not stand for "eval_accuracy"; the error names it. Its
threshold is ``min_delta`` with ``cumulative_delta=False``, since its best value also follows smaller changes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from trainbus import MissingCapability, Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint, ReduceLROnPlateau

from .trainings import histories, saved, stopped_after, train

transformers = pytest.importorskip("transformers", reason="needs trainbus[bench]")
optimization = pytest.importorskip("transformers.optimization", reason="needs trainbus[bench]")


def its_stop(values: Sequence[float], patience: int, mode: str, threshold: float = 0.0) -> int:
    """Return the number of evaluations after which Transformers stops, or of all."""
    better = np.greater if mode == "max" else np.less
    options = SimpleNamespace(greater_is_better=mode == "max", metric_for_best_model="score")
    state, control = SimpleNamespace(best_metric=None), SimpleNamespace(should_training_stop=False)
    callback = transformers.EarlyStoppingCallback(patience, threshold)
    for number, value in enumerate(values, start=1):
        callback.on_evaluate(options, state, control, {"eval_score": value})
        if state.best_metric is None or better(value, state.best_metric):  # as Trainer does after the callbacks
            state.best_metric = value
        if control.should_training_stop:
            return number
    return len(values)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stopping(mode: str) -> None:
    """With any patience, and with NaN after the first value."""
    for number, values in enumerate(histories(40)):
        patience = number % 4 + 1
        values[1:] = [nan if (number + place) % 5 == 0 else value for place, value in enumerate(values[1:])]

        assert stopped_after(values, mode=mode, patience=patience) == its_stop(values, patience, mode), values


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold", [0.25, 0.5, 1.0])
def test_its_threshold_compares_with_a_best_value_that_creeps(mode: str, threshold: float) -> None:
    """A value that is better by less becomes the best, and is no improvement; the differences are exact in both."""
    for number, values in enumerate(histories(80)):
        patience = number % 4 + 1
        own = stopped_after(values, mode=mode, patience=patience, min_delta=threshold, cumulative_delta=False)

        assert own == its_stop(values, patience, mode, threshold), (values, patience)


BEST = [
    ([0.60, 0.65, 0.64], "max", {"save_best_only": True}, ["1", "2"]),
    ([0.03, 0.02, 0.03], "min", {"save_best_only": True}, ["1", "2"]),
    ([0.59, 0.57, 0.55], "max", {"keep": 1, "keep_last": 1}, ["1", "3"]),
    ([0.9, 0.8, 0.7], "max", {"keep": 1}, ["1"]),
    ([0.59, 0.57, 0.55], "max", {}, ["1", "2", "3"]),
    ([0.1, 0.2, 0.3], "max", {"keep": 1, "keep_last": 1}, ["3"]),
    ([0.1, 0.2, 0.3, 0.4, 0.5], "min", {"keep_last": 2}, ["4", "5"]),
]


@pytest.mark.parametrize(("values", "mode", "options", "kept"), BEST)
def test_its_own_cases_of_what_is_kept(
    values: list[float], mode: Any, options: dict[str, Any], kept: list[str], tmp_path: Path
) -> None:
    """save_strategy="best", save_total_limit and load_best_model_at_end as its tests have them."""
    train(values, ModelCheckpoint(tmp_path / "{epoch}", monitor="score", mode=mode, **options))

    assert saved(tmp_path) == kept


SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "constant": optimization.get_constant_schedule,
    "constant with warm-up": lambda it: optimization.get_constant_schedule_with_warmup(it, 2),
    "linear": lambda it: optimization.get_linear_schedule_with_warmup(it, 2, 60),
    "cosine": lambda it: optimization.get_cosine_schedule_with_warmup(it, 2, 60),
    "cosine with restarts": lambda it: optimization.get_cosine_with_hard_restarts_schedule_with_warmup(it, 2, 60, 2),
    "cosine with a minimum": lambda it: optimization.get_cosine_with_min_lr_schedule_with_warmup(
        it, 2, 60, min_lr=0.001
    ),
    "polynomial": lambda it: optimization.get_polynomial_decay_schedule_with_warmup(it, 2, 60),
    "inverse square root": lambda it: optimization.get_inverse_sqrt_schedule(it, 2),
    "warm-up, stable, decay": lambda it: optimization.get_wsd_schedule(it, 2, 30, 60),
}
Parts = tuple[Any, Any, Any, Any]
"""A model, its optimizer and scheduler, and a loader of its data."""


def parts(schedule: str) -> Parts:
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    rows = torch.arange(12.0).reshape(6, 2)
    return model, optimizer, SCHEDULES[schedule](optimizer), torch.utils.data.DataLoader(rows, 2, shuffle=True)


def prepared(schedule: str) -> Parts:
    """The same as Accelerate wraps them."""
    accelerate = pytest.importorskip("accelerate", reason="needs accelerate")
    model, optimizer, scheduler, loader = accelerate.Accelerator(cpu=True).prepare(*parts(schedule))
    return model, optimizer, scheduler, loader


def go(made: Parts, callbacks: Any, epochs: int, seen: list[Any] | None = None, **options: Any) -> Run:
    """Train as Transformers does: the schedule steps after each update; the metric never improves."""
    model, optimizer, scheduler, loader = made
    with Run(TorchSubject(model, optimizer, scheduler=scheduler), callbacks, **options) as run:
        for _ in run.epochs(epochs):
            for rows in run.batches(loader):
                if seen is not None:
                    seen.append(rows.tolist())
                model(rows).pow(2).mean().backward()
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            run.log(score=1.0)
    return run


@pytest.mark.parametrize("make", [parts, prepared])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_cut_lasts_under_its_schedules(
    make: Callable[[str], Parts], schedule: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every later rate is the schedule's times the cuts, also behind Accelerate's wrappers, and nothing is reported."""
    cut = go(make(schedule), ReduceLROnPlateau(monitor="score", mode="min", factor=0.5, patience=2), 6)
    whole = go(make(schedule), (), 6)

    factors = [1, 1, 1, 0.5, 0.5, 0.25]
    expected = [rate * factor for rate, factor in zip(whole.history["learning_rate"], factors, strict=True)]
    assert cut.history["learning_rate"] == pytest.approx(expected)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.exhaustive
@pytest.mark.parametrize("make", [parts, prepared])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("step", [2, 3, 7])
def test_a_resumed_run_trains_on_the_same_batches(
    make: Callable[[str], Parts], schedule: str, step: int, tmp_path: Path
) -> None:
    """In the middle of an epoch and at its end, also with a loader of Accelerate, whose state_dict raises."""
    before, after = list[Any](), list[Any]()
    whole, resumed = make(schedule), make(schedule)
    torch.manual_seed(1)
    go(whole, ModelCheckpoint(tmp_path / "{step}", save_freq="1 steps"), 3, before)
    go(resumed, (), 3, after, resume=tmp_path / f"{step}.pt")

    assert after == before[step:]
    assert torch.equal(whole[0].weight, resumed[0].weight)


def adafactor(*, own_rate: bool) -> Parts:
    """Its optimizer that computes its rates, with the schedule that only shows them."""
    model = torch.nn.Linear(2, 1)
    options = {"relative_step": False, "scale_parameter": False, "lr": 0.1} if own_rate else {"warmup_init": True}
    optimizer = optimization.Adafactor(model.parameters(), **options)
    schedule = SCHEDULES["constant"] if own_rate else optimization.AdafactorSchedule
    return model, optimizer, schedule(optimizer), torch.utils.data.DataLoader(torch.ones(4, 2), 2)


def test_adafactor_without_a_rate_of_its_own_trains_but_cannot_be_cut(tmp_path: Path) -> None:
    """ReduceLROnPlateau is refused before the training; all else works, as in its test with ``lr=None``."""
    plateau = ReduceLROnPlateau(monitor="score", mode="min", factor=0.5, patience=1)
    with pytest.raises(MissingCapability, match=r"AdafactorSchedule \('scheduler'\) could undo every change"):
        go(adafactor(own_rate=False), plateau, 1)
    go(adafactor(own_rate=False), ModelCheckpoint(tmp_path / "{epoch}"), 2)
    assert saved(tmp_path) == ["1", "2"]
    assert go(adafactor(own_rate=True), plateau, 4).history["learning_rate"] == pytest.approx([0.1, 0.1, 0.05, 0.025])


def test_a_resumed_adafactor_continues(tmp_path: Path) -> None:
    """Bit for bit."""
    torch.manual_seed(0)
    whole = adafactor(own_rate=False)
    torch.manual_seed(0)
    resumed = adafactor(own_rate=False)
    go(whole, ModelCheckpoint(tmp_path / "{epoch}"), 3)
    go(resumed, (), 3, resume=tmp_path / "1.pt")

    assert torch.equal(whole[0].weight, resumed[0].weight)


def test_its_plateau_is_stored(tmp_path: Path) -> None:
    """``get_reduce_on_plateau_schedule`` continues after a resume."""
    rates = []
    for source in (None, tmp_path / "2.pt"):
        model = torch.nn.Linear(1, 1)
        optimizer = torch.optim.AdamW(model.parameters(), 0.1)
        scheduler = optimization.get_reduce_on_plateau_schedule(optimizer, patience=1)
        with Run(
            TorchSubject(model, optimizer, scheduler=scheduler), ModelCheckpoint(tmp_path / "{epoch}"), resume=source
        ) as run:
            for _ in run.epochs(5):
                model(torch.ones(1, 1)).sum().backward()
                optimizer.step()
                scheduler.step(1.0)
        rates.append(run.history["learning_rate"])

    assert rates[0] == rates[1]
