"""Reader of ``catboost_info``, in which CatBoost records the metrics of its iterations on all data sets of one run.

``catboost_training.json`` names each metric and whether lower or higher is better. Where it is missing, the tables
``learn_error.tsv`` and ``test_error.tsv`` have the same numbers. CatBoost judges by the first metric of the last test
data, as its overfitting detector does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from ....errors import SettingsError
from ....limits import JSON_BYTES
from ...records import Recording
from ..log_file import LogFile
from ..reader import Reader, Source
from ..recording import build_recording
from ..shared.judged import UNKNOWN, Judged, judged_by
from ..shared.lines import whole_lines
from ..shared.plain_data import as_list, as_mapping
from ..shared.points import Points

_HISTORY = "catboost_training.json"
_EVENTS = re.compile(r"learn|test\d*")
"""The directories of event files, one for each data set."""
_META = re.compile(r'\s*\{\s*"meta"\s*:\s*\{[^\n]*"learn_metrics"\s*:\s*\[')
_ERRORS = re.compile(r"(learn|test)_error")
_DATA_SET = re.compile(r"(.+):(\d+)$")
_MODES: dict[str, Literal["min", "max"]] = {"Min": "min", "Max": "max"}


def _recognizes(file: LogFile) -> bool:
    if "tfevents" in file.path.name:
        return bool(_EVENTS.fullmatch(file.path.parent.name)) and (file.path.parents[1] / _HISTORY).is_file()
    if file.path.suffix == ".tsv":
        return bool(_ERRORS.match(file.path.stem)) and file.text.startswith("iter\t")
    return bool(_META.match(file.text))


def _group(files: Sequence[Path]) -> Iterable[Sequence[Path]]:
    runs: dict[Path, list[Path]] = {}
    for file in files:
        events = "tfevents" in file.name  # they have the same numbers in single precision
        runs.setdefault(file.parents[1] if events else file.parent, []).extend([] if events else [file])
    return runs.values()


def _read(source: Source) -> list[Recording]:
    directory, points, notes = source.path.parent, Points(), list[str]()
    history = next((file for file in source.files if file.suffix != ".tsv"), None)
    judged = UNKNOWN
    if history is not None:
        judged = _read_history(history, points, notes)
    else:
        for file in source.files:
            _read_errors(file, points, notes)
    steps, columns, more = points.joined()
    name = source.name_of(directory)
    found = build_recording(name, "CatBoost", steps, columns, [*notes, *more], unit="iteration")
    return [judged_by(found, *judged)]


def _read_history(path: Path, points: Points, notes: list[str]) -> Judged:
    content = _parsed(path, notes)
    meta = as_mapping(content.get("meta"))
    metrics = {kind: [as_mapping(each) for each in as_list(meta.get(f"{kind}_metrics"))] for kind in ("learn", "test")}
    for row in map(as_mapping, as_list(content.get("iterations"))):
        place = row.get("iteration")
        if not isinstance(place, float):
            raise SettingsError(f"{str(path)!r} has an iteration without the number 'iteration'")
        passed = row.get("passed_time")
        seconds = passed if isinstance(passed, float) else None
        for data_set, values in row.items():
            named = metrics["learn" if data_set.startswith("learn") else "test"]
            for metric, value in zip(named, as_list(values), strict=False):
                if isinstance(value, float):
                    points.add(f"{data_set}/{metric.get('name')}", place, value, seconds)
    return _judged(metrics, as_list(meta.get("test_sets")))


def _judged(metrics: Mapping[str, Sequence[Mapping[str, Any]]], test_sets: Sequence[object]) -> Judged:
    """Return the first metric of the last test data, or else of the training data, and its direction."""
    tested = bool(test_sets) and bool(metrics["test"])
    data_set = str(test_sets[-1]) if tested else "learn"
    judged = as_mapping(next(iter(metrics["test" if tested else "learn"]), None))
    return f"{data_set}/{judged.get('name')}", _MODES.get(str(judged.get("best_value")))


def _parsed(path: Path, notes: list[str]) -> Mapping[str, Any]:
    """Return the content; CatBoost writes an iteration a line, and the end only after the last one."""
    size = path.stat().st_size
    if size > JSON_BYTES:
        raise SettingsError(f"{str(path)!r} has {size:,} bytes; a training history has at most {JSON_BYTES:,}")
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return as_mapping(json.loads(text, parse_int=float))
    except (ValueError, RecursionError):
        pass
    try:
        found = as_mapping(json.loads(text[: text.rfind("}") + 1] + "]}", parse_int=float))
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{str(path)!r} is not JSON of CatBoost, or is damaged: {error}") from None
    notes.append(f"{path.name} ends inside the training, as after a killed run.")
    return found


def _read_errors(path: Path, points: Points, notes: list[str]) -> None:
    """Read a table; of several sets of test data, those before the last have a number after the metric."""
    kind = path.stem.split("_")[0]
    lines = whole_lines(path, notes)
    header = next(lines, (1, ""))[1].split("\t")[1:]
    numbered = [(found[1], int(found[2])) if (found := _DATA_SET.match(label)) else (label, -1) for label in header]
    last = 1 + max((number for _, number in numbered), default=-1)
    labels = [f"{kind}{(last if number < 0 else number) or ''}/{metric}" for metric, number in numbered]
    for number, line in lines:
        cells = line.split("\t")
        try:
            place, *values = map(float, cells)
            for label, value in zip(labels, values, strict=True):
                points.add(label, place, value)
        except ValueError:
            words = f"does not have the {1 + len(labels)} numbers of the first line"
            raise SettingsError(f"{str(path)!r}: line {number:,} {words}: {line[:80]!r}") from None


READER: Final = Reader("CatBoost", _recognizes, _read, _group)
