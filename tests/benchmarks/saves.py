"""How long a training waits for a checkpoint: ``python -m tests.benchmarks.saves [megabytes] [rounds] [--only ways]``.

Each way saves the same float32 weights in every round, in a new random order. "Blocked" is the time until the call
returns, "complete" the time until the file is complete. The page cache is flushed before each save. Further tables have
the memory that a save needs besides the state, and how long the writing thread blocks a thread of pure Python.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from trainbus import Run, decision
from trainbus.adapters.torch import TorchSubject

from .measuring import table, versions

WIDTH = 1024


class Way(NamedTuple):
    """One way to save."""

    save: Callable[[], object]
    finish: Callable[[], object] = lambda: None
    """Wait until the file that ``save`` began is complete."""
    busy: Callable[[], bool] = lambda: False
    """Whether the file is still being written."""


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.saves", description=__doc__.partition(":")[0])
    parser.add_argument("megabytes", type=int, nargs="?", default=100)
    parser.add_argument("rounds", type=int, nargs="?", default=15)
    parser.add_argument(
        "--only", default="", help="measure only the waiting, of ways with one of these in their names: memcpy,async"
    )
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the files are removed
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), asked.megabytes, asked.rounds, [each for each in asked.only.lower().split(",") if each])


def measure(folder: Path, megabytes: int, rounds: int, only: list[str]) -> None:
    """Measure, and print the tables; with ``only``, the first of them, and of the ways that have such names."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    layers = max(round(megabytes * 1e6 / (4 * WIDTH * (WIDTH + 1))), 1)
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(layers)))
    size = sum(each.nbytes for each in model.parameters())
    print(
        f"{versions('torch', 'safetensors', 'lightning', 'pytorch-ignite', 'keras')}; {size / 1e6:.0f} MB in", end=" "
    )
    print(f"{2 * layers} tensors; {rounds} rounds\n")
    # no signals: the complete benchmark runs between two batches, where a run handles them
    with Run(TorchSubject(model), verbose=0, signals=()) as run:
        for _ in run.epochs(1):
            first = memory_of(Way(lambda: background(run, folder), lambda: finish(run)))
            ways = {**own(run, folder), **others(model, folder, layers)}
            if only:
                chosen = {n: w for n, w in ways.items() if n == BACKGROUND or any(each in n.lower() for each in only)}
                print_times(measured(chosen, rounds))
                break
            print_times(measured(ways, rounds))
            print("\nMemory beside the state, in its size:\n")
            rows = [["trainbus in the background, the first time", f"{first / size:.2f}"]]
            rows += [[name, f"{memory_of(way) / size:.2f}"] for name, way in ways.items() if name != MEMCPY]
            print(table(["", "times"], rows))
            print("\nA thread of pure Python beside the thread that writes:\n")
            threads = {
                BACKGROUND: Way(lambda: background(run, folder), lambda: finish(run), lambda: going(run)),
                "torch.save in a thread": in_thread(lambda: torch.save(model.state_dict(), folder / "thread.pt")),
            }
            print(
                table(
                    ["", "kept waiting", "of the time", "longest"], [[n, *kept_waiting(w)] for n, w in threads.items()]
                )
            )


MEMCPY = "one memcpy of the same bytes"
BACKGROUND = "trainbus in the background"


def background(run: Run, folder: Path) -> None:
    run.decide(decision.save(str(folder / "background.pt"), background=True))


def finish(run: Run) -> None:
    run._life.executor.writer.wait()


def going(run: Run) -> bool:
    return not run._life.executor.writer._writer._job.done.is_set()  # type: ignore[union-attr]


def own(run: Run, folder: Path) -> dict[str, Way]:
    """Return the ways of trainbus, and the least that any copying could cost."""
    assert isinstance(run.subject, TorchSubject)
    # of memory that PyTorch has found, as the weights are: NumPy would ask for huge pages
    source = torch.ones(sum(each.numel() for each in run.subject.model.parameters())).numpy()
    target = np.zeros_like(source)
    return {
        MEMCPY: Way(lambda: np.copyto(target, source)),
        BACKGROUND: Way(lambda: background(run, folder), lambda: finish(run)),
        "trainbus, waiting": Way(lambda: run.decide(decision.save(str(folder / "waiting.pt")))),
    }


def others(model: nn.Module, folder: Path, layers: int) -> dict[str, Way]:
    """Return the ways of other libraries that are installed."""
    ways = {"torch.save": Way(lambda: torch.save(model.state_dict(), folder / "torch.pt"))}

    def synced(path: Path) -> None:
        with path.open("rb") as file:
            os.fsync(file.fileno())

    def torch_synced() -> None:
        torch.save(model.state_dict(), folder / "synced.pt")
        synced(folder / "synced.pt")

    ways["torch.save + fsync"] = Way(torch_synced)
    from safetensors.torch import save_file

    ways["safetensors"] = Way(lambda: save_file(model.state_dict(), folder / "weights.safetensors"))
    for add in (lightning, ignite, keras, distributed):
        try:
            ways |= add(model, folder, layers)
        except ImportError as error:
            print(f"left out: {error}")
    return ways


def lightning(model: nn.Module, folder: Path, layers: int) -> dict[str, Way]:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder
    )
    trainer.strategy.connect(Module())
    path = folder / "lightning.ckpt"
    return {"Lightning, save_checkpoint": Way(lambda: trainer.save_checkpoint(path, weights_only=True))}


def ignite(model: nn.Module, folder: Path, layers: int) -> dict[str, Way]:
    from ignite.handlers import DiskSaver

    saver = DiskSaver(folder / "ignite", create_dir=True, require_empty=False)
    return {"Ignite, DiskSaver": Way(lambda: saver(model.state_dict(), "ignite.pt"))}


def keras(model: nn.Module, folder: Path, layers: int) -> dict[str, Way]:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    from trainbus.adapters.keras import KerasSubject

    twin = keras.Sequential([keras.Input((WIDTH,)), *(keras.layers.Dense(WIDTH) for _ in range(layers))])
    run = Run(KerasSubject(twin), verbose=0, signals=())
    run.begin()
    run.begin_epoch(0)

    def save(name: str, *, weights_only: bool) -> Way:
        what = decision.save(str(folder / name), weights_only=weights_only, background=True)
        return Way(lambda: run.decide(what), lambda: finish(run))

    return {
        "trainbus in the background, Keras weights": save("background.weights.h5", weights_only=True),
        "trainbus in the background, .keras": save("background.keras", weights_only=False),
        "Keras, save_weights": Way(lambda: twin.save_weights(folder / "keras.weights.h5", overwrite=True)),
        "Keras, .keras": Way(lambda: twin.save(folder / "keras.keras", overwrite=True)),
    }


def distributed(model: nn.Module, folder: Path, layers: int) -> dict[str, Way]:
    import torch.distributed as dist
    from torch.distributed import checkpoint

    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    begun: list[Any] = []

    def save() -> None:
        begun.append(checkpoint.async_save(model.state_dict(), checkpoint_id=folder / "distributed"))

    return {"torch async_save": Way(save, lambda: begun.pop().result())}


def measured(ways: dict[str, Way], rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Return the milliseconds blocked, and until complete, of each way."""
    taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ways}
    for way in ways.values():  # warm: files are there, buffers are made
        way.save()
        way.finish()
    order = list(ways)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            os.sync()
            gc.collect(0)
            start = perf_counter()
            ways[name].save()
            blocked = perf_counter()
            ways[name].finish()
            taken[name][0].append((blocked - start) * 1e3)
            taken[name][1].append((perf_counter() - start) * 1e3)
    return taken


def print_times(taken: dict[str, tuple[list[float], list[float]]]) -> None:
    """Print one row for each way, with the time it blocks as a multiple of that of trainbus in the background."""
    base = median(taken[BACKGROUND][0])
    rows = [
        [
            name,
            spread(blocked),
            f"{median(blocked) / base:.2f}",
            spread(complete),
        ]
        for name, (blocked, complete) in taken.items()
    ]
    print(table(["milliseconds", "blocked", "times", "until complete"], rows), flush=True)


def spread(values: list[float]) -> str:
    return f"{median(values):,.1f} ({min(values):,.1f})"


def memory_of(way: Way) -> int:
    """Return the peak number of bytes by which a save lets the process grow."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = status("VmRSS")
    way.save()
    way.finish()
    return max(status("VmHWM") - before, 0)


def status(name: str) -> int:
    """Return a figure of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def in_thread(write: Callable[[], object]) -> Way:
    """Run something in its own thread."""
    threads: list[threading.Thread] = []

    def save() -> None:
        threads.append(threading.Thread(target=write))
        threads[-1].start()

    def busy() -> bool:
        return threads[-1].is_alive()

    return Way(save, lambda: threads.pop().join(), busy)


def kept_waiting(way: Way, saves: int = 9) -> tuple[str, str, str]:
    """Milliseconds a save in which the main thread could run and did not, their share, and the longest.

    That is the time neither on a processor nor in the queue for one.
    """
    waited, shares, longest = list[float](), list[float](), 0.0
    for _ in range(saves):
        os.sync()
        way.save()
        start, cpu, queue, last = perf_counter(), thread_time(), queued(), perf_counter()
        while way.busy():
            for _ in range(1_000):
                pass
            now = perf_counter()
            longest, last = max(longest, now - last), now
        wall = perf_counter() - start
        lost = max(wall - (thread_time() - cpu) - (queued() - queue), 0.0)
        waited.append(lost * 1e3)
        shares.append(lost / wall)
        way.finish()
    return f"{median(waited):.1f} ms", f"{median(shares):.1%}", f"{longest * 1e3:.1f} ms"


def queued() -> float:
    """Return the seconds for which this thread has waited for a processor."""
    return int(Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text().split()[1]) / 1e9


if __name__ == "__main__":
    main()
