"""Trainers that accumulate gradients over some batches: their weight updates, and resumes within an accumulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ignite")

import torch
from ignite.engine import Engine, Events, create_supervised_trainer
from ignite.handlers import Checkpoint, DiskSaver

from trainbus import Run, SettingsError
from trainbus.adapters.ignite import attach
from trainbus.adapters.ignite.accumulation import accumulated_batches
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint

BATCHES = 6
LINE = "batches of an accumulated update, and their gradients are lost"


def supervised(steps: int, **options: Any) -> tuple[Engine, Any, Any]:
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = torch.nn.functional.mse_loss
    made = create_supervised_trainer(model, optimizer, loss, gradient_accumulation_steps=steps, **options)
    return made, model, optimizer


def batches() -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(2, 2, generator=generator), torch.ones(2, 1)) for _ in range(BATCHES)]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_trainer_of_ignite_tells_the_number(steps: int) -> None:
    trainer, model, optimizer = supervised(steps)
    updates: list[int] = []
    optimizer.register_step_post_hook(lambda *_: updates.append(1))
    bus = attach(trainer, TorchSubject(model, optimizer), [], verbose=0)
    trainer.run(batches(), max_epochs=2)
    assert bus.run.step == len(updates) == 2 * BATCHES // steps


def test_a_trainer_of_the_user_has_the_number_that_is_given() -> None:
    trainer = Engine(lambda *_: 0.0)
    assert accumulated_batches(trainer, None) == 1
    assert accumulated_batches(trainer, 3) == 3


def test_another_number_than_that_of_the_trainer_is_refused() -> None:
    trainer, *_ = supervised(2)
    assert accumulated_batches(trainer, 2) == 2
    with pytest.raises(SettingsError, match="made with gradient_accumulation_steps=2; leave accumulate out"):
        attach(trainer, None, [], accumulate=3)


@pytest.mark.parametrize("given", [0, -1, True, 1.5, "2"])
def test_what_is_no_number_of_batches_is_refused(given: Any) -> None:
    with pytest.raises(SettingsError, match="give how many batches make one update"):
        attach(Engine(lambda *_: 0.0), None, [], accumulate=given)


def resumed(way: str, after: int) -> tuple[Run, Any]:
    """Return an interrupted and resumed training, and its model."""
    for resume in (False, True):
        trainer, model, optimizer = supervised(2)
        listed = [ModelCheckpoint("m", save_freq=1)] if way == "auto" else []
        bus = attach(
            trainer,
            TorchSubject(model, optimizer),
            listed,
            verbose=0,
            resume="auto" if resume and way == "auto" else None,
        )
        parts = {"trainer": trainer, "model": model, "optimizer": optimizer, "trainbus": bus}
        if way == "own" and not resume:
            saver = Checkpoint(parts, DiskSaver("own", require_empty=False), filename_pattern="own.pt")
            trainer.add_event_handler(Events.ITERATION_COMPLETED(once=after), saver)
        if way == "own" and resume:
            Checkpoint.load_objects(parts, Path("own/own.pt"))
        if not resume:

            def fail(*_: Any) -> None:
                raise RuntimeError("no power")

            trainer.add_event_handler(Events.ITERATION_STARTED(once=after + 1), fail)
            with pytest.raises(RuntimeError):
                trainer.run(batches(), max_epochs=2)
        else:
            trainer.run(batches(), max_epochs=2)
    return bus.run, model


@pytest.mark.parametrize("way", ["auto", "own"])
@pytest.mark.parametrize("after", [2, 3])
def test_a_resume_within_an_accumulation_is_said_to_be_inexact(
    way: str, after: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One between two updates is exact."""
    monkeypatch.chdir(tmp_path)
    trainer, unbroken, optimizer = supervised(2)
    attach(trainer, TorchSubject(unbroken, optimizer), [], verbose=0)
    trainer.run(batches(), max_epochs=2)

    run, model = resumed(way, after)
    assert (LINE in caplog.text) == bool(after % 2)
    assert run.step == BATCHES
    assert after % 2 or torch.equal(model.weight, unbroken.weight)
