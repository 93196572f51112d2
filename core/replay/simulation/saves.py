"""The files that checkpoint callbacks would have written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf, nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainbus import MonitoredCallback
from trainbus.checkpoints.names.filename_template import render, template_fields
from trainbus.metrics.names import is_validated, resolve
from trainbus.plugins import ModelCheckpoint
from trainbus.plugins.frequency import EVERY_EPOCH, Frequency
from trainbus.rules import Best, Kept, best_rule, retention_rule

from ..libraries.checkpoints.saver import Comparison, FileChange, Moment
from ..libraries.library import Library
from ..libraries.precision import single
from ..metric_choice import MetricChoice
from ..records import Recording, SavedFile, SimulatedAction
from .stepped_stops import Look, look_at
from .unrecorded import due_saves


class SavedFiles(NamedTuple):
    """What a checkpoint callback does in one run."""

    actions: list[SimulatedAction]
    """Saves and removals."""
    files: tuple[SavedFile, ...]
    """The files at the stop."""


def simulate_saves(
    name: str,
    callback: ModelCheckpoint,
    recording: Recording,
    choice: MetricChoice | None,
    until: int,
    tie_breaker: MetricChoice | None = None,
) -> SavedFiles:
    """Return the saves and removals up to the epoch ``until``, and the files that there are then.

    The rules are those of the live callback. There are none if it may save where nothing is recorded.
    """
    frequency = Frequency.parse(callback.save_freq)
    due = due_saves(callback, recording)
    if due is None:
        return SavedFiles([], ())
    if frequency.unit == "validation":
        due &= recording.validated
    waits, waiting = callback.monitors(), False
    saves_last = recording.unit == "validation" and callback.keep_last is not None and not callback.save_best_only
    saves_now = frequency.in_epochs or saves_last
    monitor = choice.name_in(recording) if choice is not None else None
    sign = choice.sign if choice is not None else 1
    second_name = tie_breaker.name_in(recording) if tie_breaker is not None else None
    ties = callback.ties == "newer"
    threshold = callback.initial_value_threshold
    best = Best() if threshold is None else Best(sign * threshold)
    kept: tuple[Kept, ...] = ()
    actions: list[SimulatedAction] = []
    files: dict[str, int] = {}
    scores: dict[str, float] = {}
    for index, epoch in enumerate(recording.epochs.tolist()):
        if epoch > until or not (due[index] or waiting):
            continue
        value, other = _value_at(recording, monitor, index), _value_at(recording, second_name, index)
        waiting = waits and value is None
        if waiting and not (due[index] and saves_now):
            continue  # the save that is due comes with the next value
        second = -inf if tie_breaker is None or other is None else tie_breaker.sign * other
        if callback.save_best_only:
            if value is None:
                continue
            best, improved = best_rule(best, sign * value, epoch, second=second, ties=ties)
            if not improved:
                continue
        path = _file_name(callback.filepath, recording, index)
        forgotten: tuple[str, ...] = ()
        if callback.keep or callback.keep_last:
            new = Kept(path, epoch, epoch, nan if value is None else sign * value, second)
            counts = {"best": callback.keep or 0, "last": callback.keep_last or 0}
            kept, verdict = retention_rule(kept, new, **counts, ties=ties)
            if not verdict.save:
                continue
            forgotten = verdict.forget
        actions.append(SimulatedAction(epoch, name, "save", epoch))
        actions += [SimulatedAction(epoch, name, "forget", files.pop(old)) for old in forgotten]
        files[path] = epoch
        scores[path] = -inf if value is None else sign * value
    best_file = max(files, key=lambda path: (scores[path], -files[path])) if waits and files else None
    return SavedFiles(actions, _listed(files, best_file))


def simulate_library_saves(
    name: str,
    callback: MonitoredCallback,
    library: Library,
    recording: Recording,
    choice: MetricChoice | None,
    stop: tuple[int, float] | None,
) -> SavedFiles:
    """Do the same by the rules of a library.

    Args:
        name: The name of the callback.
        callback: Its settings.
        library: The library, which has such a callback.
        recording: The run.
        choice: The metric that is compared, if any is.
        stop: The moment of the stop; None if nothing stops the run.
    """
    assert library.checkpoints is not None
    if library.checkpoints.unanswered(callback, recording) is not None:
        return SavedFiles([], ())
    rows = recording.at(library.looks)
    frequency = library.looks if recording.validations is not None else EVERY_EPOCH
    monitor = choice.name_in(rows) if choice is not None else None
    values = np.empty(0) if monitor is None else rows.metrics[monitor].values[rows.metrics[monitor].logged]
    double = bool((np.isfinite(values) & (single(values) != values)).any())
    saver = library.checkpoints.saver(callback, Comparison(1 if choice is None else choice.sign, double))
    validated = _validated(rows)
    actions, files, links = list[SimulatedAction](), dict[str, int](), dict[str, str]()
    last: Look | None = None

    def record(look: Look, changes: Iterable[FileChange]) -> None:
        for change in changes:
            epoch = files.pop(change.path, look.epoch)
            actions.append(look.action(name, "forget" if change.removed else "save", epoch if change.removed else None))
            links.pop(change.path, None)
            if not change.removed:
                files[change.path] = look.epoch
            if change.link is not None:
                links[change.path] = change.link

    for row in range(len(rows.epochs)):
        look = look_at(rows, row, frequency)
        if stop is not None and look.moment > stop:
            break
        logged = {label: float(each.values[row]) for label, each in rows.metrics.items() if each.logged[row]}
        step = look.epoch + 1 if rows.steps is None else look.step
        moment = Moment(look.epoch, step, logged, logged.get(monitor or ""), bool(validated[row]))
        record(look, saver.save(moment))
        last = look
    if stop is not None and last is not None:
        record(last, saver.finish())
        if getattr(callback, "load_best_model_at_end", False) and saver.best in files:
            actions.append(last.action(name, "restore", files[saver.best]))
    for path, target in links.items():
        epoch = files.pop(path)
        if target in files:  # a link to a file that was removed leads nowhere
            files[path] = files[target] if target != path else epoch
    return SavedFiles(actions, _listed(files, saver.best))


def _listed(files: Mapping[str, int], best: str | None) -> tuple[SavedFile, ...]:
    """Return files by rising epoch."""
    found = (SavedFile(path, epoch, path == best) for path, epoch in files.items())
    return tuple(sorted(found, key=lambda each: each.epoch))


def _validated(rows: Recording) -> NDArray[np.bool_]:
    """Return which rows log a validation metric; all if none does."""
    logged = [each.logged for label, each in rows.metrics.items() if is_validated(label) and each.logged.any()]
    return np.logical_or.reduce(logged) if logged else np.ones(len(rows.epochs), np.bool_)


def _value_at(recording: Recording, name: str | None, index: int) -> float | None:
    """Return the value of a metric at an index of the recording; None if it was not logged."""
    series = recording.metrics[name] if name is not None else None
    return float(series.values[index]) if series is not None and series.logged[index] else None


def _file_name(template: str, recording: Recording, index: int) -> str:
    """Return the file name of an epoch; a field that is not recorded is the same in all file names of the run."""
    epoch = int(recording.epochs[index])
    values: dict[str, float | str] = {
        "run": "{run}",
        "part": "{part}",
        "epoch": epoch + 1,
        "epoch0": epoch,
        "step": epoch + 1 if recording.steps is None else int(recording.steps[index]),
        "batch": 0,
    }
    for name in template_fields(template):
        if name not in values:
            value = _value_at(recording, resolve(name, recording.metrics), index)
            values[name] = nan if value is None else value
    return render(template, values, lambda _: None)  # as in a run, which reports a value that does not fit its format
