"""Reader of skorch's history as JSON: a list with an object for each epoch, which also lists its batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any, Final

import numpy as np

from ....errors import SettingsError
from ...records import Recording
from ..log_file import LogFile
from ..numbers import parse_number
from ..reader import Reader, Source
from ..recording import build_recording
from ..rows import Table
from ..shared.plain_data import as_list, as_mapping
from .document import read_json

_SECONDS = "dur"
_COUNTED = ("_batch_count", "_batch_size")


def _epochs(content: object) -> list[Mapping[str, Any]]:
    return [as_mapping(each) for each in as_list(content)]


def _recognizes(file: LogFile) -> bool:
    if not file.text.lstrip().startswith("["):
        return False
    epochs = _epochs(file.document)
    return bool(epochs) and all({"batches", "epoch"} <= each.keys() for each in epochs)


def _read(source: Source) -> list[Recording]:
    table = Table()
    for epoch in _epochs(read_json(source.path)):
        numbers = ((label, parse_number(value)) for label, value in epoch.items() if not label.endswith(_COUNTED))
        table.add(numbers)
    if not table.count:
        raise SettingsError(f"{str(source.path)!r} has no epochs of a history of skorch")
    columns = {label: cells for label, cells in table.cells().items() if label not in ("epoch", _SECONDS)}
    found = build_recording(source.name, "skorch history", table.column("epoch"), columns, [])
    seconds = table.column(_SECONDS)
    timed = len(found.epochs) == table.count and bool(np.isfinite(seconds).all() and (seconds > 0).all())
    return [replace(found, times=np.array(list(accumulate(seconds)))) if timed else found]


READER: Final = Reader("skorch", _recognizes, _read)
