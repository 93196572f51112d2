"""What a guard costs a batch: ``python -m tests.benchmarks.guards``."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from trainbus import Run
from trainbus.plugins import TerminateOnNaN, TimeLimit

BATCHES, ROUNDS = 20_000, 15


def nanoseconds(callbacks: list[Any]) -> float:
    """Return the time of a batch that logs two metrics, in nanoseconds."""
    with Run(None, callbacks, verbose=0) as run:
        for _ in run.epochs(1):
            began = time.perf_counter_ns()
            for _ in run.batches(range(BATCHES)):
                run.log(loss=0.5, accuracy=0.5)
            return (time.perf_counter_ns() - began) / BATCHES
    raise AssertionError("the loop had no epoch")


def main() -> None:
    """Print the median over interleaved rounds for each list of callbacks."""
    cases: dict[str, list[Any]] = {
        "no guard": [],
        "TimeLimit": [TimeLimit("1 hour")],
        "TerminateOnNaN": [TerminateOnNaN()],
        "TerminateOnNaN, one metric": [TerminateOnNaN(monitor="loss")],
    }
    measured: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, callbacks in cases.items():
            measured[name].append(nanoseconds(callbacks))
    for name, values in measured.items():
        print(f"{name:30} {median(values):8.0f} ns")


if __name__ == "__main__":
    main()
