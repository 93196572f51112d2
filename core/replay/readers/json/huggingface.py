"""Reader of trainer_state.json, the log that Hugging Face's Trainer writes into each checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ....errors import SettingsError
from ...records import Recording
from ..log_file import LogFile
from ..numbers import parse_number
from ..reader import Reader, Source
from ..rows import Table
from ..shared.judged import UNKNOWN, Judged, judged_by
from ..shared.plain_data import as_list, as_mapping
from ..shared.settings_beside import flattened
from ..table_recording import record_table
from .document import read_json

_CHECKPOINT = re.compile(r"checkpoint-(\d+)$")
_EVALUATED = "eval_"
_SPEEDS = ("_runtime", "_per_second")
"""The ends of labels of what an evaluation took, which no trainer judges by."""
_SETTINGS = ("num_train_epochs", "max_steps", "train_batch_size", "eval_steps", "logging_steps", "save_steps")
"""The arguments of the trainer that its state repeats."""
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
    state = as_mapping(read_json(path))
    entries = map(as_mapping, as_list(state.get("log_history")))
    logged = [each for each in entries if each and _SUMMARY not in each]
    if not logged:
        raise SettingsError(f"{str(path)!r} has no entries in 'log_history'")
    table = Table()
    for entry in logged:
        table.add((label, parse_number(value)) for label, value in entry.items())
    name = source.name_of(_run_directory(path))
    found = record_table(name, "Hugging Face trainer state", table, [], completed=True)
    settings = {key: state[key] for key in _SETTINGS if key in state} | flattened(state.get("trial_params"))
    return [judged_by(replace(found, settings=settings), *_judged(state, logged))]


def _judged(state: Mapping[str, Any], logged: Sequence[Mapping[str, Any]]) -> Judged:
    """Return the metric for which the trainer recorded its best value: ``metric_for_best_model``, without its name.

    It is the one whose best value until the end of the record is that value; several such metrics name none.
    """
    best = parse_number(state.get("best_metric"))
    values: dict[str, list[float]] = {}
    for entry in logged:
        for label, value in entry.items():
            number = parse_number(value)
            if number is not None and label.startswith(_EVALUATED) and not label.endswith(_SPEEDS):
                values.setdefault(label, []).append(number)
    modes: dict[Literal["min", "max"], Callable[[Iterable[float]], float]] = {"min": min, "max": max}
    found: list[Judged] = [
        (label, mode)
        for label, numbers in values.items()
        for mode, best_of in modes.items()
        if best_of(numbers) == best and min(numbers) < max(numbers)
    ]
    return found[0] if len(found) == 1 else UNKNOWN


def _run_directory(file: Path) -> Path:
    return file.parent.parent if _CHECKPOINT.match(file.parent.name) else file.parent


READER = Reader("Hugging Face trainer states", recognizes, read, newest)
