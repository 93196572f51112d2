"""Reader of the logs of offline runs of Weights & Biases, ``run-*.wandb``.

The numbers of the fields are those of ``wandb_internal.proto``, which Weights & Biases never changes, so that a server
understands each version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, Literal

from ....errors import SettingsError
from ...records import Recording
from ..log_file import LogFile
from ..reader import Reader, Source
from ..rows import Table
from ..shared.judged import judged_by
from ..shared.protobuf import LENGTH, parse_fields, parse_varint
from ..shared.settings_beside import flattened
from ..table_recording import record_table
from .wandb_records import MAGIC, read_records

_HISTORY, _CONFIG, _METRIC, _RUN = 2, 5, 12, 17
_ITEM = _UPDATE = 1
_KEY, _NESTED_KEY, _VALUE = 1, 2, 16
_RUN_CONFIG, _RUN_NAME = 4, 8
_METRIC_NAME, _METRIC_GOAL = 1, 8
_GOALS: dict[int, Literal["min", "max"]] = {1: "min", 2: "max"}
_BOOKKEEPING = ("_runtime", "_wandb")
_SPECIAL = {"nan", "infinity", "-infinity"}


def _recognizes(file: LogFile) -> bool:
    return file.head.startswith(MAGIC)


def _read(source: Source) -> list[Recording]:
    try:
        return [_Log(source).recording()]
    except (ValueError, RecursionError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{str(source.path)!r} is damaged: {error}") from None


class _Log:
    """What the records of a run say."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.table, self.notes = Table(), list[str]()
        self.name = ""
        self.settings: dict[str, object] = {}
        self.goal: tuple[str, Literal["min", "max"]] | None = None
        for record in read_records(source.path, self.notes):
            for number, content in _messages(record):
                self._add(number, content)

    def _add(self, number: int, content: bytes) -> None:
        if number == _HISTORY:
            row = flattened(dict(_items(content, parse_int=float)))
            self.table.add(
                (label, _number(value)) for label, value in row.items() if not label.startswith(_BOOKKEEPING)
            )
            self.table.check_size(self.source.name, self.source.path, "rows")
        elif number == _CONFIG:
            self.settings |= dict(_items(content))
        elif number == _RUN:
            for field, value in _messages(content):
                if field == _RUN_CONFIG:
                    self.settings |= dict(_items(value))
                elif field == _RUN_NAME:
                    self.name = value.decode("utf-8", "replace")
        elif number == _METRIC:
            self._add_metric(content)

    def _add_metric(self, content: bytes) -> None:
        """Take the metric for which the script defined a goal, with ``define_metric(name, goal=...)``."""
        name, mode = "", None
        for field in parse_fields(content):
            if field.number == _METRIC_NAME:
                name = content[field.start : field.end].decode("utf-8", "replace")
            elif field.number == _METRIC_GOAL:
                mode = _GOALS.get(parse_varint(content, field.start, field.end)[0])
        if name and mode and self.goal is None:
            self.goal = name, mode

    def recording(self) -> Recording:
        """Return the run: over its epochs if it logged them, else over its steps, or those of Weights & Biases."""
        found = record_table(self.name or self.source.name, "offline Weights & Biases", self.table, self.notes)
        settings = flattened({key: value for key, value in self.settings.items() if key not in _BOOKKEEPING})
        found = replace(found, settings=settings)
        return found if self.goal is None else judged_by(found, *self.goal)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of each field that holds a message or a text."""
    for field in parse_fields(data):
        if field.kind == LENGTH:
            yield field.number, data[field.start : field.end]


def _items(data: bytes, parse_int: Callable[[str], float] = int) -> Iterator[tuple[str, Any]]:
    """Yield the items of a row of the history, or of the configuration."""
    for number, item in _messages(data):
        if number == _ITEM:
            keys, value = list[str](), b"null"
            for field, content in _messages(item):
                if field in (_KEY, _NESTED_KEY):
                    keys.append(content.decode("utf-8", "replace"))
                elif field == _VALUE:
                    value = content
            found = json.loads(value, parse_int=parse_int)
            if not (isinstance(found, dict) and "_type" in found):  # a picture, a table or a histogram
                yield "/".join(keys), found


def _number(value: object) -> float | None:
    """Return a number; texts are none, except those by which Weights & Biases writes what JSON does not have."""
    if isinstance(value, str) and value.lower() in _SPECIAL:
        return float(value)
    return value if isinstance(value, float) else None


READER: Final = Reader("Weights & Biases", _recognizes, _read)
