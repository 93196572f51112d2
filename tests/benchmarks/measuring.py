"""Helpers of the benchmarks: interleaved timing, fresh interpreters, Markdown tables, versions."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from time import perf_counter_ns
from typing import NamedTuple, TypeVar

__all__ = ["Spread", "Timed", "fresh", "interleaved", "table", "versions"]

K = TypeVar("K")


class Spread(NamedTuple):
    """Median and minimum of repeated measurements."""

    median: float
    minimum: float

    def __str__(self) -> str:
        return f"{self.median:,.0f} ({self.minimum:,.0f})"


class Timed(NamedTuple):
    """Something to time: ``go`` runs ``number`` repetitions."""

    go: Callable[[], object]
    number: int


def interleaved(timed: Mapping[K, Timed], rounds: int) -> dict[K, Spread]:
    """Return the nanoseconds of each item of ``timed``, every round in another order.

    Interleaving spreads what a shared machine does meanwhile evenly over all of them. The garbage collector runs
    between measurements only.
    """
    taken: dict[K, list[float]] = {name: [] for name in timed}
    order = list(timed)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            each = timed[name]
            gc.collect(0)
            gc.disable()
            start = perf_counter_ns()
            each.go()
            taken[name].append((perf_counter_ns() - start) / each.number)
            gc.enable()
    return {name: Spread(median(values), min(values)) for name, values in taken.items()}


def fresh(code: str) -> str:
    """Return what ``code`` prints in a new interpreter, which keeps compiled modules as an installation does."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=kept).stdout


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, the first column to the left and numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def versions(*packages: str) -> str:
    """Python's version and that of each package that is installed, in one line."""
    found = [f"Python {sys.version.split()[0]}"]
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
