"""What `fit` of Keras returns, its `history`, saved as JSON: a list of values for each metric."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...errors import SettingsError, UnknownDirection
from ...metrics.direction import direction_of
from ..records import Recording
from .json_log import json_of, number_of
from .metric_names import listed
from .rows import Cells, recording_of

__all__ = ["PATTERNS", "read", "recognizes"]

PATTERNS = ("*.json",)

_HEAD = 4096
_LISTS = re.compile(r'\s*\{\s*"[^"]*"\s*:\s*(\{\s*"[^"]*"\s*:\s*)?\[\s*("?-?[\d.]|NaN|-?Inf|null)')


def recognizes(path: Path) -> bool:
    """Whether it holds lists of numbers by name, one of which is that of a metric."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            head = file.read(_HEAD)
        return bool(_LISTS.match(head)) and any(map(_is_metric, _lists(path)))
    except (SettingsError, UnicodeError):
        return False


def read(files: Sequence[Path], name_of: Callable[[Path], str]) -> list[Recording]:
    """The run in a history.

    Raises:
        SettingsError: it is none.
        OSError: it cannot be read.
    """
    (path,) = files
    notes: list[str] = []
    lists = _lists(path)
    epochs = lists.pop("epoch", None)
    length = max(map(len, lists.values())) if epochs is None else len(epochs)
    columns: dict[str, Cells] = {}
    for label, values in lists.items():
        # Keras validates every so many epochs, and tells nothing of those between
        every = length // len(values) if values else 0
        if not values or length // every != len(values):
            notes.append(f"{label!r} has {len(values)} values for {length} epochs, and is left out.")
            continue
        if every > 1:
            notes.append(f"{label!r} has {len(values)} values for {length} epochs: one every {every} is assumed.")
        numbers = [number_of(value) for value in values]
        rows = [place for place, number in enumerate(numbers) if number is not None]
        if not rows:
            notes.append(f"{label!r} has no numbers, and is left out.")
            continue
        at = np.array(rows, np.int64) * every + every - 1
        columns[label] = Cells(at, np.array([number for number in numbers if number is not None]))
    given = [number_of(value) for value in epochs] if epochs is not None else list(map(float, range(length)))
    known = np.array([nan if number is None else number for number in given])
    return [recording_of(name_of(path), "Keras History", known, columns, notes)]


def _lists(path: Path) -> dict[str, list[Any]]:
    """Name to values."""
    held = json_of(path)
    if isinstance(held, Mapping) and isinstance(cast("Any", held).get("history"), Mapping):
        outer = cast("Mapping[str, Any]", held)
        held = {**outer["history"], **({"epoch": outer["epoch"]} if "epoch" in outer else {})}
    given = cast("dict[str, Any]", held) if isinstance(held, dict) else {}
    lists: dict[str, list[Any]] = {label: values for label, values in given.items() if isinstance(values, list)}
    if not any(lists.values()):
        raise SettingsError(
            f"{str(path)!r} is no history of a training: it holds no lists of numbers by name{_what(held)}"
        )
    return lists


def _what(held: Any) -> str:
    return f", but {listed(cast('dict[str, Any]', held))}" if isinstance(held, dict) and held else ""


def _is_metric(label: str) -> bool:
    try:
        return bool(direction_of(label))
    except UnknownDirection:
        return False
