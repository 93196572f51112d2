"""Reader of trainer_state.json, the log that Hugging Face's Trainer writes into each checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from ....errors import SettingsError
from ...records import Recording
from ..log_file import LogFile
from ..numbers import parse_number
from ..reader import Reader, Source
from ..rows import Table
from ..table_recording import record_table
from .document import read_json

_CHECKPOINT = re.compile(r"checkpoint-(\d+)$")
_SUMMARY = "train_runtime"
"""A key of the last entry, which summarizes the run."""


def recognizes(file: LogFile) -> bool:
    """Return whether the beginning has the list of what the trainer logged."""
    return file.text.lstrip().startswith("{") and '"log_history"' in file.text


def newest(files: Iterable[Path]) -> list[list[Path]]:
    """Return only the newest file of each run, since it also contains the data of older checkpoints.

    >>> [file.as_posix() for [file] in newest(map(Path, ["a/checkpoint-9/x", "a/checkpoint-10/x", "b/x"]))]
    ['a/checkpoint-10/x', 'b/x']
    """
    found: dict[Path, tuple[float, Path]] = {}
    for file in files:
        checkpoint = _CHECKPOINT.match(file.parent.name)
        # a file next to the checkpoints is written at the end of the run
        order = float(checkpoint[1]) if checkpoint else float("inf")
        directory = _run_directory(file)
        found[directory] = max(found.get(directory, (-1.0, file)), (order, file))
    return [[file] for _, file in found.values()]


def read(source: Source) -> list[Recording]:
    """Return the run of a trainer.

    Raises:
        SettingsError: The trainer has logged nothing.
        OSError: The file cannot be read.
    """
    path = source.path
    content = read_json(path)
    history: Any = cast("dict[str, Any]", content).get("log_history") if isinstance(content, dict) else None
    entries: list[Any] = history if isinstance(history, list) else []  # pyright: ignore[reportUnknownVariableType]
    logged = [cast("dict[str, Any]", each) for each in entries if isinstance(each, dict) and _SUMMARY not in each]
    if not logged:
        raise SettingsError(f"{str(path)!r} has no entries in 'log_history'")
    table = Table()
    for entry in logged:
        table.add((label, parse_number(value)) for label, value in entry.items())
    name = source.name_of(_run_directory(path))
    return [record_table(name, "Hugging Face trainer state", table, [], completed=True)]


def _run_directory(file: Path) -> Path:
    return file.parent.parent if _CHECKPOINT.match(file.parent.name) else file.parent


READER = Reader("Hugging Face trainer states", recognizes, read, newest)
