"""Import times: ``python -m tests.benchmarks.import_time [rounds]``.

Every figure is measured in new interpreters, in turns; the table names the heavy packages that are also imported.
"""

from __future__ import annotations

import sys
from statistics import median
from subprocess import CalledProcessError

from .measuring import Spread, fresh, table, versions

OWN = ("trainbus", "trainbus.plugins", *(f"trainbus.adapters.{name}" for name in ("sklearn", "torch", "keras")))
PARTS = ("pluggy", "pydantic", "importlib.metadata")
OTHERS = ("numpy", "tensorboardX", "sklearn", "torch", "ignite", "skorch", "keras", "transformers", "lightning")
HEAVY = ("jax", "keras", "lightning", "numpy", "sklearn", "tensorboardX", "tensorflow", "torch", "tqdm")

CODE = """
import importlib, os, sys, time
os.environ.setdefault("KERAS_BACKEND", "torch")
before = len(sys.modules)
start = time.perf_counter()
importlib.import_module({module!r})
taken = time.perf_counter() - start
print(taken * 1000, len(sys.modules) - before, *sorted(set({heavy!r}) & set(sys.modules)))
"""


def main(rounds: int = 11) -> None:
    """Measure, and print the table."""
    runs: dict[str, list[list[str]]] = {}
    for module in (*OWN, *PARTS, *OTHERS):
        try:
            runs[module] = [_imported(module)]
        except CalledProcessError as error:
            print(f"{module} is left out: {error.stderr.strip().splitlines()[-1]}\n")
    for _ in range(rounds - 1):
        for module, known in runs.items():
            known.append(_imported(module))
    print(f"{versions('trainbus', 'pluggy', 'pydantic', 'numpy')}; {rounds} interpreters each\n")
    print("Milliseconds to import, median (minimum):\n")
    print(table(["", "ms", "modules", "also imports"], (_row(module, known) for module, known in runs.items())))


def _imported(module: str) -> list[str]:
    return fresh(CODE.format(module=module, heavy=HEAVY)).split()


def _row(module: str, runs: list[list[str]]) -> list[object]:
    taken = [float(run[0]) for run in runs]
    brought = [package for package in runs[0][2:] if package != module]
    return [f"`{module}`", Spread(median(taken), min(taken)), runs[0][1], ", ".join(brought) or "nothing"]


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
