"""Reader of charts that Weights & Biases exports as CSV: the x axis, then ``RUN - METRIC`` for each run.

A file mostly has one metric of several runs. Files in one directory that have different metrics of a run are joined.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from ....errors import SettingsError
from ....limits import METRICS
from ...axis import Unit
from ...records import Recording
from ..axis_label import find_axis
from ..log_file import LogFile
from ..reader import Reader, Source
from ..recording import build_recording
from ..rows import MISSING
from ..shared.lines import whole_lines
from ..shared.points import Points

_BETWEEN = " - "
_RUNS = {"Name", "Runtime", "Notes", "Tags"}
"""Columns of the other table that Weights & Biases exports: of all runs, with the last value of each metric."""
_INTERNAL = ("_step", "_runtime", "_timestamp")
"""Metrics that Weights & Biases itself adds to each row."""
_RANGE = ("__MIN", "__MAX")
"""The ends of the labels of the lowest and the highest of the values that one point of the chart stands for."""


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line]), list[str]())]


def _header(file: LogFile) -> list[str]:
    try:
        return _cells(file.lines[0]) if file.lines else []
    except csv.Error:
        return []


def _unit(axis: str) -> Unit | None:
    """Return what the x axis counts; None if it counts nothing."""
    known = find_axis([axis, axis.split("/")[-1]])
    if known.epoch is not None or "epoch" in axis.lower():
        return "epoch"
    return next((unit for _, unit in known.counters), None)


def _recognizes(file: LogFile) -> bool:
    axis, *labels = _header(file) or [""]
    if {axis, *labels} >= _RUNS and axis == "Name":
        return True
    return bool(axis) and bool(labels) and _BETWEEN not in axis and all(_BETWEEN in label for label in labels)


def _group(files: Sequence[Path]) -> Iterable[Sequence[Path]]:
    """Group the charts of one directory that have the same x axis."""
    charts: dict[tuple[Path, str], list[Path]] = {}
    for file in files:
        charts.setdefault((file.parent, _header(LogFile(file))[0]), []).append(file)
    return charts.values()


def _read(source: Source) -> list[Recording]:
    runs, notes = defaultdict[str, Points](Points), list[str]()
    axis = ""
    for path in source.files:
        axis = _read_chart(path, runs, notes)
    unit = _unit(axis)
    if unit is None:
        notes.append(f"The x axis {axis!r} counts no steps: rows are counted instead.")
    found: list[Recording] = []
    for run, points in runs.items():
        steps, columns, more = points.joined()
        title = "Weights & Biases chart"
        found.append(build_recording(run, title, steps, columns, [*notes, *more], unit=unit or "step"))
    return found


def _read_chart(path: Path, runs: defaultdict[str, Points], notes: list[str]) -> str:
    """Add the points of a chart to the runs, and return the label of its x axis."""
    lines = whole_lines(path, notes)
    axis, *labels = _cells(next(lines, (1, ""))[1])
    if len(labels) > METRICS:
        raise SettingsError(f"{str(path)!r} has {len(labels):,} columns; the limit is {METRICS:,}")
    series = [
        (column, run, metric)
        for column, label in enumerate(labels, 1)
        for run, _, metric in [label.rpartition(_BETWEEN)]
        if not metric.endswith(_RANGE) and not metric.startswith(_INTERNAL)
    ]
    if axis == "Name":
        words = "has the last values of runs of Weights & Biases, but no curves: export a chart"
        raise SettingsError(f"{str(path)!r} {words} as CSV, or give the directory 'wandb' of the runs")
    counts = _unit(axis) is not None
    for row, (number, line) in enumerate(lines):
        try:
            cells = _cells(line)
            place = float(cells[0]) if counts else float(row)
            for column, run, metric in series:
                if cells[column].lower() not in MISSING:
                    runs[run].add(metric, place, float(cells[column]))
        except (ValueError, IndexError, csv.Error):
            words = f"does not have the {1 + len(labels)} numbers of the first line"
            raise SettingsError(f"{str(path)!r}: line {number:,} {words}: {line[:80]!r}") from None
    return axis


READER: Final = Reader("Weights & Biases", _recognizes, _read, _group)
