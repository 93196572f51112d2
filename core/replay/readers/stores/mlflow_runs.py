"""What both stores of MLflow have in common: the names of runs, and metrics of the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

_T = TypeVar("_T")

SYSTEM: Final = "system/"
"""The beginning of the names of metrics of the machine, whose steps count measurements."""


def run_name(experiment: str | None, run: str | None, *, otherwise: str) -> str:
    """Return the name of a run: as MLflow shows it, with its experiment.

    >>> run_name("digits", "first", otherwise="mlruns/1/a"), run_name(None, "", otherwise="mlruns/1/a")
    ('digits/first', 'mlruns/1/a')
    """
    return "/".join(filter(None, (experiment, run))) if run else otherwise


def without_system(items: Iterable[_T], label_of: Callable[[_T], str], notes: list[str]) -> list[_T]:
    """Return the metrics of the training, and add a note on metrics of the machine.

    >>> notes = []
    >>> without_system(["loss", "system/cpu"], str, notes), notes
    (['loss'], ['1 metrics of the machine, such as its memory, are left out.'])
    """
    given = list(items)
    found = [each for each in given if not label_of(each).startswith(SYSTEM)]
    if len(found) < len(given):
        notes.append(f"{len(given) - len(found):,} metrics of the machine, such as its memory, are left out.")
    return found
