"""Which validations of an epoch a journal records: those that the metrics of the epoch do not show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.core.distributed.threads import ThreadRanks, on_all
from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, Journal
from trainbus.plugins.journal.epoch_validations import EpochValidations
from trainbus.replay import read, replay
from trainbus.testing import LineSubject

from .runs import read_one

STEPWISE = EarlyStopping(every="validation", patience=9)


def recorded(*validations: dict[int, list[float | None]]) -> list[list[tuple[int, dict[str, Any]]]]:
    """Return the recorded validations of epochs of 3 batches that validate in these batches; 3 is after them."""
    with Run(LineSubject(0.5), Journal("a.jsonl"), verbose=0) as run:
        for epoch in run.epochs(len(validations), validation_freq=[n for n, each in enumerate(validations, 1) if each]):
            for batch in range(4):
                for _ in run.batches([batch]) if batch < 3 else ():
                    pass
                for value in validations[epoch].get(batch, []):
                    with run.validation():
                        run.log(loss=value)
    found = [epoch.validations or () for epoch in read_one(Path("a.jsonl")).epochs]
    return [[(each.step, dict(each.metrics)) for each in epoch] for epoch in found]


def of(*values: tuple[int, float | None]) -> list[tuple[int, dict[str, Any]]]:
    rate = {"learning_rate": 0.5}
    return [(step, rate if value is None else {"val_loss": value, **rate}) for step, value in values]


@pytest.mark.parametrize(
    ("validations", "expected"),
    [
        ({3: [1.0]}, of()),
        ({2: [1.0]}, of()),
        ({}, of()),
        ({1: [1.0]}, of((2, 1.0))),
        ({3: [1.0, 2.0]}, of((3, 1.0), (3, 2.0))),
        ({0: [1.0], 3: [2.0]}, of((1, 1.0), (3, 2.0))),
        ({3: [None]}, of((3, None))),
        ({0: [1.0], 1: [None], 2: [float("inf")]}, of((1, 1.0), (2, None), (3, float("inf")))),
    ],
)
def test_what_an_epoch_does_not_show_is_recorded(validations: Any, expected: Any) -> None:
    """Several, one before the last weight update, and one without a value; each with its rates."""
    assert recorded(validations, {3: [1.0]}) == [expected, []]


@pytest.mark.parametrize("callbacks", [[], [STEPWISE]])
def test_validations_of_one_rank_alone_are_not_recorded(callbacks: list[Any]) -> None:
    """Where no plugin decides, the ranks do not share them; replay then says that it may lack some."""

    class TrainedByThreads(LineSubject):
        def __init__(self, ranks: ThreadRanks) -> None:
            super().__init__()
            self._ranks = ranks

        def ranks(self) -> ThreadRanks:
            return self._ranks

    def play(ranks: ThreadRanks) -> None:
        with Run(TrainedByThreads(ranks), [*callbacks, Journal("a.jsonl")], verbose=0) as run:
            for _ in run.epochs(2):
                for value in (1.0, 2.0):
                    with run.validation():
                        run.log(loss=value + ranks.rank)

    on_all(2, play)
    found = [epoch.validations for epoch in read_one(Path("a.jsonl")).epochs]
    result = replay([read(Path("a.jsonl"))], STEPWISE)
    if not callbacks:
        assert found == [None, None]
        assert result.notes == ("EarlyStopping: every='validation' counts each recorded value as one validation.",)
    else:
        assert [[each.metrics["val_loss"] for each in epoch or ()] for epoch in found] == [[1.5, 2.5]] * 2
        assert result.notes == ()


@pytest.mark.parametrize("rate", [0.5, torch.tensor(0.5)])
def test_the_rates_of_a_validation_are_recorded_unless_they_are_tensors(rate: Any) -> None:
    """Reading a tensor may wait for its device."""
    model = torch.nn.Linear(1, 1)
    validations = EpochValidations()
    with Run(TorchSubject(model, torch.optim.SGD(model.parameters(), lr=rate)), verbose=0) as run:
        for _ in run.epochs(1):
            validations.add(run, {"val_loss": 1.0})
    assert validations.records[0].metrics == {
        "val_loss": 1.0,
        **({"learning_rate": 0.5} if isinstance(rate, float) else {}),
    }
