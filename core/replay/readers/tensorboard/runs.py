"""Runs that were written as TensorBoard's event files: by Keras, Lightning, PyTorch, Hugging Face, trainbus, others."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ....errors import SettingsError
from ...records import Recording
from ..columns import Column, by_epoch, holding
from ..metric_names import STAGES, listed, metric_names
from .epochs import Steps, counted, guessed, marked
from .scalars import read as read_file

__all__ = ["grouped", "read"]

_EPOCH = re.compile(r"(?<=/)epoch_(?=.)")
_MARKS = {"epoch": (False, "event files with epochs"), "train/epoch": (True, "Hugging Face event files")}
"""Series that have the epoch, whether they count those that are over, and what writes so."""
_ASIDE = re.compile(r"(train/)?epoch$|hp_metric$|hparam/|training_decisions/|_hparams_/")
"""Series that are no metrics."""
_LIGHTNING = re.compile(r"^lr-|_step$|_epoch$|^hp_metric$")
_PLAIN = {"train", "training", "val", "valid", "validation"}
"""Stages that no run is called by itself."""


def grouped(files: Iterable[Path]) -> list[list[Path]]:
    """Event files that may belong together, by themselves.

    Those of one run are in "train" and "validation" of one directory, and where `add_scalars` has made directories.

    >>> [len(files) for files in grouped(map(Path, ["a/train/1", "a/validation/1", "b/1", "b/2", "b/loss_val/3"]))]
    [2, 3]
    """
    given = sorted(files)
    known = {file.parent for file in given}
    heads = {_staged(directory, known) for directory in known}
    groups: dict[Path, list[Path]] = {}
    for file in given:
        head = next(above for above in [*reversed(file.parent.parents), file.parent] if above in heads | known)
        groups.setdefault(head, []).append(file)
    return list(groups.values())


def read(files: Sequence[Path], name_of: Callable[[Path], str], steps_per_epoch: int | None = None) -> list[Recording]:
    """The runs in event files that may belong together.

    Args:
        files: what `grouped` has put together.
        name_of: what the run of a directory is called.
        steps_per_epoch: what tells epochs where the files do not; None guesses.

    Raises:
        SettingsError: a file is damaged, or no numbers are there.
        OSError: a file cannot be read.
    """
    known = {file.parent for file in files}
    runs: dict[Path, _Run] = {}
    for directory in sorted(known):
        notes: list[str] = []
        tags = _tags([file for file in files if file.parent == directory], notes)
        above = next((above for above in directory.parents if above in known), None)
        home = _staged(directory, known)
        if above is not None and tags and all(_part(directory.relative_to(above), tag) for tag in tags):
            # what `add_scalars` calls "val" of "Loss" is known as "Loss/val" elsewhere
            tags = {f"{tag}/{_part(directory.relative_to(above), tag)}": written for tag, written in tags.items()}
            home = above
        elif home != directory:
            tags = {f"{directory.name}/{tag}": written for tag, written in tags.items()}
        elif above is not None and all(len(written.steps) == 1 for written in tags.values()):
            notes = [f"{directory.relative_to(above).as_posix()!r} holds no curve, and is left out."]
            home, tags = above, {}
        run = runs.setdefault(home, _Run({}, []))
        run.tags.update(tags)
        run.notes.extend(notes)
    found = [_recording(name_of(home), *run, steps_per_epoch) for home, run in runs.items() if run.tags]
    if not found:
        raise SettingsError(f"{str(min(runs))!r} has event files, and no numbers in them")
    return found


class _Written(NamedTuple):
    """What was written of one tag, in that order."""

    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    values: NDArray[np.float64]


class _Run(NamedTuple):
    tags: dict[str, _Written]
    notes: list[str]


def _staged(directory: Path, known: Collection[Path]) -> Path:
    """The directory of the run of which this is the training or the validation; itself where it is none."""
    above, name = directory.parent, directory.name.lower()
    if name not in STAGES or above == directory:
        return directory
    beside = above in known or any(above / stage in known for stage in ("train", "training"))
    return above if name in _PLAIN or beside else directory


def _part(below: Path, tag: str) -> str:
    """Which part of a tag PyTorch's or tensorboardX's `add_scalars` keeps in this directory, empty for none.

    >>> _part(Path("Loss_val"), "Loss"), _part(Path("Loss/val"), "Loss"), _part(Path("b"), "Loss")
    ('val', 'val', '')
    """
    text = below.as_posix()
    for before in (tag.replace("/", "_") + "_", tag + "/"):
        if text.startswith(before):
            return text.removeprefix(before)
    return ""


def _tags(paths: Iterable[Path], notes: list[str]) -> dict[str, _Written]:
    """What holds still of all that the files of one directory have, by tag."""
    read = [read_file(path, notes) for path in sorted(paths)]
    # files that were copied may be named in another order than they were written in
    files = sorted(read, key=lambda file: float(file.times[0]) if file.times.size else 0.0)
    names = list(dict.fromkeys(name for file in files for name in file.names))
    place = {name: number for number, name in enumerate(names)}
    numbers = [np.array([place[name] for name in file.names], np.int64)[file.tags] for file in files]
    tags = np.concatenate(numbers)
    steps = np.concatenate([file.steps for file in files])
    times = np.concatenate([file.times for file in files])
    values = np.concatenate([file.values for file in files])
    holds = steps >= 0
    before = 0
    for file in files:
        for count, step in file.restarts:
            holds[: before + count] &= steps[: before + count] < step
        before += len(file.steps)
    found: dict[str, _Written] = {}
    for number, name in enumerate(names):
        which = np.flatnonzero((tags == number) & holds)
        which = which[holding(steps[which])]
        if which.size:
            found[name] = _Written(steps[which], times[which], values[which])
    void = before - sum(len(written.steps) for written in found.values())
    if void:
        notes.append(f"{void:,} numbers are left out, since the run went back behind their steps later.")
    return found


def _recording(name: str, tags: Mapping[str, _Written], notes: Sequence[str], steps_per_epoch: int | None) -> Recording:
    wanted, steps, words, said = _keras(tags) or _other(tags)
    told = [*notes, *said]
    naming = metric_names(wanted)
    told += naming.notes
    series = {called: tags[wanted[label]] for label, called in naming.names.items()}
    if steps is None and steps_per_epoch is not None:
        steps = counted(np.concatenate([written.steps for written in series.values()]), steps_per_epoch)
    if steps is None:
        steps = guessed({called: written.steps for called, written in series.items()})
    columns: dict[str, Column] = {}
    times: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    late, several = 0, list[str]()
    for called, written in series.items():
        if called in steps.others:
            continue
        epochs, inside = steps.of(written.steps)
        late += int((~inside).sum())
        if not epochs.size:
            continue
        columns[called] = Column(epochs, written.values[inside])
        times.append((epochs, written.times[inside]))
        if len(np.unique(epochs)) < len(np.unique(written.steps[inside])):
            several.append(called)
    told += [steps.note] if steps.note else []
    if steps.others:
        told.append(f"{listed(sorted(steps.others))}: over other steps than the rest, and left out.")
    if late:
        told.append(f"{late:,} numbers after the end of the last epoch are left out.")
    if several:
        told.append(f"{listed(several)}: several values an epoch, of which the last one is taken.")
    epochs, metrics = by_epoch(columns)
    ends = np.full(len(epochs), -np.inf)
    for at, when in times:
        np.maximum.at(ends, np.searchsorted(epochs, at), when)
    return Recording(name, epochs, metrics, ends if (ends > 0).all() else None, words, tuple(told))


_Reading: TypeAlias = tuple[dict[str, str], Steps | None, str, list[str]]
"""Label, from which a name is made, to tag; what steps are, where that is known; what wrote it; notes."""


def _keras(tags: Mapping[str, _Written]) -> _Reading | None:
    """As Keras writes: what its epochs have is called so, and the steps of that are epochs."""
    wanted = {_EPOCH.sub("", tag, count=1): tag for tag in tags if _EPOCH.search(tag)}
    if not wanted or not all(tag.split("/")[0].lower() in STAGES for tag in wanted.values()):
        return None
    every = np.unique(np.concatenate([tags[tag].steps for tag in wanted.values()]))
    return (
        wanted,
        Steps(every, every),
        "Keras event files",
        _left_out(tag for tag in tags if tag not in wanted.values()),
    )


def _other(tags: Mapping[str, _Written]) -> _Reading:
    """With a series that has the epoch at some steps, or without one."""
    wanted = {tag: tag for tag in tags if not _ASIDE.match(tag)}
    said = _left_out(tag for tag in tags if tag not in wanted and tag not in _MARKS)
    for mark, (ended, words) in _MARKS.items():
        if mark in tags:
            steps = marked(tags[mark].steps, tags[mark].values, ended=ended)
            if steps.ends.size:
                return wanted, steps, "Lightning event files" if any(map(_LIGHTNING.search, tags)) else words, said
    return wanted, None, "event files", said


def _left_out(tags: Iterable[str]) -> list[str]:
    given = list(tags)
    return [f"{listed(given)}: no metric of whole epochs, and left out."] if given else []
