"""Subjects of several models for the tests of ``{part}``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.capabilities import PartWriters
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject

X, Y = np.array([0.0, 1.0]), np.array([1.0, 3.0])


class TwoModels(LineSubject):
    """A line whose slope and offset are two models: each has a file with its number."""

    names: Sequence[str] = ("slope", "offset")

    def part_names(self) -> Sequence[str]:
        return self.names

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        return self.part_writers(weights_only=weights_only, background=True).whole

    def part_writers(self, *, weights_only: bool, background: bool) -> PartWriters:
        whole = LineSubject(self.learning_rate)
        whole.restore(self.snapshot())
        values = dict.fromkeys(self.names, whole.offset) | {self.names[0]: whole.slope}
        parts: dict[str, Callable[[Path], object]] = {
            name: self.content_writer({"value": value}) for name, value in values.items()
        }
        return PartWriters(partial(whole.save, weights_only=weights_only), parts)


def trained(epochs: int, *callbacks: Any, resume: Any = None, subject: TwoModels | None = None, **options: Any) -> Run:
    """Train a line of two models, with a ``ModelCheckpoint`` that writes a file of each."""
    line = TwoModels() if subject is None else subject
    saver = ModelCheckpoint(options.pop("filepath", "run/{part}-{epoch}"), **options)
    with Run(line, [saver, *callbacks], resume=resume) as run:
        for _ in run.epochs(epochs):
            run.log(loss=line.train(X, Y))
    return run


def numbers(directory: str = "run") -> dict[str, float]:
    """Return the number in each file of a model in a directory, by the name of the file."""
    found: dict[str, float] = {}
    for path in sorted(Path(directory).glob("*.npz")):
        if not path.name.startswith("."):
            with np.load(path) as arrays:
                found[path.name] = float(arrays["value"])
    return found


def gan(epochs: int, *callbacks: Any, resume: Any = None, **options: Any) -> tuple[dict[str, nn.Module], Run]:
    """Train two networks of PyTorch, with a ``ModelCheckpoint`` that writes a file of each."""
    torch.manual_seed(0)
    nets: dict[str, nn.Module] = {
        "netG": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)),
        "netD": nn.Linear(2, 1),
    }
    optimizers = {name: torch.optim.Adam(net.parameters()) for name, net in nets.items()}
    saver = ModelCheckpoint(options.pop("filepath", "run/{part}-{epoch}.pt"), **options)
    with Run(TorchSubject(nets, optimizers), [saver, *callbacks], resume=resume, verbose=0) as run:
        for _ in run.epochs(epochs):
            loss = nets["netD"](nets["netG"](torch.randn(4, 2))).square().mean()
            loss.backward()  # type: ignore[no-untyped-call]
            for each in optimizers.values():
                each.step()
                each.zero_grad()
            run.log(loss=loss.item())
    return nets, run
