"""The cost of deciding as one group of processes: an epoch's boundary and a batch, compared with bare collectives.

``python -m tests.benchmarks.ranks`` prints the table. All ranks share this machine; only the exchange is measured.
"""

from __future__ import annotations

import json
import os
import tempfile
import traceback
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist

from trainbus import Run, hookimpl
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping

from .measuring import table, versions

SIZES = (1, 2, 4)
ROUNDS, EPOCHS, BATCHES = 7, 40, 400
BARE, EPOCH = "all_reduce of 256 doubles, broadcast of 1 kB", "end of an epoch, `EarlyStopping` listens"
UNHEARD, OBSERVED = "batch, nobody listens", "batch, an observer listens"
DECIDED = "batch, a plugin that decides listens"


def listener(*, critical: bool) -> Any:
    """A plugin that listens to batches, and may decide or only observes."""
    return SimpleNamespace(on_batch_end=hookimpl(lambda: None), critical=critical)


def epochs() -> float:
    """Return the nanoseconds of an epoch's boundary."""
    model = torch.nn.Linear(1, 1)
    subject = TorchSubject(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with Run(subject, EarlyStopping(monitor="loss", patience=10**6), verbose=0) as run:
        for epoch in run.epochs(EPOCHS + 1):
            run.log(loss=1.0)
            if epoch == 0:  # the first epoch has formed the group
                began = perf_counter_ns()
        return (perf_counter_ns() - began) / EPOCHS


def batches(plugins: list[Any], number: int) -> float:
    """Return the nanoseconds of a batch, and those of an empty loop."""
    with Run(TorchSubject(torch.nn.Linear(1, 1)), plugins, verbose=0) as run:
        for _ in run.epochs(1):
            loop: Iterator[int] = iter(run.batches(range(number + 1)))
            next(loop)
            began = perf_counter_ns()
            for _ in loop:
                pass
            taken = perf_counter_ns() - began
            began = perf_counter_ns()
            for _ in islice(range(number + 1), number):
                pass
            return (taken - (perf_counter_ns() - began)) / number
    raise AssertionError


def bare() -> float:
    """Exchange the same messages by hand."""
    numbers, words = torch.zeros(256, dtype=torch.float64), torch.zeros(1024, dtype=torch.uint8)
    if dist.is_initialized():
        dist.barrier()
    began = perf_counter_ns()
    for _ in range(EPOCHS):
        if dist.is_initialized():
            dist.all_reduce(numbers)
            dist.broadcast(words, 0)
    return (perf_counter_ns() - began) / EPOCHS


WORK = {
    BARE: bare,
    EPOCH: epochs,
    UNHEARD: lambda: batches([], 20 * BATCHES),
    OBSERVED: lambda: batches([listener(critical=False)], 20 * BATCHES),
    DECIDED: lambda: batches([listener(critical=True)], BATCHES),
}


def rank_of(rank: int, size: int, folder: str) -> int:
    """Run as one rank, and write its measurements."""
    status = 1
    try:
        if size > 1:
            dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
        found = {name: [work() for _ in range(ROUNDS)] for name, work in WORK.items()}
        if rank == 0:
            Path(folder, "found").write_text(json.dumps(found))
        status = 0
    except BaseException:  # noqa: BLE001 - nothing else would report it
        traceback.print_exc()
    finally:
        os._exit(status)


def measured(size: int) -> dict[str, list[float]]:
    """Return the measurements of rank 0 of this many."""
    with tempfile.TemporaryDirectory() as folder:
        children = [os.fork() or rank_of(rank, size, folder) for rank in range(size)]
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        return json.loads(Path(folder, "found").read_text())


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    found = {size: measured(size) for size in SIZES}
    rows = [
        (name, *(f"{median(found[size][name]) / 1e3:,.2f} ({min(found[size][name]) / 1e3:,.2f})" for size in SIZES))
        for name in WORK
    ]
    print(versions("torch"))
    print(table(("us", *(f"{size} rank{'s' * (size > 1)}" for size in SIZES)), rows))


if __name__ == "__main__":
    main()
