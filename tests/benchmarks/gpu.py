"""What monitoring costs on a GPU: ``python -m tests.benchmarks.gpu``, which takes at most five minutes.

Tables: the time of a batch with mixed precision, without and with callbacks; how often the host waits for the device in
a batch and in an epoch, counted by PyTorch's profiler; how long the training waits for a save of 1 GB; what the
histograms of an epoch cost; and a batch inside of a process group of one rank with NCCL. ``--device cpu`` rehearses it
on a machine without a GPU, with a small model.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import checkpoint
from torch.profiler import ProfilerActivity, profile

from trainbus import Run, decision
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard, TerminateOnNaN

from .measuring import Timed, interleaved, table, versions

WAITS = {
    "cuda": ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy"),
    "cpu": ("aten::_local_scalar_dense",),
}
"""What the profiler names where the host waits for the device; in a rehearsal, where it reads a number of a tensor."""


class Training:
    """A stack of linear layers, trained with mixed precision on data that is on the device.

    The precision is bfloat16: a scaler of gradients, which float16 needs, lets the host wait in each batch.

    Args:
        device: "cuda" or "cpu".
        width: Numbers in a layer.
        layers: Linear layers.
        batch: Samples in a batch.
    """

    def __init__(self, device: str, width: int, layers: int, batch: int) -> None:
        torch.manual_seed(0)
        self.device = device
        self.model = nn.Sequential(*(each for _ in range(layers) for each in (nn.Linear(width, width), nn.ReLU())))
        self.model.to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.x = torch.randn(batch, width, device=device)
        self.subject = TorchSubject(self.model, self.optimizer)

    def step(self) -> Tensor:
        """Train on one batch; the loss stays on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device, torch.bfloat16):
            loss = self.model(self.x).square().mean()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def wait(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def plain(self, batches: int) -> None:
        """Train without a run."""
        total = torch.zeros((), device=self.device)
        for _ in range(batches):
            total += self.step()
        self.wait()

    def watched(self, batches: int, callbacks: list[Any]) -> None:
        """Train one epoch in a run."""
        with Run(self.subject, callbacks, verbose=0) as run:
            for _ in run.epochs(1):
                for _ in run.batches(range(batches)):
                    run.log(loss=self.step())
                run.log(val_loss=1.0)
        self.wait()


def deciding(folder: Path) -> list[Any]:
    """Return the callbacks that decide."""
    return [
        EarlyStopping(patience=3),
        ReduceLROnPlateau(patience=2),
        ModelCheckpoint(str(folder / "best"), save_best_only=True, save_weights_only=True),
    ]


def cost(training: Training, folder: Path, batches: int, rounds: int) -> None:
    """Print the time of a batch."""
    ways: dict[str, Callable[[], object]] = {
        "no run": lambda: training.plain(batches),
        "a run without callbacks": lambda: training.watched(batches, []),
        "the deciding callbacks": lambda: training.watched(batches, deciding(folder)),
        "TensorBoard": lambda: training.watched(batches, [TensorBoard(str(folder / "logs"), write_graph=False)]),
        "TerminateOnNaN at every batch": lambda: training.watched(batches, [TerminateOnNaN()]),
    }
    for way in ways.values():
        way()
    taken = interleaved({name: Timed(way, batches) for name, way in ways.items()}, rounds)
    base = taken["no run"].median
    rows = [[name, f"{each.median / 1e3:,.1f}", f"{each.median / base:.3f}"] for name, each in taken.items()]
    print(table(["a batch", "microseconds", "times"], rows), flush=True)


def waits_of(device: str, train: Callable[[int], object], batches: int) -> int:
    """Return how often the host waits for the device in an epoch of so many batches."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities) as profiler:
        train(batches)
    return sum(event.count for event in profiler.key_averages() if event.key in WAITS[device])


def waits(training: Training, folder: Path) -> None:
    """Print how often the host waits: the difference between two lengths of an epoch is what batches wait."""
    board = {"write_graph": False, "write_images": False}
    ways: dict[str, Callable[[int], object]] = {
        "no run": training.plain,
        "a run without callbacks": lambda batches: training.watched(batches, []),
        "the deciding callbacks": lambda batches: training.watched(batches, deciding(folder)),
        "TensorBoard": lambda batches: training.watched(batches, [TensorBoard(str(folder / "waits"), **board)]),
    }
    rows: list[list[object]] = []
    for name, train in ways.items():
        train(4)
        few, many = (waits_of(training.device, train, batches) for batches in (10, 60))
        rows.append([name, f"{(many - few) / 50:.2f}", f"{few - (many - few) / 5:.0f}"])
    print(table(["the host waits for the device", "times a batch", "times an epoch, and at its end"], rows), flush=True)


def ways_to_save(
    run: Run, model: nn.Module, folder: Path
) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Return how to begin each save, and how to wait until its file is complete."""
    begun: list[Any] = []

    def background() -> None:
        run.decide(decision.save(str(folder / "background.pt"), background=True))

    def asynchronous() -> None:
        begun.append(checkpoint.async_save(model.state_dict(), checkpoint_id=folder / "async"))

    return {
        "trainbus in the background": (background, run._life.executor.writer.wait),
        "torch.save": (lambda: torch.save(model.state_dict(), folder / "torch.pt"), lambda: None),
        "torch.distributed.checkpoint.async_save": (asynchronous, lambda: begun.pop().result()),
    }


def saves(device: str, folder: Path, megabytes: int, rounds: int) -> None:
    """Print how long the training waits for a save."""
    width = 2048
    layers = max(round(megabytes * 1e6 / (4 * width * (width + 1))), 1)
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers))).to(device)
    size = sum(each.nbytes for each in model.parameters())
    with Run(TorchSubject(model), verbose=0, signals=()) as run:
        for _ in run.epochs(1):
            ways = ways_to_save(run, model, folder)
            taken: dict[str, list[float]] = {name: [] for name in ways}
            with group("gloo"):
                for number in range(rounds + 1):
                    for name, (save, finish) in ways.items():
                        os.sync()
                        start = perf_counter()
                        save()
                        if number:  # the first one allocates the buffers
                            taken[name].append((perf_counter() - start) * 1e3)
                        finish()
    rows = [[name, f"{sorted(each)[len(each) // 2]:,.1f}"] for name, each in taken.items()]
    print(table([f"the training waits for a save of {size / 1e6:,.0f} MB", "milliseconds"], rows), flush=True)


def histograms(training: Training, folder: Path, rounds: int) -> None:
    """Print what the histograms of all weights cost in an epoch of ten batches."""
    ways = {
        "without histograms": lambda: training.watched(10, [TensorBoard(str(folder / "a"), write_images=False)]),
        "histogram_freq=1": lambda: training.watched(
            10, [TensorBoard(str(folder / "b"), histogram_freq=1, write_images=False)]
        ),
    }
    for way in ways.values():
        way()
    taken = interleaved({name: Timed(way, 1) for name, way in ways.items()}, rounds)
    weights = sum(each.numel() for each in training.model.parameters())
    rows = [[name, f"{each.median / 1e6:,.1f}"] for name, each in taken.items()]
    print(table([f"an epoch of 10 batches, {weights / 1e6:,.1f} million weights", "milliseconds"], rows), flush=True)


@contextmanager
def group(backend: str) -> Iterator[None]:
    """A process group of this process alone."""
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def one_rank(training: Training, folder: Path, batches: int, rounds: int) -> None:
    """Print the time of a batch inside of a process group of one rank."""
    with group("nccl" if training.device == "cuda" else "gloo"):
        probe = torch.ones(1, device=training.device)
        dist.all_reduce(probe)  # the backend works
        ways = {
            "no run": lambda: training.plain(batches),
            "the deciding callbacks": lambda: training.watched(batches, deciding(folder)),
        }
        taken = interleaved({name: Timed(way, batches) for name, way in ways.items()}, rounds)
        rows = [[name, f"{each.median / 1e3:,.1f}"] for name, each in taken.items()]
        print(table([f"a batch in a group of one rank, {dist.get_backend()}", "microseconds"], rows), flush=True)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu", description=__doc__.partition(":")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    device = parser.parse_args().device
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --device cpu rehearses the script")
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    small = device == "cpu"
    name = "CPU, a rehearsal" if small else torch.cuda.get_device_name()
    print(f"{versions('torch')}; {name}\n", flush=True)
    training = Training(device, *((64, 4, 16) if small else (1024, 24, 256)))
    rounds = 3 if small else 9
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for measure in (
            lambda: cost(training, folder, 20 if small else 100, rounds),
            lambda: waits(training, folder),
            lambda: saves(device, folder, 20 if small else 1000, rounds),
            lambda: histograms(training, folder, rounds),
            lambda: one_rank(training, folder, 20 if small else 100, rounds),
        ):
            measure()
            print()


if __name__ == "__main__":
    main()
