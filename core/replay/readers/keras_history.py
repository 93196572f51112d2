"""Reader of Keras's ``History.history``, saved as JSON: a list of values for each metric."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...errors import SettingsError
from ..metric_choice import known_direction
from ..records import Recording
from .json_log import parse_number, read_json
from .metric_names import list_names
from .rows import Cells, build_recording

PATTERNS = ("*.json",)

_HEAD = 4096
_LISTS = re.compile(r'\s*\{\s*"[^"]*"\s*:\s*(\{\s*"[^"]*"\s*:\s*)?\[\s*("?-?[\d.]|NaN|-?Inf|null)')


def recognizes(path: Path) -> bool:
    """Return whether the file maps names to lists of numbers, and at least one name is a metric of known direction."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            head = file.read(_HEAD)
        return bool(_LISTS.match(head)) and any(map(known_direction, _read_lists(path)))
    except (SettingsError, UnicodeError):
        return False


def read(files: Sequence[Path], name_of: Callable[[Path], str]) -> list[Recording]:
    """Return the run in a history.

    Raises:
        SettingsError: The file is not a history.
        OSError: The file cannot be read.
    """
    (path,) = files
    notes: list[str] = []
    lists = _read_lists(path)
    epochs = lists.pop("epoch", None)
    length = max(map(len, lists.values())) if epochs is None else len(epochs)
    columns: dict[str, Cells] = {}
    for label, values in lists.items():
        # with validation_freq=n, Keras records a validation metric only at every n-th epoch
        every = length // len(values) if values else 0
        if not every or length // every != len(values):
            notes.append(f"{label!r} has {len(values)} values for {length} epochs and is left out.")
            continue
        if every > 1:
            notes.append(f"{label!r} has {len(values)} values for {length} epochs: one every {every} is assumed.")
        numbers = [parse_number(value) for value in values]
        rows = [row for row, number in enumerate(numbers) if number is not None]
        if not rows:
            notes.append(f"{label!r} has no numbers and is left out.")
            continue
        at = np.array(rows, np.int64) * every + every - 1
        columns[label] = Cells(at, np.array([number for number in numbers if number is not None]))
    given = [parse_number(value) for value in epochs] if epochs is not None else list(map(float, range(length)))
    known = np.array([nan if number is None else number for number in given])
    return [build_recording(name_of(path), "Keras History", known, columns, notes)]


def _read_lists(path: Path) -> dict[str, list[Any]]:
    content = read_json(path)
    if isinstance(content, Mapping) and isinstance(cast("Any", content).get("history"), Mapping):
        outer = cast("Mapping[str, Any]", content)
        content = {**outer["history"], **({"epoch": outer["epoch"]} if "epoch" in outer else {})}
    given = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    lists: dict[str, list[Any]] = {label: values for label, values in given.items() if isinstance(values, list)}
    if not any(lists.values()):
        found = f", only {list_names(given)}" if given else ""
        raise SettingsError(f"{str(path)!r} is not a training history: it has no lists of numbers by name{found}")
    return lists
