"""Small trainings whose metric has given values, for tests that compare the callbacks with those of other libraries."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping

GRID = (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0)
"""Values of which neighbours often differ by just ``min_delta``."""


def train(values: Sequence[float], callbacks: Any, batches: int = 1, **options: Any) -> Run:
    """Return a run over a linear model that logs one of the values as ``score`` at the end of each epoch."""
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Run(TorchSubject(model, optimizer), callbacks, **options) as run:
        for epoch in run.epochs(len(values)):
            for _ in run.batches(range(batches)):
                optimizer.zero_grad()
                model(torch.ones(1, 1)).sum().backward()
                optimizer.step()
            run.log(score=values[epoch])
    return run


EPOCHS, BATCHES = 4, 4


def validated(values: Sequence[float], callbacks: Any, steps: Collection[int], **options: Any) -> Run:
    """Return a run of ``EPOCHS`` epochs of ``BATCHES`` that logs the next value in a validation after each step.

    Each weight update lowers the weight by its learning rate of 1.
    """
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    optimizer, given = torch.optim.SGD(model.parameters(), 1.0), dict(zip(sorted(steps), values, strict=False))
    epochs = sorted({(step - 1) // BATCHES + 1 for step in steps})
    with Run(TorchSubject(model, optimizer), callbacks, **options) as run:
        for _ in run.epochs(EPOCHS, validation_freq=epochs):
            for _ in run.batches(range(BATCHES)):
                optimizer.zero_grad()
                model(torch.ones(1, 1)).sum().backward()
                optimizer.step()
                if run.step + 1 in given:  # the batch is counted when its validation begins
                    with run.validation():
                        run.log(val_score=given[run.step])
    return run


def stopped_after(values: Sequence[float], **options: Any) -> int:
    """Return the number of epochs that a run with EarlyStopping trains."""
    with Run(callbacks=EarlyStopping(monitor="score", **options)) as run:
        for epoch in run.epochs(len(values)):
            run.log(score=values[epoch])
    return run.result.epochs


def saved(folder: Path, suffix: str = ".pt") -> list[str]:
    """Return the stems of the checkpoints in a directory."""
    return sorted(path.stem for path in folder.iterdir() if path.suffix == suffix and not path.name.startswith("."))


def histories(count: int, longest: int = 9, *, distinct: bool = False) -> Iterator[list[float]]:
    """Yield histories of a metric, the same in each process; with ``distinct``, no two values of one are equal."""
    source = random.Random(count)
    for _ in range(count):
        length = source.randint(1, longest)
        yield [source.choice(GRID) + (epoch * 2**-10 if distinct else 0) for epoch in range(length)]
