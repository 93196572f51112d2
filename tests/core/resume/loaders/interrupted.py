"""Trainings over the batches of a loader that end in the middle of an epoch and are resumed."""

import random
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ModelCheckpoint

EPOCHS, ROWS = 2, 8
Make = Callable[[], Callable[[], Any]]


def loader(*, own: bool = False) -> Any:
    """A shuffled loader that draws from the global generator, or from its own."""
    rows: Any = range(ROWS)
    return DataLoader(rows, shuffle=True, generator=torch.Generator().manual_seed(7) if own else None)


def train(make: Make, die_at: int | None = None, resume: str | None = None, save_freq: str = "1 step") -> list[Any]:
    """Train as a new process would; return the batches with their epochs."""
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    batches_of_an_epoch, seen = make(), []
    saver = ModelCheckpoint("run/m-{step}", save_freq=save_freq, keep_last=1, background=False)
    with Run(TorchSubject(torch.nn.Linear(1, 1)), saver, verbose=0, resume=resume) as run:
        for epoch in run.epochs(EPOCHS):
            for batch in run.batches(batches_of_an_epoch()):
                if len(seen) == die_at:
                    raise SystemExit
                seen.append((epoch, str(batch)))
    return seen


def resumed(make: Make, die_at: int, save_freq: str = "1 step") -> tuple[list[Any], list[Any]]:
    """The batches of an unbroken run, and those of one that was killed and resumed."""
    unbroken = train(make, save_freq=save_freq)
    shutil.rmtree("run")
    with pytest.raises(SystemExit):
        train(make, die_at, save_freq=save_freq)
    return unbroken, train(make, resume="auto", save_freq=save_freq)
