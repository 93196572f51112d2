"""What an import costs: `python -m tests.benchmarks.import_time [rounds]`.

Every figure is the median of fresh interpreters, taken in turns; which heavy packages an import brings along is told too.
"""

from __future__ import annotations

import sys
from statistics import median

from .measuring import Spread, fresh, table, versions

OWN = ("trainbus", "trainbus.plugins", "trainbus.adapters.sklearn", "trainbus.adapters.torch", "trainbus.adapters.keras")
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
    seen: dict[str, list[list[str]]] = {}
    for _ in range(rounds):
        for module in (*OWN, *PARTS, *OTHERS):
            try:
                seen.setdefault(module, []).append(fresh(CODE.format(module=module, heavy=HEAVY)).split())
            except ImportError as error:
                print(f"{module} is left out: {error}\n")
    rows = [_row(module, runs) for module, runs in seen.items() if runs]
    print(f"{versions('trainbus', 'pluggy', 'pydantic', 'numpy')}; {rounds} fresh interpreters each\n")
    print("Milliseconds to import, median (minimum):\n")
    print(table(["", "ms", "modules", "brings along"], rows))


def _row(module: str, runs: list[list[str]]) -> list[object]:
    taken = [float(run[0]) for run in runs]
    package = module.partition(".")[0]
    return [f"`{module}`", Spread(median(taken), min(taken)), runs[0][1], ", ".join(set(runs[0][2:]) - {package}) or "–"]


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
