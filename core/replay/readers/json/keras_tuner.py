"""Reader of ``trial.json`` of KerasTuner: one trial of a search, with its hyperparameters."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any, Final, Literal

from ....errors import SettingsError
from ...records import Recording
from ..log_file import LogFile
from ..numbers import parse_number
from ..reader import Reader, Source
from ..recording import build_recording
from ..shared.judged import UNKNOWN, Judged, judged_by
from ..shared.plain_data import as_list, as_mapping
from ..shared.points import Points
from ..shared.settings_beside import flattened
from .document import read_json

_MODES: dict[str, Literal["min", "max"]] = {"min": "min", "max": "max"}
_HEAD = re.compile(r'\s*\{\s*"trial_id"\s*:')


def _recognizes(file: LogFile) -> bool:
    return bool(_HEAD.match(file.text))


def _read(source: Source) -> list[Recording]:
    trial = as_mapping(read_json(source.path))
    metrics = as_mapping(as_mapping(trial.get("metrics")).get("metrics"))
    points, executions = Points(), 1
    for name, observation in _observations(metrics):
        step, values = parse_number(observation.get("step")), _values(observation)
        if step is not None and values:
            executions = max(executions, len(values))
            points.add(name, step, fmean(values))
    steps, columns, notes = points.joined()
    if not columns:
        status = str(trial.get("status"))[:40]
        raise SettingsError(f"{str(source.path)!r}: the trial has no metrics; its status is {status!r}")
    if executions > 1:
        notes.append(f"Values are means over {executions} executions of the trial.")
    found = build_recording(source.name, "KerasTuner trial", steps, columns, notes)
    settings = flattened(as_mapping(trial.get("hyperparameters")).get("values"))
    return [judged_by(replace(found, settings=settings), *_judged(trial, metrics))]


def _observations(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, metric in metrics.items():
        for each in as_list(as_mapping(metric).get("observations")):
            yield name, as_mapping(each)


def _values(observation: Mapping[str, Any]) -> list[float]:
    """Return the value of each execution."""
    return [number for each in as_list(observation.get("value")) if (number := parse_number(each)) is not None]


def _judged(trial: Mapping[str, Any], metrics: Mapping[str, Any]) -> Judged:
    """Return the metric whose best value is the score of the trial, by which the search compares trials."""
    means: defaultdict[str, list[float]] = defaultdict(list)
    for name, observation in _observations(metrics):
        means[name] += [fmean(values)] if (values := _values(observation)) else []
    modes: dict[str, Literal["min", "max"]] = {}
    for name in means:
        mode = _MODES.get(str(as_mapping(metrics[name]).get("direction")))
        if mode is not None:
            modes[name] = mode
    best = {name: (min if mode == "min" else max)(means[name], default=None) for name, mode in modes.items()}
    named = [name for name in modes if best[name] is not None and best[name] == trial.get("score")]
    found = named if len(named) == 1 else list(modes)
    return (found[0], modes[found[0]]) if len(found) == 1 else UNKNOWN


READER: Final = Reader("KerasTuner", _recognizes, _read)
