"""Reader of the runs in event files of Keras, Lightning, PyTorch, Hugging Face, trainbus and others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ....errors import SettingsError
from ...axis import AXES
from ...records import Recording
from ..columns import Column, align_by_epoch
from ..log_file import LogFile
from ..metric_names import HELD_OUT, STAGES, check_metrics, list_names, standard_names
from ..reader import Reader, Source
from .directory_runs import DirectoryRun, TagSeries, read_runs
from .epochs import EpochMap, epochs_from_length, epochs_from_series, evaluations_in_epochs, guess_epochs

_KERAS_EPOCH = re.compile(r"(?<=/)epoch_(?=.)")
_EPOCH_TAGS = {"epoch": (False, "event files with epochs"), "train/epoch": (True, "Hugging Face event files")}
"""Tags of a series of epochs, whether it counts completed epochs, and the format that has it."""
_NO_METRIC = re.compile(r"(train/)?epoch$|hp_metric$|hparam/|training_decisions/|_hparams_/")
_LIGHTNING = re.compile(r"^lr-|_step$|_epoch$|^hp_metric$")
_STAGE_ONLY = {"train", "training", "learn", "val", "valid", "validation"}
"""Directory names that always denote a stage, never a run."""


def recognizes(file: LogFile) -> bool:
    """Return whether the file is called as event files are; what it holds is checked when it is read."""
    return "tfevents" in file.path.name


def group(files: Iterable[Path]) -> list[list[Path]]:
    """Group event files that may record the same run.

    One run may write to "train" and "validation" in its directory, and to directories that ``add_scalars`` creates.

    >>> [len(files) for files in group(map(Path, ["a/train/1", "a/validation/1", "b/1", "b/2", "b/loss_val/3"]))]
    [2, 3]
    """
    given = sorted(files)
    known = {file.parent for file in given}
    tops = {_run_directory(directory, known) for directory in known} | known
    groups: dict[Path, list[Path]] = {}
    for file in given:
        top = next(above for above in [*reversed(file.parent.parents), file.parent] if above in tops)
        groups.setdefault(top, []).append(file)
    return list(groups.values())


def read(source: Source) -> list[Recording]:
    """Return the runs in event files that may belong together, one of the lists that ``group`` returns.

    If the files do not contain epochs, ``steps_per_epoch`` of the source is used, or they are guessed.

    Raises:
        SettingsError: A file is damaged, or the files contain no numbers.
        OSError: A file cannot be read.
    """
    files = source.files
    known = {file.parent for file in files}
    runs: dict[tuple[Path, int], DirectoryRun] = {}
    for directory in sorted(known):
        above = next((above for above in directory.parents if above in known), None)
        for number, (tags, notes) in enumerate(read_runs([file for file in files if file.parent == directory])):
            home = _run_directory(directory, known)
            if above is not None and tags and all(_subtag(directory.relative_to(above), tag) for tag in tags):
                # the series "val" of the tag "Loss" in `add_scalars` is "Loss/val" in other writers
                below = directory.relative_to(above)
                tags = {f"{tag}/{_subtag(below, tag)}": series for tag, series in tags.items()}  # noqa: PLW2901
                home = above
            elif home != directory:
                tags = {f"{directory.name}/{tag}": series for tag, series in tags.items()}  # noqa: PLW2901
            elif above is not None and all(len(series) == 1 for series in tags.values()):
                notes = [f"{directory.relative_to(above).as_posix()!r} has no curve and is left out."]  # noqa: PLW2901
                home, tags = above, {}  # noqa: PLW2901
            run = runs.setdefault((home, number), DirectoryRun({}, []))
            run.tags.update(tags)
            run.notes.extend(notes)
    several = {home for home, number in runs if number}
    found: list[Recording] = []
    for (home, number), run in runs.items():
        name = f"{source.name_of(home)}{f'#{number + 1}' if home in several else ''}"
        if run.tags:
            found.append(_build_recording(name, *run, source.steps_per_epoch))
    if not found:
        raise SettingsError(f"{str(min(runs)[0])!r} has event files, but no numbers in them")
    return found


def _run_directory(directory: Path, known: Collection[Path]) -> Path:
    """Return the directory of the run: the parent of a training or validation directory, else the directory itself."""
    above, name = directory.parent, directory.name.lower()
    if name not in STAGES or above == directory:
        return directory
    has_siblings = above in known or any(above / stage in known for stage in ("train", "training", "learn"))
    return above if name in _STAGE_ONLY or has_siblings else directory


def _subtag(below: Path, tag: str) -> str:
    """Return the part of a tag that PyTorch's or tensorboardX's ``add_scalars`` keeps in this directory, "" if none.

    >>> _subtag(Path("Loss_val"), "Loss"), _subtag(Path("Loss/val"), "Loss"), _subtag(Path("b"), "Loss")
    ('val', 'val', '')
    """
    text = below.as_posix()
    for prefix in (tag.replace("/", "_") + "_", tag + "/"):
        if text.startswith(prefix):
            return text.removeprefix(prefix)
    return ""


def _build_recording(
    name: str, tags: Mapping[str, TagSeries], notes: Sequence[str], steps_per_epoch: int | None
) -> Recording:
    check_metrics(name, tags)
    labels, epoch_map, title, tag_notes = _interpret_keras(tags) or _interpret_others(tags)
    naming = standard_names(labels)
    notes = [*notes, *tag_notes, *naming.notes]
    series = {standard: tags[labels[label]] for label, standard in naming.names.items()}
    if not series:
        return Recording(name, np.array([], np.int64), {}, None, title, tuple(notes))
    steps = {standard: each["step"] for standard, each in series.items()}
    if epoch_map is None and steps_per_epoch is not None:
        epoch_map = epochs_from_length(np.concatenate(list(steps.values())), steps_per_epoch)
    if epoch_map is not None:
        epoch_map = evaluations_in_epochs(
            epoch_map, [each for name, each in steps.items() if name.startswith(HELD_OUT)]
        )
    epoch_map = epoch_map or guess_epochs(steps)
    columns: dict[str, Column] = {}
    times: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    late, several = 0, list[str]()
    for standard, each in series.items():
        if standard in epoch_map.others:
            continue
        epochs, inside = epoch_map.map(each["step"])
        late += int((~inside).sum())
        if not epochs.size:
            continue
        columns[standard] = Column(epochs, each["value"][inside])
        times.append((epochs, each["time"][inside]))
        if len(np.unique(epochs)) < len(np.unique(each["step"][inside])):
            several.append(standard)
    if epoch_map.note:
        notes.append(epoch_map.note)
    if epoch_map.others:
        notes.append(f"{list_names(sorted(epoch_map.others))}: left out, since its steps count something else.")
    if late:
        notes.append(f"{late:,} numbers after the end of the last {AXES[epoch_map.unit].row} are left out.")
    if several:
        notes.append(f"{list_names(several)}: the last of several values in one {AXES[epoch_map.unit].row} is used.")
    epochs, metrics = align_by_epoch(columns)
    ends = np.full(len(epochs), -np.inf)
    for at, when in times:
        np.maximum.at(ends, np.searchsorted(epochs, at), when)
    counted = None
    if epoch_map.unit != "epoch":
        counted, epochs = epoch_map.ends[np.searchsorted(epoch_map.epochs, epochs)], np.arange(len(epochs))
    known = ends if (ends > 0).all() else None
    return Recording(name, epochs, metrics, known, title, tuple(notes), epoch_map.unit, counted, trained=naming.trained)


_Interpretation: TypeAlias = tuple[dict[str, str], EpochMap | None, str, list[str]]
"""Label (from which the name is derived) to tag; the epochs of the steps, if known; the format; notes."""


def _interpret_keras(tags: Mapping[str, TagSeries]) -> _Interpretation | None:
    """Interpret Keras's tags: the prefix "epoch_" marks metrics of epochs, and their steps are epoch numbers."""
    labels = {_KERAS_EPOCH.sub("", tag, count=1): tag for tag in tags if _KERAS_EPOCH.search(tag)}
    if not labels or not all(tag.split("/")[0].lower() in STAGES for tag in labels.values()):
        return None
    steps = np.unique(np.concatenate([tags[tag]["step"] for tag in labels.values()]))
    others = _note_left_out(tag for tag in tags if tag not in labels.values())
    return labels, EpochMap(steps, steps), "Keras event files", others


def _interpret_others(tags: Mapping[str, TagSeries]) -> _Interpretation:
    """Interpret the tags of other writers, with or without a series of epochs."""
    labels = {tag: tag for tag in tags if not _NO_METRIC.match(tag)}
    notes = _note_left_out(tag for tag in tags if tag not in labels and tag not in _EPOCH_TAGS)
    for epoch_tag, (completed, title) in _EPOCH_TAGS.items():
        if epoch_tag in tags:
            found = epochs_from_series(tags[epoch_tag]["step"], tags[epoch_tag]["value"], completed=completed)
            if found.ends.size:
                return labels, found, "Lightning event files" if any(map(_LIGHTNING.search, tags)) else title, notes
    return labels, None, "event files", notes


def _note_left_out(tags: Iterable[str]) -> list[str]:
    given = list(tags)
    return [f"{list_names(given)}: left out, not a metric of complete epochs."] if given else []


READER = Reader("TensorBoard event files", recognizes, read, group, order=20)
