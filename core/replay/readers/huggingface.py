"""Hugging Face's trainer_state.json, which its Trainer writes into each checkpoint: what was logged at which step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from math import nan
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...errors import SettingsError
from ..records import Recording
from .json_log import json_of, number_of
from .rows import Cells, recording_of

__all__ = ["NAME", "newest", "read", "recognizes"]

NAME = "trainer_state.json"

_CHECKPOINT = re.compile(r"checkpoint-(\d+)$")
_SUMMARY = "train_runtime"
"""A key of the last entry, which is about the whole run."""


def recognizes(path: Path) -> bool:
    """Whether it is called so."""
    return path.name == NAME


def newest(files: Iterable[Path]) -> list[Path]:
    """Of the files in checkpoints of one run the last one, which holds what the others do.

    >>> [path.as_posix() for path in newest(map(Path, ["a/checkpoint-9/x", "a/checkpoint-10/x", "b/x"]))]
    ['a/checkpoint-10/x', 'b/x']
    """
    found: dict[Path, tuple[float, Path]] = {}
    for file in files:
        checkpoint = _CHECKPOINT.match(file.parent.name)
        home = file.parent.parent if checkpoint else file.parent
        age = float(checkpoint[1]) if checkpoint else float("inf")  # what lies beside them is written at the end
        found[home] = max(found.get(home, (-1.0, file)), (age, file))
    return [file for _, file in found.values()]


def read(files: Sequence[Path], name_of: Callable[[Path], str]) -> list[Recording]:
    """The run of a trainer.

    Raises:
        SettingsError: it has logged nothing.
        OSError: the file cannot be read.
    """
    (path,) = files
    held = json_of(path)
    history: Any = cast("dict[str, Any]", held).get("log_history") if isinstance(held, dict) else None
    entries: list[Any] = history if isinstance(history, list) else []  # pyright: ignore[reportUnknownVariableType]
    logged = [cast("dict[str, Any]", each) for each in entries if isinstance(each, dict) and _SUMMARY not in each]
    if not logged:
        raise SettingsError(f"{str(path)!r} has no 'log_history' with anything in it")
    home = path.parent.parent if _CHECKPOINT.match(path.parent.name) else path.parent
    columns: dict[str, tuple[list[int], list[float]]] = {}
    for row, entry in enumerate(logged):
        for label, value in entry.items():
            number = None if label in ("epoch", "step") else number_of(value)
            if number is not None:
                rows, values = columns.setdefault(label, ([], []))
                rows.append(row)
                values.append(number)
    given = [[number_of(entry.get(label)) for entry in logged] for label in ("epoch", "step")]
    epochs, steps = (np.array([nan if number is None else number for number in numbers]) for numbers in given)
    cells = {label: Cells(np.array(rows, np.int64), np.array(values)) for label, (rows, values) in columns.items()}
    if np.isfinite(epochs).all() and (epochs == np.floor(epochs)).all():
        epochs = epochs - 1  # it counts those that are over
    return [recording_of(name_of(home), "Hugging Face trainer state", epochs, cells, [], steps)]
