"""Runs whose files tell one stage each: the training in one, the evaluations in another one beside it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..axis import AXES
from ..readers.metric_names import HELD_OUT, STAGES, standard_name
from ..records import Recording, Series
from .same_run import Located

_SEPARATOR: Final = re.compile(r"([-_. ]+)")


def with_evaluations(found: Sequence[Located]) -> list[Located]:
    """Return the runs, where those of files such as train.csv and val.csv in one directory are one run.

    The names of the files, or of the directories in which they lie, differ only in the word for the data, and the files
    count the same.

    Args:
        found: The recordings of files.

    >>> def located(name, metric, losses):
    ...     series = Series(np.array(losses), np.ones(len(losses), np.bool_))
    ...     run = Recording(name, np.arange(len(losses)), {metric: series}, format="CSV")
    ...     return Located(Path("a"), (Path("a", name),), run)
    >>> (run,) = with_evaluations([located("train.csv", "loss", [3.0, 2.0]), located("val.csv", "loss", [3.1, 2.1])])
    >>> list(run.recording.metrics), run.recording.notes
    (['loss', 'val_loss'], ("'val.csv' has the evaluations of this run: 'val_loss' is 'loss' there.",))
    """
    parts = defaultdict[Path, dict[str, list[int]]](lambda: defaultdict(list))
    runs_in = Counter(each.files[0] for each in found)
    for number, each in enumerate(found):
        if len(each.files) == 1 == runs_in[each.files[0]] and each.recording.validations is None:
            for rest, stage in _stages(each.files[0]):
                parts[rest][stage].append(number)
    kept: dict[int, Located] = dict(enumerate(found))
    for by_stage in parts.values():
        only = {stage: numbers[0] for stage, numbers in by_stage.items() if len(numbers) == 1}
        if "" not in only or only[""] not in kept:
            continue
        for stage in sorted(only.keys() - {""}, reverse=True):
            training, evaluation = kept[only[""]], kept.get(only[stage])
            joined = None if evaluation is None else _joined(training.recording, evaluation.recording, stage)
            if joined is not None:
                kept[only[""]] = training._replace(recording=joined)
                del kept[only[stage]]
    return [*kept.values()]


def _stages(file: Path) -> Iterator[tuple[Path, str]]:
    """Yield the path with a mark in place of the word for the data, and the prefix that the word stands for."""
    words = _SEPARATOR.split(file.stem.lower())
    of_data = [place for place, word in enumerate(words) if word in STAGES]
    if len(of_data) == 1:
        stage = STAGES[words[of_data[0]]]
        words[of_data[0]] = "*"
        yield file.with_name(f"{''.join(words)}{file.suffix}"), stage
    if file.parent.name.lower() in STAGES:
        yield file.parent.with_name("*") / file.name, STAGES[file.parent.name.lower()]


def _joined(training: Recording, evaluation: Recording, stage: str) -> Recording | None:
    """Return the run of which these are the parts; None if they count different things, or name one metric twice."""
    names = {
        name: name if name.startswith(HELD_OUT) else f"{stage}{standard_name(name)}" for name in evaluation.metrics
    }
    rates = {name for name in names if name.startswith("learning_rate")}
    names = {name: given for name, given in names.items() if name not in rates}
    ours, theirs = _places(training), _places(evaluation)
    apart = not ours.size or not theirs.size or ours[0] > theirs[-1] or theirs[0] > ours[-1]
    if training.unit != evaluation.unit or training.unit in ("validation", "evaluation") or apart:
        return None
    if not names or training.metrics.keys() & {*names.values()} or len({*names.values()}) < len(names):
        return None
    places = np.union1d(ours, theirs)
    metrics = {name: _at(series, ours, places) for name, series in training.metrics.items()}
    metrics |= {given: _at(evaluation.metrics[name], theirs, places) for name, given in names.items()}
    by_record = AXES[training.unit].by_steps
    return replace(
        training,
        epochs=np.arange(len(places)) if by_record else places,
        steps=places if by_record else None,
        metrics=metrics,
        times=training.times if len(places) == len(ours) else None,
        objective=training.objective or evaluation.objective,
        settings={**evaluation.settings, **training.settings},
        trained=frozenset(name for name in training.metrics if not name.startswith(HELD_OUT)),
        notes=(*training.notes, _note(evaluation, names)),
    )


def _note(evaluation: Recording, names: Mapping[str, str]) -> str:
    written, given = next(iter(names.items()))
    renamed = f": {given!r} is {written!r} there" if written != given else ""
    return f"{evaluation.name!r} has the evaluations of this run{renamed}."


def _places(recording: Recording) -> NDArray[np.int64]:
    by_record = AXES[recording.unit].by_steps and recording.steps is not None
    return recording.steps if by_record and recording.steps is not None else recording.epochs


def _at(series: Series, places: NDArray[np.int64], all_places: NDArray[np.int64]) -> Series:
    """Return a metric with a row for each of more places."""
    values, logged = np.full(len(all_places), np.nan), np.zeros(len(all_places), np.bool_)
    rows = np.searchsorted(all_places, places)
    values[rows], logged[rows] = series.values, series.logged
    return Series(values, logged)
