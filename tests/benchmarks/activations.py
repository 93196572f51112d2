"""The cost of inspecting a model: ``python -m tests.benchmarks.activations [rounds]``.

A histogram of every weight, and of every layer's outputs for 1,797 digits, 32 at a time. With trainbus, the training
waits until the last outputs are queued. The other ways are written by hand with forward hooks and a SummaryWriter, and
keep all outputs until they count them at the end. Each round runs the ways in a new random order, each with a file
that is closed at the end. Processor time is that of all threads. The forward pass alone, in one thread, is the cost
that every way has.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn

from trainbus.adapters.torch import TorchSubject

from .measuring import Spread, median, table, versions

SLICE = 32


def main(rounds: int = 11) -> None:
    """Measure, and print the table."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # several threads wait for each other if other processes use the machine
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 10)),
    )
    images = torch.from_numpy(load_digits().images).float().unsqueeze(1)
    folder, numbers = Path(tempfile.mkdtemp()), count()
    ways: dict[str, Callable[[Path], Callable[[], object]]] = {
        "the pass alone": partial(alone, model, images),
        "trainbus": partial(own, model, images),
        "hooks and tensorboardX": partial(hooked, "tensorboardX", model, images),
        "hooks and torch's SummaryWriter": partial(hooked, "torch.utils.tensorboard", model, images),
    }
    taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in ways}
    try:
        for _ in range(rounds):
            for name in random.sample(list(ways), len(ways)):
                began, busy = perf_counter_ns(), process_time_ns()
                close = ways[name](folder / str(next(numbers)))
                queued = perf_counter_ns()
                close()
                ended = perf_counter_ns()
                taken[name].append((queued - began, ended - began, process_time_ns() - busy))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{versions('tensorboardX', 'torch', 'tensorboard')}; {rounds} rounds; milliseconds\n")
    rows = [
        [name, *(Spread(median(each) / 1e6, min(each) / 1e6) for each in zip(*values, strict=True))]
        for name, values in taken.items()
    ]
    print(table(["", "training", "until closed", "processor"], rows))


def alone(model: nn.Module, images: torch.Tensor, _: Path) -> Callable[[], object]:
    """Inspect nothing."""
    with torch.no_grad():
        for part in images.split(SLICE):
            model(part)
    return lambda: None


def own(model: nn.Module, images: torch.Tensor, folder: Path) -> Callable[[], object]:
    """Inspect as the callback does at the end of an epoch."""
    from trainbus.plugins.tensorboard.model_inspection import ModelInspector
    from trainbus.plugins.tensorboard.writer.event_writer import EventWriter

    writer = EventWriter(folder, "benchmark", print)
    subject, put = TorchSubject(model, probe=images), partial(writer.put, ".")
    ModelInspector(subject, put, print, every=1, batch_size=SLICE, gradients=False, images=False).end_epoch(0, 0)
    return writer.close


def hooked(package: str, model: nn.Module, images: torch.Tensor, folder: Path) -> Callable[[], object]:
    """Inspect as users write it by hand."""
    from importlib import import_module

    writer: Any = import_module(package).SummaryWriter(str(folder))
    found: dict[str, list[torch.Tensor]] = {}

    def keep(name: str, _: object, __: object, output: torch.Tensor) -> None:
        found.setdefault(name, []).append(output.detach().clone())

    handles = [module.register_forward_hook(partial(keep, name)) for name, module in model.named_children()]
    alone(model, images, folder)
    for handle in handles:
        handle.remove()
    for name, weight in model.named_parameters():
        writer.add_histogram(name, weight, 0)
    for name, outputs in found.items():
        writer.add_histogram(f"{name}/activation", torch.cat(outputs), 0)
    return writer.close


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
