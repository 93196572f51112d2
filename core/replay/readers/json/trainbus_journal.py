"""Reader of trainbus journals, each with one or more runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .... import journal
from ....errors import JournalError, SettingsError
from ....metrics.names import is_validated
from ...records import Recording, Series
from ..columns import Column, align_by_epoch
from ..log_file import LogFile
from ..metric_names import check_metrics
from ..reader import Reader, Source
from ..rows import Table
from ..shared.settings_beside import flattened

_BEGIN = re.compile(rb'\s*\{[^\n]*"event"\s*:\s*"(begin|resumed)"')


def recognizes(file: LogFile) -> bool:
    """Return whether the first line is the beginning of a run."""
    return bool(_BEGIN.match(file.head))


def read(source: Source) -> list[Recording]:
    """Return the runs in a journal.

    Raises:
        SettingsError: The file is not a journal, or is damaged.
        OSError: The file cannot be read.
    """
    path = source.path
    try:
        runs = [run for run in journal.read(path) if run.epochs]
    except JournalError as error:
        raise SettingsError(str(error)) from None
    name = source.name
    names = [name] if len(runs) == 1 else [f"{name}#{number}" for number in range(1, len(runs) + 1)]
    return [_read_run(*each) for each in zip(names, runs, strict=True)]


def _read_run(name: str, run: journal.RunJournal) -> Recording:
    table = Table()
    for event in run.epochs:
        table.add(event.metrics.items())
    columns = table.cells()
    check_metrics(name, columns)
    epochs = np.array([event.epoch for event in run.epochs], np.int64)
    found = {label: Column(epochs[cells.rows], cells.values) for label, cells in columns.items()}
    all_epochs, metrics = align_by_epoch(found)
    times, steps = _ends(run), {event.epoch: event.step for event in run.epochs}
    ends = np.array([times[epoch] for epoch in all_epochs.tolist()])
    recording = Recording(
        name,
        all_epochs,
        metrics,
        ends,
        "trainbus journal",
        unit="validation" if run.by_steps else "epoch",
        steps=np.array([steps[epoch] for epoch in all_epochs.tolist()], np.int64),
        planned=_planned(run),
        settings=_settings(run),
    )
    return replace(recording, validations=_validations(run, recording, times))


def _validations(run: journal.RunJournal, recording: Recording, times: Mapping[int, float]) -> Recording | None:
    """Return the run with a row for each validation; None if some are not known."""
    if any(event.validations is None for event in run.epochs):
        return None
    each_row = recording.unit == "epoch" and not any(map(is_validated, recording.metrics))
    table, moments = Table(), list[tuple[int, int]]()
    for event in run.epochs:
        several = [(each.step, each.metrics) for each in event.validations or ()]
        for step, metrics in several or [(event.step, event.metrics)]:
            if several or each_row or any(map(is_validated, metrics)):  # an epoch may have none
                table.add(metrics.items())
                moments.append((event.epoch, step))
    found = dict[str, Series]()
    for label, (rows, values) in table.cells().items():
        found[label] = Series(np.full(table.count, np.nan), np.zeros(table.count, np.bool_))
        found[label].values[rows], found[label].logged[rows] = values, True
    epochs, steps = np.array(moments, np.int64).reshape(-1, 2).T
    ends = np.array([times[epoch] for epoch in epochs.tolist()])
    return replace(recording, epochs=epochs, metrics=found, times=ends, steps=steps)


def _settings(run: journal.RunJournal) -> dict[str, object]:
    """Return the hyperparameters, and the options of the callbacks by their names in the run."""
    begun = [each for each in run.events if isinstance(each, (journal.RunStarted, journal.RunResumed))]
    hparams = {name: value for event in begun for name, value in event.hparams.items()}
    options = {name: each.settings for name, each in run.callbacks.items() if each.callback not in ("", "Journal")}
    return flattened({**options, **hparams})


def _planned(run: journal.RunJournal) -> int | None:
    """Return the number of planned epochs or steps; None if it is unknown, or a resume has changed it."""
    begun = [each for each in run.events if isinstance(each, (journal.RunStarted, journal.RunResumed))]
    known = {each.planned_steps if run.by_steps else each.planned_epochs for each in begun}
    return known.pop() if len(known) == 1 else None


def _ends(run: journal.RunJournal) -> dict[int, float]:
    """Return when each epoch ended; the time between a run and its resume does not count."""
    ends, pause, last, resumed = dict[int, float](), 0.0, None, False
    for event in run.events:
        resumed = resumed or isinstance(event, journal.RunResumed)
        if isinstance(event, journal.EpochEnded):
            if resumed and last is not None:
                pause = event.time - event.seconds - last
            resumed, last = False, event.time - pause
            ends[event.epoch] = last
    return ends


READER = Reader("trainbus journals", recognizes, read, order=0)
