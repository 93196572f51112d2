"""What a save costs after many: ``python -m tests.benchmarks.growth [checkpoints] [--charts]``.

Every epoch is a new best, ten checkpoints and "last" are kept, and the best weights are kept to be restored. The times
are medians of the 50 epochs before; "memory" is the resident memory of the process, with the history itself.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np

from trainbus import Run
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.testing import LineSubject

from .measuring import table, versions

SHOWN = (10, 100, 500, 1_000, 2_000, 3_000, 4_000, 5_000)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", description=__doc__.partition(":")[0])
    parser.add_argument("checkpoints", type=int, nargs="?", default=5_001)
    parser.add_argument("--charts", action="store_true", help="list TensorBoard, too")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    print(f"{versions('numpy')}; {asked.checkpoints} epochs\n")
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measured(Path(folder), asked.checkpoints, charts=asked.charts))
    print(table(["epoch", "ms an epoch", "ms of processor time", "memory, MB", "manifest, kB", "history, kB"], rows))


def measured(folder: Path, epochs: int, *, charts: bool = False) -> Iterator[list[str]]:
    """Train this many epochs, and yield a row for each number of epochs in ``SHOWN``."""
    subject, x = LineSubject(), np.linspace(0.0, 1.0, 8)
    callbacks = [
        ModelCheckpoint(str(folder / "m-{epoch}"), keep=10, save_last=True, monitor="val_loss"),
        EarlyStopping(patience=9, restore_best_weights=True),
        ReduceLROnPlateau(patience=9),
        *([TensorBoard(str(folder / "logs"))] if charts else []),
    ]
    starts: list[tuple[float, float]] = []
    with Run(subject, callbacks, verbose=0, signals=()) as run:
        for epoch in run.epochs(epochs):
            starts.append((perf_counter(), process_time()))
            for _ in run.batches(range(2)):
                run.log(loss=subject.train(x, 3 * x))
            run.log(val_loss=1.0 / (epoch + 1))
            if epoch in SHOWN:
                times = [
                    median(after[clock] - before[clock] for before, after in pairwise(starts[-51:])) for clock in (0, 1)
                ]
                yield [f"{epoch:,}", *(f"{1000 * each:.1f}" for each in times), *_sizes(folder)]


def _sizes(folder: Path) -> list[str]:
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    manifest = (folder / "trainbus.last.npz.json").stat().st_size
    history = sum(path.stat().st_size for path in folder.glob("trainbus.history-*"))
    return [f"{resident / 1e6:.0f}", f"{manifest / 1000:.1f}", f"{history / 1000:,.0f}"]


if __name__ == "__main__":
    main()
