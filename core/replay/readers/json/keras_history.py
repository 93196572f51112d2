"""Reader of Keras's ``History.history``, saved as JSON: a list of values for each metric."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import nan
from typing import Any, cast

import numpy as np

from ....errors import SettingsError
from ....metrics.direction import known_direction
from ...records import Recording
from ..log_file import LogFile
from ..numbers import parse_number
from ..reader import GENERAL, Reader, Source
from ..recording import build_recording
from ..rows import Cells
from .document import read_json

_LISTS = re.compile(r'\s*\{\s*"[^"]*"\s*:\s*(\{\s*"[^"]*"\s*:\s*)?\[\s*("?-?[\d.]|NaN|-?Inf|null)')


def recognizes(file: LogFile) -> bool:
    """Return whether the file maps names to lists of numbers; if it is not named, one must be a known metric."""
    if not _LISTS.match(file.text):
        return False
    lists = _lists(file.document)
    return bool(lists) and (file.named or any(map(known_direction, lists)))


def read(source: Source) -> list[Recording]:
    """Return the run in a history.

    Raises:
        SettingsError: The file is not a history.
        OSError: The file cannot be read.
    """
    path = source.path
    notes: list[str] = []
    lists = _lists(read_json(path))
    if not lists:
        raise SettingsError(f"{str(path)!r} is not a training history: it has no lists of numbers by name")
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
    return [build_recording(source.name, "Keras History", known, columns, notes)]


def _lists(content: Any) -> dict[str, list[Any]]:
    """Return the lists in a document by name, without those that are empty."""
    if isinstance(content, Mapping) and isinstance(cast("Any", content).get("history"), Mapping):
        outer = cast("Mapping[str, Any]", content)
        content = {**outer["history"], **({"epoch": outer["epoch"]} if "epoch" in outer else {})}
    given = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    lists: dict[str, list[Any]] = {label: values for label, values in given.items() if isinstance(values, list)}
    return lists if any(lists.values()) else {}


READER = Reader("Keras History", recognizes, read, order=GENERAL - 1)
