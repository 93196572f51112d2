"""Reader of ``progress.csv`` of reinforcement learning: stable-baselines3, OpenAI's baselines, and Ray.

A row has only the values that were new when it was written, so that most cells of evaluations are empty.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Final

from ....errors import SettingsError
from ...axis import Unit
from ...records import Recording
from ..log_file import LogFile
from ..metric_names import check_metrics
from ..reader import SPECIFIC, Reader, Source
from ..recording import build_recording
from ..rows import MISSING, Table
from ..shared.lines import whole_lines

_AXES: dict[str, Unit] = {
    "training_iteration": "iteration",
    "time/total_timesteps": "timestep",
    "total_timesteps": "timestep",
    "misc/total_timesteps": "timestep",
    "TimestepsSoFar": "timestep",
    "TotalEnvSteps": "timestep",
}
_SECONDS = ("time_total_s", "time_elapsed", "time/time_elapsed", "misc/time_elapsed", "TimeElapsed")
_BOOKKEEPING = {"pid", "iterations_since_restore", "time_since_restore", "time_this_iter_s", "timestamp"}
"""What Ray adds to each row, and which measures nothing."""


def _recognizes(file: LogFile) -> bool:
    return len(file.lines) > 1 and _axis(_cells(file.lines[0])) is not None


def _cells(line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line]), list[str]())]
    except csv.Error:
        return []


def _axis(header: Sequence[str]) -> str | None:
    return next((label for label in _AXES if label in header), None) if len(header) > 1 else None


def _read(source: Source) -> list[Recording]:
    notes = list[str]()
    lines = whole_lines(source.path, notes)
    header = _cells(next(lines, (1, ""))[1])
    axis = _axis(header)
    if axis is None:
        raise SettingsError(f"{str(source.path)!r} needs a column of timesteps or iterations, such as {min(_AXES)!r}")
    check_metrics(source.name, header)
    table, uneven = Table(), 0
    for _, line in lines:
        cells = _cells(line)
        if len(cells) != len(header):
            uneven += 1
        elif cells != header:
            table.add((label, _number(cell)) for label, cell in zip(header, cells, strict=True))
        table.check_size(source.name, source.path, "rows")
    if uneven:
        notes.append(f"{uneven:,} lines do not have the {len(header)} cells of the first line and are left out.")
    columns = {label: cells for label, cells in table.cells().items() if label not in (axis, *_BOOKKEEPING)}
    seconds = next((label for label in _SECONDS if label in columns), None)
    if seconds is not None and len(columns[seconds].rows) == table.count:
        columns["time"] = columns.pop(seconds)
    return [build_recording(source.name, "progress CSV", table.column(axis), columns, notes, unit=_AXES[axis])]


def _number(cell: str) -> float | None:
    if cell.lower() in MISSING:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


READER: Final = Reader("stable-baselines3", _recognizes, _read, order=SPECIFIC + 1)
