"""The cost of writing for TensorBoard: ``python -m tests.benchmarks.tensorboard [rounds]``.

Scalars: ten tags a step over many steps, written by each library to a file that is closed at the end. The caller's
share is the time until the last one is queued; processor time is that of all threads until the file is closed.
Everything is measured with the crc32c wheel and without, each in a process of its own, in a new random order in
every round. Histograms: one array, the caller's time; trainbus copies into memory that an earlier
inspection has used, as in a training from the second inspection on. TensorFlow, with which Keras's own callback
writes, is measured if it is installed.
"""

from __future__ import annotations

import gc
import json
import random
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any

import numpy as np

from trainbus import Run
from trainbus.plugins import TensorBoard

from .measuring import Spread, median, table, versions

TAGS, STEPS = 10, 2000
NAMES = [f"metric_{number}" for number in range(TAGS)]
SIZES = {"1M": 1_000_000, "10M": 10_000_000}

Writer = tuple[Callable[[], None], Callable[[], object]]
"""A function that writes all scalars, and one that closes the file."""


def main(rounds: int = 11) -> None:
    """Measure, and print the tables."""
    packages = "tensorboardX", "torch", "tensorboard", "tensorflow", "tensorflow_cpu", "crc32c"
    print(f"{versions(*packages)}; {rounds} rounds\n")
    for wheel in (True, False):
        command = [sys.executable, "-m", __spec__.name, "wheel" if wheel else "pure", str(rounds)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"\n{TAGS} scalars a step, {'with' if wheel else 'without'} the crc32c wheel; nanoseconds a scalar:\n")
        own = next(iter(found["scalars"].values()))
        rows = []
        for name, taken in found["scalars"].items():
            spreads = [Spread(median(values), min(values)) for values in zip(*taken, strict=True)]
            base = [median(values) for values in zip(*own, strict=True)]
            rows.append(
                [
                    name,
                    *spreads,
                    *(f"{spread.median / least:.1f}" for spread, least in zip(spreads[::2], base[::2], strict=True)),
                ]
            )
        print(table(["", "caller", "until closed", "processor", "caller, times", "processor, times"], rows))
        if wheel:
            print("\nA histogram of float32 numbers; microseconds:\n")
            rows = [
                [name, *(Spread(median(taken), min(taken)) for taken in by_size.values())]
                for name, by_size in found["histograms"].items()
            ]
            print(table(["", *SIZES], rows))


def child(rounds: int) -> None:
    """Measure in this process, and print JSON."""
    folder, numbers = Path(tempfile.mkdtemp()), count()
    fresh = lambda: folder / str(next(numbers))  # noqa: E731
    makers = {
        "trainbus, queueing": own_writer,
        "trainbus, the complete callback at a batch": own_callback,
        "tensorboardX `add_scalar`": tensorboardx,
        "torch `add_scalar`": torch,
        **({"TensorFlow `tf.summary.scalar`, as Keras calls it": tensorflow} if find_spec("tensorflow") else {}),
    }
    scalars: dict[str, list[list[float]]] = {name: [] for name in makers}
    histograms: dict[str, dict[str, list[float]]] = {}
    try:
        for _ in range(rounds):
            for name in random.sample(list(makers), len(makers)):
                write, close = makers[name](fresh())
                gc.collect()  # else a round pays for the garbage of earlier rounds
                began, busy = perf_counter_ns(), process_time_ns()
                write()
                queued = perf_counter_ns()
                close()
                ended = perf_counter_ns()
                taken = queued - began, ended - began, process_time_ns() - busy
                scalars[name].append([each / STEPS / TAGS for each in taken])
            for size, length in SIZES.items():
                values = np.random.default_rng(0).normal(size=length).astype(np.float32)
                for name, taken in pictured(values, fresh):
                    histograms.setdefault(name, {}).setdefault(size, []).append(taken / 1000)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"scalars": scalars, "histograms": histograms}))


def own_writer(folder: Path) -> Writer:
    """One event a step, as the callback queues it."""
    from trainbus.plugins.tensorboard.writer.event_writer import EventWriter

    writer = EventWriter(folder, "benchmark", print)
    writer.scalars(".", 0, {"warm": 1.0})
    writer.flush()

    def write() -> None:
        for step in range(STEPS):
            writer.scalars(".", step, dict.fromkeys(NAMES, 0.5))

    return write, writer.close


def own_callback(folder: Path) -> Writer:
    """Report a batch's end to a run whose one callback is TensorBoard, means included."""
    run = Run(None, TensorBoard(folder, update_freq="batch"), verbose=0)
    run.begin()
    run.begin_epoch(0)
    run.log(dict.fromkeys(NAMES, 0.5))

    def write() -> None:
        for batch in range(STEPS):
            run.end_batch(batch)

    return write, run.end


def tensorboardx(folder: Path) -> Writer:
    """A call for each scalar."""
    from tensorboardX import SummaryWriter

    return _each(SummaryWriter(str(folder)))


def torch(folder: Path) -> Writer:
    """A call for each scalar."""
    from torch.utils.tensorboard import SummaryWriter

    return _each(SummaryWriter(str(folder)))


def tensorflow(folder: Path) -> Writer:
    """A call for each scalar, as Keras's callback does it."""
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(folder))

    def write() -> None:
        with writer.as_default():
            for step in range(STEPS):
                for name in NAMES:
                    tf.summary.scalar(name, 0.5, step=step)

    return write, writer.close


def _each(writer: Any) -> Writer:
    def write() -> None:
        for step in range(STEPS):
            for name in NAMES:
                writer.add_scalar(name, 0.5, step)

    return write, writer.close


def pictured(values: np.ndarray[Any, Any], fresh: Callable[[], Path]) -> list[tuple[str, int]]:
    """The caller's time for one histogram of each library, in any order."""
    import tensorboardX
    from torch.utils import tensorboard

    from trainbus.plugins.tensorboard.writer.buffer_pool import BufferPool
    from trainbus.plugins.tensorboard.writer.event_writer import MAX_BYTES, EventWriter
    from trainbus.plugins.tensorboard.writer.summaries import histograms

    own, buffers, first = EventWriter(fresh(), "benchmark", print), BufferPool(MAX_BYTES), BufferPool(MAX_BYTES)
    buffers.copy(values)
    others = [tensorboardX.SummaryWriter(str(fresh())), tensorboard.SummaryWriter(str(fresh()))]

    def queue(buffers: BufferPool) -> None:
        own.put(".", 0, lambda array: histograms("own", array), buffers.copy(values), values.nbytes)

    timed: dict[str, Callable[[], object]] = {
        "trainbus, the training's share": lambda: queue(buffers),
        "trainbus, the training's share of the first inspection": lambda: queue(first),
        "trainbus, inline": lambda: histograms("own", values),
        "tensorboardX `add_histogram`": lambda: others[0].add_histogram("other", values, 0, bins="tensorflow"),
        "torch `add_histogram`": lambda: others[1].add_histogram("other", values, 0),
    }
    if find_spec("tensorflow"):
        import tensorflow as tf

        with tf.summary.create_file_writer(str(fresh())).as_default():
            tf.summary.histogram("warm", values[:10], step=0)
        keras = tf.summary.create_file_writer(str(fresh()))

        def as_keras() -> None:
            with keras.as_default():
                tf.summary.histogram("other", values, step=0)

        timed["TensorFlow `tf.summary.histogram`, as Keras calls it"] = as_keras
    found: list[tuple[str, int]] = []
    for name in random.sample(list(timed), len(timed)):
        began = perf_counter_ns()
        timed[name]()
        found.append((name, perf_counter_ns() - began))
        own.flush()
    for each in (own, *others):
        each.close()
    return sorted(found, key=lambda each: list(timed).index(each[0]))


if __name__ == "__main__":
    if sys.argv[1:2] in (["wheel"], ["pure"]):
        if sys.argv[1] == "pure":
            sys.modules["crc32c"] = None  # type: ignore[assignment]
        warnings.simplefilter("ignore")
        child(int(sys.argv[2]))
    else:
        main(*(int(argument) for argument in sys.argv[1:]))
