"""Reader of ``result.json`` of Ray Tune, Train and RLlib: a line with an object for each iteration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from ....errors import SettingsError
from ...records import Recording
from ..log_file import LogFile
from ..numbers import parse_number
from ..reader import Reader, Source
from ..recording import build_recording
from ..rows import Table
from ..shared.lines import whole_lines
from ..shared.plain_data import as_mapping
from ..shared.settings_beside import flattened

_ITERATION, _SETTINGS = "training_iteration", "config"
_SECONDS = "time_total_s"
_MARKS = ("trial_id", _SECONDS, "iterations_since_restore")
"""Keys of which Ray writes at least one in every result."""
_BOOKKEEPING = {"pid", "date", "done", "iterations_since_restore", "time_since_restore", "time_this_iter_s", "hostname"}
"""What Ray adds to each result, and which measures nothing."""


def _recognizes(file: LogFile) -> bool:
    first = file.text.partition("\n")[0]
    return first.startswith("{") and f'"{_ITERATION}":' in first and any(f'"{each}":' in first for each in _MARKS)


def _read(source: Source) -> list[Recording]:
    table, notes, settings = Table(), list[str](), dict[str, object]()
    for number, line in whole_lines(source.path, notes):
        result = _parsed(source, number, line)
        settings = settings or flattened(result.get(_SETTINGS))
        numbers = flattened({key: value for key, value in result.items() if key not in (_SETTINGS, *_BOOKKEEPING)})
        table.add((label, parse_number(value)) for label, value in numbers.items() if not isinstance(value, str))
        table.check_size(source.name, source.path, "results")
    columns = table.cells()
    if _ITERATION not in columns:
        raise SettingsError(f"{str(source.path)!r} has no complete result with 'training_iteration'")
    columns.pop(_ITERATION)
    columns.pop("timestamp", None)  # whole seconds, which do not rise from each result to the next
    if _SECONDS in columns:
        columns["time"] = columns.pop(_SECONDS)
    found = build_recording(source.name, "Ray results", table.column(_ITERATION), columns, notes, unit="iteration")
    return [replace(found, settings=settings)]


def _parsed(source: Source, number: int, line: str) -> Mapping[str, Any]:
    try:
        return as_mapping(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{str(source.path)!r}: line {number:,} is not a JSON object: {error}") from None


READER: Final = Reader("Ray", _recognizes, _read)
