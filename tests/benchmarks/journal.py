"""The cost of the journal: ``python -m tests.benchmarks.journal [rounds]``.

A run with two callbacks that decide, once without a journal and once with one. The loop only logs numbers, so that
nothing but trainbus is measured.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from itertools import count
from pathlib import Path

from trainbus import Callback, Run
from trainbus.journal import read
from trainbus.plugins import EarlyStopping, Journal, ReduceLROnPlateau
from trainbus.testing import LineSubject

from .measuring import Timed, interleaved, table, versions

EPOCHS = 1000
BATCHES = 1_000_000
METRICS = {f"metric_{number}": 0.123456789 for number in range(8)}


def main(rounds: int = 15) -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        names = count()

        def listed(*, journal: bool) -> list[Callback]:
            deciding: list[Callback] = [EarlyStopping(patience=10**9), ReduceLROnPlateau(patience=10**9)]
            return [*deciding, Journal(Path(folder) / f"{next(names)}.jsonl", enabled=journal)]

        def epochs(*, journal: bool) -> None:
            with Run(LineSubject(), listed(journal=journal)) as run:
                for epoch in run.epochs(EPOCHS):
                    run.log(METRICS, val_loss=1 / (epoch + 1))

        def batches(*, journal: bool) -> None:
            with Run(LineSubject(), listed(journal=journal)) as run:
                for _ in run.epochs(1):
                    for _ in run.batches(range(BATCHES)):
                        pass
                    run.log(val_loss=1.0)

        def once(*, journal: bool) -> None:
            with Run(LineSubject(), listed(journal=journal)) as run:
                for _ in run.epochs(1):
                    run.log(val_loss=1.0)

        written = Path(folder) / "written.jsonl"
        with Run(LineSubject(), [EarlyStopping(patience=10**9), Journal(written)]) as run:
            for epoch in run.epochs(EPOCHS):
                run.log(METRICS, val_loss=1 / (epoch + 1))
        kinds = {"an epoch": (epochs, EPOCHS), "a batch": (batches, BATCHES), "a run of one epoch": (once, 1)}
        timed = {
            (kind, journal): Timed(partial(go, journal=journal), number)
            for kind, (go, number) in kinds.items()
            for journal in (False, True)
        }
        timed["reading an epoch", True] = Timed(partial(read, written), EPOCHS)
        results = interleaved(timed, rounds)
        size = written.stat().st_size / EPOCHS
    print(
        f"{versions('trainbus', 'pydantic')}; {rounds} rounds; {len(METRICS) + 2} metrics, {size:.0f} bytes an epoch\n"
    )
    rows = [
        [kind, str(results.get((kind, False), "")), str(results[kind, True])]
        for kind in dict.fromkeys(kind for kind, _ in results)
    ]
    print(table(["", "without", "with"], rows))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
