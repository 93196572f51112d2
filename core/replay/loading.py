"""Recordings of the runs below some paths, whatever wrote them."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from ..errors import SettingsError
from .readers.discovery import find
from .readers.metric_names import listed
from .records import Recording

__all__ = ["read", "read_all"]

_Path: TypeAlias = "str | os.PathLike[str]"


def read(path: _Path, *, steps_per_epoch: int | None = None) -> Recording:
    """What was recorded of one run.

    Args:
        path: a file, or the directory of the run; what wrote it is found out.
        steps_per_epoch: how many training steps an epoch has, for event files that do not tell it; None guesses, and a
            note of the recording says what.

    Raises:
        SettingsError: nothing is there, or several runs, or what is there is damaged; or no epoch has so few steps.
    """
    unread: list[SettingsError] = []
    found = read_all(path, unread=unread.append, steps_per_epoch=steps_per_epoch)
    for failure in unread:
        warnings.warn(f"A run is left out: {failure}", RuntimeWarning, stacklevel=2)
    if len(found) > 1:
        raise SettingsError(
            f"{os.fspath(path)!r} has {len(found)} runs, {listed(each.name for each in found)}: "
            "name one of them, or read them all with read_all()"
        )
    return found[0]


def read_all(
    *paths: _Path, unread: Callable[[SettingsError], object] | None = None, steps_per_epoch: int | None = None
) -> list[Recording]:
    """What was recorded of all runs below some paths, each run once.

    A run that cannot be read does not hinder the others.

    Args:
        *paths: files or directories.
        unread: is given what is wrong with each run that cannot be read; by default that is said in a warning.
        steps_per_epoch: as in `read`.

    Raises:
        SettingsError: nothing is at a path, or no run can be read; or no epoch has so few steps.
    """
    if not paths:
        raise SettingsError("No path was given: name a file or a directory with recorded runs")
    if steps_per_epoch is not None and steps_per_epoch < 1:
        raise SettingsError(f"steps_per_epoch={steps_per_epoch}: an epoch has at least one step; None guesses")
    failures: list[SettingsError] = []
    found: list[_Placed] = []
    for path in dict.fromkeys(map(Path, paths)):
        for each in find(path):
            try:
                found += [_Placed(path, each.files[0].parent, recording) for recording in each.read(steps_per_epoch)]
            except SettingsError as error:
                failures.append(error)
    if not found:
        more = f"; and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise SettingsError(f"{failures[0]}{more}") from None
    for failure in failures:
        if unread is None:
            warnings.warn(f"A run is left out: {failure}", RuntimeWarning, stacklevel=2)
        else:
            unread(failure)
    return sorted(_told_apart(_once(found)), key=lambda each: _natural(each.name))


class _Placed(NamedTuple):
    """A recording, and where it was found."""

    asked: Path
    directory: Path
    recording: Recording


def _told_apart(found: Collection[_Placed]) -> list[Recording]:
    """Each with a name of its own: with the path that was asked for, and else its format, where two have the same."""
    names = Counter(each.name for *_, each in found)
    full = [f"{path.as_posix()}/{each.name}" if names[each.name] > 1 else each.name for path, _, each in found]
    again, taken = Counter(full), Counter[str]()
    recordings: list[Recording] = []
    for name, (*_, each) in zip(full, found, strict=True):
        name = f"{name} ({each.format})" if again[name] > 1 else name  # noqa: PLW2901
        taken[name] += 1
        name = f"{name} {taken[name]}" if taken[name] > 1 else name  # noqa: PLW2901
        recordings.append(each if name == each.name else replace(each, name=name))
    return recordings


def _natural(name: str) -> list[tuple[int, str]]:
    """version_2 before version_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _once(found: list[_Placed]) -> list[_Placed]:
    """Each run once, also where several formats tell of it: those hold the same numbers.

    One value may be that of many runs. It tells of the same one where the one directory is in the other.
    """
    kept: list[_Placed] = []
    holders: dict[tuple[str, bytes, bytes], list[int]] = {}
    for each in found:
        keys = dict(_keys(each.recording))
        same = next(
            (
                place
                for key, distinct in keys.items()
                for place in holders.get(key, [])
                if kept[place].recording.format != each.recording.format
                and (distinct or _nested(kept[place].directory, each.directory))
            ),
            None,
        )
        if same is None:
            for key in keys:
                holders.setdefault(key, []).append(len(kept))
            kept.append(each)
        else:
            note = f"{each.recording.name!r} ({each.recording.format}) holds the same run, and is left out."
            first = kept[same].recording
            kept[same] = kept[same]._replace(recording=replace(first, notes=(*first.notes, note)))
    return kept


def _keys(recording: Recording) -> Iterator[tuple[tuple[str, bytes, bytes], bool]]:
    """What each metric was, as precisely as event files have it, and whether no two runs will have that."""
    for name, series in recording.metrics.items():
        if name.startswith("learning_rate") or not series.logged.any():
            continue
        with np.errstate(over="ignore"):
            values = series.values[series.logged].astype(np.float32)
        values[np.isnan(values)] = np.nan  # there are many
        epochs = recording.epochs[series.logged]
        yield (name, epochs.tobytes(), values.tobytes()), len(np.unique(values)) > 1


def _nested(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
