"""The event files of one directory, by run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ....limits import EPOCHS
from ..columns import still_valid
from .scalars import Scalars, read_scalars

TagSeries: TypeAlias = NDArray[np.void]
"""The numbers of one tag, in the order of writing: an array of ``scalars.NUMBER``."""


class DirectoryRun(NamedTuple):
    """What one run has written into a directory."""

    tags: dict[str, TagSeries]
    """The valid numbers by tag."""
    notes: list[str]


def read_runs(paths: Iterable[Path]) -> list[DirectoryRun]:
    """Return the runs that wrote the files of one directory, in the order of time.

    Raises:
        SettingsError: A file is damaged.
        OSError: A file cannot be read.
    """
    notes: list[str] = []
    read = [read_scalars(path, notes) for path in sorted(paths)]
    # the names of copied files may not be in the order in which the files were written
    files = sorted(read, key=lambda file: float(file.numbers["time"][0]) if file.numbers.size else 0.0)
    return [_join(of_run, notes) for of_run in _by_run(files)]


def _by_run(files: Sequence[Scalars]) -> list[list[Scalars]]:
    """Return the files of each run: one in which a curve begins again where it began before is of another run.

    A run that is resumed goes on after its first step, and a writer that restarts one says so in the file.
    """
    found: list[list[Scalars]] = [[]]
    first: dict[str, int] = {}
    for file in files:
        begins = _first_steps(file)
        if not file.restarts and any(step <= first.get(name, -1) for name, step in begins.items()):
            found.append([])
            first = {}
        found[-1].append(file)
        first = {**begins, **first}
    return found


def _first_steps(file: Scalars) -> dict[str, int]:
    """Return the first step of each tag that has a curve."""
    tags, at, counts = np.unique(file.numbers["tag"], return_index=True, return_counts=True)
    steps = file.numbers["step"][at].tolist()
    curves = zip(tags.tolist(), steps, counts.tolist(), strict=True)
    return {file.names[tag]: step for tag, step, count in curves if count > 1}


def _join(files: Sequence[Scalars], notes: Sequence[str]) -> DirectoryRun:
    """Return the run that wrote these files."""
    notes = list(notes)
    names = list(dict.fromkeys(name for file in files for name in file.names))
    index = {name: number for number, name in enumerate(names)}
    numbers = np.concatenate([file.numbers for file in files])
    tags = np.concatenate(
        [np.array([index[name] for name in file.names], np.int64)[file.numbers["tag"]] for file in files]
    )
    valid = (numbers["step"] >= 0) & (numbers["step"] < EPOCHS)
    before = 0
    for file in files:
        for count, step in file.restarts:
            valid[: before + count] &= numbers["step"][: before + count] < step
        before += len(file.numbers)
    found: dict[str, TagSeries] = {}
    for number, name in enumerate(names):
        series = numbers[(tags == number) & valid]
        series = series[still_valid(series["step"])]
        if series.size:
            found[name] = series
    void = len(numbers) - sum(map(len, found.values()))
    if void:
        notes.append(f"{void:,} numbers are left out, since the run later went back to their steps.")
    return DirectoryRun(found, notes)
