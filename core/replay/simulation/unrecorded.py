"""What callbacks do where a record has nothing: the options that it cannot answer as a run does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trainbus import Callback, MonitoredCallback, SettingsError
from trainbus.metrics.names import is_learning_rate
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.plugins.comparison import ComparisonSettings
from trainbus.plugins.frequency import Frequency

from ..libraries.library import Library
from ..metric_choice import shortened_list
from ..records import Recording, units_of


def due_saves(callback: ModelCheckpoint, recording: Recording) -> NDArray[np.bool_] | None:
    """Return at the end of which rows a save is due; None if the callback may also save where nothing is recorded.

    Args:
        callback: The callback.
        recording: The run.
    """
    frequency = Frequency.parse(callback.save_freq)
    batches = recording.unit == "epoch" and recording.steps is not None and bool(recording.steps.any())
    if frequency.unit == "percent" and batches and callback.keep and callback.keep_last:
        return None  # it saves the last model when the last batch ends, and one to compare when the epoch ends
    if frequency.unit == "validation" and recording.validates_inside_epochs:
        return None
    return recording.due(frequency)


def refuse_looks(name: str, callback: MonitoredCallback, recordings: Sequence[Recording]) -> None:
    """Refuse a callback that looks where nothing is recorded.

    Args:
        name: The name of the callback in the message.
        callback: The callback.
        recordings: The runs.

    Raises:
        SettingsError: The callback looks there in one of the runs.
    """
    for why in _looks_elsewhere(callback, recordings):
        raise SettingsError(f"{name}: {why}; leave it out")


def unanswered(name: str, callback: MonitoredCallback, runs: Sequence[Recording]) -> Iterator[str]:
    """Yield a note for each option of a callback that a record cannot answer as a run does.

    Args:
        name: The name of the callback in the note.
        callback: The callback.
        runs: The runs.
    """
    if isinstance(callback, ModelCheckpoint):
        lacking = [each for each in runs if due_saves(callback, each) is None]
        frequency = Frequency.parse(callback.save_freq)
        found = _elsewhere(f"save_freq={callback.save_freq!r}", "save", frequency, lacking, runs)
        yield from (f"{name}: {each}." for each in found)
    yield from (f"{name}: {each}." for each in _looks_elsewhere(callback, runs))
    unsure = [each for each in runs if counts_rows(callback, each)]
    if unsure and isinstance(callback, ComparisonSettings):
        yield f"{name}: every={callback.every!r} counts each recorded value as one validation{_where(unsure, runs)}."
    if isinstance(callback, EarlyStopping):
        yield from _min_steps_notes(name, callback, runs)
    yield from _rate_notes(name, callback, runs)


def counts_rows(callback: MonitoredCallback, recording: Recording) -> bool:
    """Return whether the callback looks at validations, and the record may lack some.

    Args:
        callback: The callback.
        recording: The run.
    """
    at_validations = isinstance(callback, ComparisonSettings) and callback.frequency.unit == "validation"
    return at_validations and not recording.has_all_validations


def _looks_elsewhere(callback: MonitoredCallback, runs: Sequence[Recording]) -> Iterator[str]:
    if isinstance(callback, ComparisonSettings):
        lacking = [each for each in runs if each.due(callback.frequency) is None]
        yield from _elsewhere(f"every={callback.every!r}", "look", callback.frequency, lacking, runs)


def _elsewhere(
    option: str, acts: str, frequency: Frequency, lacking: Sequence[Recording], runs: Sequence[Recording]
) -> Iterator[str]:
    """Yield in words why a record cannot answer an option.

    Args:
        option: The option and its value.
        acts: What the callback does, as an infinitive.
        frequency: How often it does it.
        lacking: The runs whose record cannot answer it.
        runs: All runs.
    """
    in_shares = frequency.unit == "percent"
    unplanned = [each for each in lacking if in_shares and each.planned is None]
    others = [each for each in lacking if not in_shares or each.planned is not None]
    if unplanned:
        what = "epochs" if "epoch" in units_of(unplanned) else "steps"
        why = f"whose number is not recorded, or was changed by a resume{_where(unplanned, runs)}"
        yield f"{option} is a part of the planned {what}, {why}"
    if others:
        place = "inside epochs" if "epoch" in units_of(others) else "between validations"
        verb = f"may {acts}" if in_shares else f"{acts}s"
        yield f"{option} {verb} {place}{_where(others, runs)}, of which nothing is recorded"


def _where(some: Sequence[Recording], runs: Sequence[Recording]) -> str:
    return "" if len(some) == len(runs) else f" in {shortened_list([each.name for each in some])}"


def _min_steps_notes(name: str, callback: EarlyStopping, runs: Sequence[Recording]) -> Iterator[str]:
    """Yield a note on the runs in which ``min_steps`` cannot be honoured.

    Args:
        name: The name of the callback, for the note.
        callback: The callback.
        runs: The runs.
    """
    unknown = [each for each in runs if each.steps is None] if callback.min_steps else []
    if unknown:
        where = _where(unknown, runs)
        yield f"{name}: min_steps={callback.min_steps} is ignored{where}, since steps are not recorded."


def _rate_notes(name: str, callback: MonitoredCallback, runs: Sequence[Recording]) -> Iterator[str]:
    """Yield a note on the runs of which no learning rate is recorded, if the options say how far it is reduced.

    Args:
        name: The name of the callback, for the note.
        callback: The callback.
        runs: The runs.
    """
    given = callback.model_dump()
    limits = {option: given[option] for option in ("min_lr", "eps") if given.get(option)}
    unknown = [each for each in runs if not any(map(is_learning_rate, each.metrics))]
    if limits and "factor" in given and unknown:
        options = " and ".join(f"{option}={value}" for option, value in limits.items())
        end = "ends" if len(limits) == 1 else "end"
        where = _where(unknown, runs)
        yield f"{name}: the learning rate is not recorded{where}, so that {options} {end} no cuts there."


def limitations(
    named: Mapping[str, Callback],
    deciders: Mapping[str, MonitoredCallback],
    library: Library,
    runs: Sequence[Recording],
) -> Iterator[str]:
    """Yield a note for each fact that a replay leaves out or cannot determine.

    Args:
        named: All callbacks by name.
        deciders: Those that decide something.
        library: The library whose rules apply.
        runs: The runs.
    """
    others = [name for name in named if name not in deciders]
    if others:
        yield f"Only early stopping, checkpoints and plateaus are replayed, not {', '.join(others)}."
    for name, callback in deciders.items():
        yield from unanswered(name, callback, runs)
    if library.name != "trainbus" and any(isinstance(each, ModelCheckpoint) for each in deciders.values()):
        yield f"{library.title} has no ModelCheckpoint of its own here: checkpoints follow trainbus's rules."
    saving = library.checkpoints
    for name, callback in deciders.items():
        if saving is not None and isinstance(callback, saving.settings):
            whys = dict.fromkeys(saving.unanswered(callback, each) for each in runs)
            yield from (f"{name}: {why}." for why in whys if why is not None)
    if any(isinstance(each, EarlyStopping) for each in deciders.values()) or library.name != "torch":
        yield from library.notes
        yield from () if all(each.has_all_validations for each in runs) else library.epoch_notes
