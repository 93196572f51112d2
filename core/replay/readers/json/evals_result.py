"""Reader of evaluation results of XGBoost and LightGBM as JSON: ``{data set: {metric: [a value an iteration]}}``.

Both libraries stop early by the last data set that is not the training data. If it has no name of its own, as in
``validation_1`` of XGBoost and ``valid_0`` of LightGBM, its metrics are read as metrics of the validation.
"""

from __future__ import annotations

import re
from typing import Any, Final, cast

from ....errors import SettingsError
from ...axis import Unit
from ...records import Recording
from ..log_file import LogFile
from ..numbers import parse_number
from ..reader import Reader, Source
from ..recording import build_recording
from ..shared.plain_data import as_mapping
from ..shared.points import Points
from .document import read_json

_BOOSTING: tuple[str, Unit] = ("evaluation results of boosting", "iteration")
_SCRIPT: tuple[str, Unit] = ("JSON history by data set", "epoch")
_HEAD = re.compile(r'\s*\{\s*"[^"]+"\s*:\s*\{\s*"[^"]+"\s*:\s*\[\s*(-?\d|NaN|-?Inf)')
_DATA_SET = re.compile(r"(train|training|learn|val|valid|validation|eval|evaluation|test|dev)(_?\d+)?")
_NUMBERED = re.compile(r"(?:valid|validation)_\d+")
_EPOCHS = {"loss", "acc", "accuracy"}
"""Metrics of scripts that save such results of their own, with a value an epoch; no metric of boosting is called so."""
_LIGHTGBM = re.compile(r"training|valid_\d+")


def _recognizes(file: LogFile) -> bool:
    return bool(_HEAD.match(file.text)) and any(map(_DATA_SET.fullmatch, _results(file.document)))


def _results(content: object) -> dict[str, dict[str, list[Any]]]:
    """Return the results by data set and metric; empty if the content has another form."""
    results = {data_set: as_mapping(metrics) for data_set, metrics in as_mapping(content).items()}
    lists = [each for metrics in results.values() for each in metrics.values()]
    whole = all(results.values()) and all(isinstance(each, list) for each in lists)
    return cast("dict[str, dict[str, list[Any]]]", results) if whole and len(set(map(len, lists))) == 1 else {}


def _read(source: Source) -> list[Recording]:
    results = _results(read_json(source.path))
    if not results:
        words = "has no results of the form {data set: {metric: [a value an iteration]}} with lists of one length"
        raise SettingsError(f"{str(source.path)!r} {words}")
    first = 1 if any(map(_LIGHTGBM.fullmatch, results)) else 0  # LightGBM counts its iterations from 1
    judged = [data_set for data_set in results if _NUMBERED.fullmatch(data_set)][-1:]
    points = Points()
    for index, (data_set, metrics) in enumerate(results.items()):
        stage = "validation" if data_set in judged else f"data_{index}" if _NUMBERED.fullmatch(data_set) else data_set
        for metric, values in metrics.items():
            for place, value in enumerate(values, first):
                number = parse_number(value)
                if number is not None:
                    points.add(f"{stage}/{metric}", place, number)
    steps, columns, notes = points.joined()
    if judged:
        notes.append(f"{judged[0]!r} is read as the validation, by which XGBoost and LightGBM stop early.")
    boosted = bool(judged) or not any(name.lower() in _EPOCHS for metrics in results.values() for name in metrics)
    title, unit = _BOOSTING if boosted else _SCRIPT
    return [build_recording(source.name, title, steps, columns, notes, unit=unit)]


READER: Final = Reader("XGBoost and LightGBM", _recognizes, _read)
