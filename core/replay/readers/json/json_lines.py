"""Reader of JSON lines: one object a line, with any keys, as training scripts and many libraries write them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ....errors import SettingsError
from ....limits import JOURNAL_LINE
from ....metrics.direction import known_direction
from ...records import Recording
from ..axis_label import find_axis
from ..log_file import LogFile
from ..metric_names import STAGES
from ..numbers import parse_number
from ..reader import GENERAL, Reader, Source
from ..rows import STAGE_KEYS, Table
from ..shared.log_signs import records_a_run
from ..table_recording import record_runs
from .document import is_list, is_object

_COCO = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The numbers of pycocotools's ``COCOeval.stats``, as DETR and its successors log them."""
_LONGEST_LIST, _DEEPEST = 64, 4


def numbers_of(line: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Yield the labels and numbers of one object; those of objects and short lists in it too.

    >>> dict(numbers_of({"epoch": 1, "split": "val", "loss": 0.5, "recall": {"cat": [0.1, 0.2]}}))
    {'epoch': 1.0, 'val/loss': 0.5, 'val/recall/cat/0': 0.1, 'val/recall/cat/1': 0.2}
    """
    text = next((line[key] for key in STAGE_KEYS if isinstance(line.get(key), str)), "")
    stage = f"{text}/" if text.lower() in STAGES else ""
    axis = find_axis(line).all if stage else set[str]()
    for label, value in _flat(line, "", _DEEPEST):
        number = parse_number(value)
        if number is not None:
            yield label if label in axis else f"{stage}{label}", number


def _flat(value: Any, label: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield the values inside of an object or list, with the labels on the way to them."""
    if is_object(value) and depth:
        for key, inner in value.items():
            yield from _flat(inner, f"{label}/{key}" if label else key, depth - 1)
    elif is_list(value) and depth:
        names = _COCO if len(value) == len(_COCO) and "coco" in label.lower() else range(len(value))
        if len(value) <= _LONGEST_LIST:
            for name, inner in zip(names, value, strict=True):
                yield from _flat(inner, f"{label}/{name}", depth - 1)
    else:
        yield label, value


def recognizes(file: LogFile) -> bool:
    """Return whether half of the first lines are objects, and one has a number with a label of an axis or a metric."""
    if not file.text.lstrip().startswith("{") or not file.lines:
        return False
    first = file.lines[:50]
    objects = [each for each in map(_parse, first) if each is not None]
    if 2 * len(objects) < len(first) and not file.named:
        return False
    alone = file.document is not None
    if alone and not file.named:  # as of the scores at the end of a run
        return False
    for each in objects:
        labels = [label for label, _ in numbers_of(each)]
        axis = find_axis(labels).all
        others = [label for label in labels if label not in axis]
        if others and (axis or (not alone and (file.named or _is_log(file, others)))):
            return True
    return False


def _is_log(file: LogFile, labels: list[str]) -> bool:
    return any(map(known_direction, labels)) and records_a_run(file.path, labels)


def read(source: Source) -> list[Recording]:
    """Return the run in a file of JSON lines.

    Raises:
        SettingsError: The file has too many rows or metrics, or too long lines.
        OSError: The file cannot be read.
    """
    table, damaged = Table(), 0
    for line in _lines(source.path):
        found = _parse(line)
        if found is None:
            damaged += bool(line.strip())
            continue
        row = dict(numbers_of(found))
        if not row:
            continue
        table.add(row.items())
        table.check_size(source.name, source.path, "lines; give a file with a line an epoch")
    notes = [f"{damaged:,} lines are not complete JSON objects and are left out."] if damaged else []
    return record_runs(source.name, "JSON lines", table, notes)


def _parse(line: str) -> dict[str, Any] | None:
    """Return the object in a line; None if it is something else."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if is_object(found) else None


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        while line := file.readline(JOURNAL_LINE):
            if len(line) == JOURNAL_LINE:
                raise SettingsError(f"{str(path)!r} has a line of more than {JOURNAL_LINE:,} characters")
            yield line


READER = Reader("JSON lines", recognizes, read, order=GENERAL)
