"""Schedules of Ignite that set the learning rate, wherever they are attached."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("ignite")

import torch
from ignite.engine import Engine, Events
from ignite.handlers import (
    ConcatScheduler,
    CosineAnnealingScheduler,
    LinearCyclicalScheduler,
    LRScheduler,
    ParamGroupScheduler,
    PiecewiseLinear,
    create_lr_scheduler_with_warmup,
)

from trainbus import MissingCapability
from trainbus.adapters.ignite import attach
from trainbus.adapters.ignite.param_schedules import schedule_of
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau


def linear(optimizer: Any, name: str = "lr") -> Any:
    return LinearCyclicalScheduler(optimizer, name, 0.1, 0.01, 4)


SCHEDULES: dict[str, Any] = {
    "CosineAnnealingScheduler": lambda optimizer: CosineAnnealingScheduler(optimizer, "lr", 0.1, 0.01, 4),
    "LinearCyclicalScheduler": linear,
    "PiecewiseLinear": lambda optimizer: PiecewiseLinear(optimizer, "lr", [(0, 0.1), (4, 0.01)]),
    "ConcatScheduler": lambda optimizer: ConcatScheduler([linear(optimizer), linear(optimizer)], [4]),
    "ParamGroupScheduler": lambda optimizer: ParamGroupScheduler([linear(optimizer)], ["lr"]),
    "warmup": lambda optimizer: create_lr_scheduler_with_warmup(linear(optimizer), 0.0, 2),
}


def trainer_with(make: Any, event: Any, rule: Any) -> tuple[Engine, Any]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    trainer = Engine(lambda *_: 1.0)
    bus = attach(trainer, TorchSubject(torch.nn.Linear(1, 1), optimizer), rule, verbose=0)
    schedule = make(optimizer)
    trainer.add_event_handler(event, schedule)
    trainer.schedule = schedule  # type: ignore[attr-defined]
    return trainer, bus


@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, Events.EPOCH_STARTED(every=2)], ids=["all", "some"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_cut_beside_a_schedule_that_sets_the_rate_is_refused(name: str, event: Any) -> None:
    trainer, _ = trainer_with(SCHEDULES[name], event, ReduceLROnPlateau(monitor="loss"))
    with pytest.raises(MissingCapability, match=r"ReduceLROnPlateau needs .* but \w+ sets the"):
        trainer.run([0, 1], max_epochs=2)


def test_what_does_not_change_the_rate_works_beside_it() -> None:
    trainer, bus = trainer_with(linear, Events.ITERATION_STARTED, EarlyStopping(monitor="loss", patience=9))
    trainer.run([0, 1], max_epochs=2)
    assert bus.run.result.epochs == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: linear(optimizer, "momentum"),
        lambda optimizer: LRScheduler(torch.optim.lr_scheduler.StepLR(optimizer, 3)),
        lambda optimizer: lambda engine: None,
    ],
)
def test_other_handlers_are_no_such_schedules(make: Any) -> None:
    trainer, _ = trainer_with(make, Events.ITERATION_STARTED, [])
    assert schedule_of(trainer) is None
