"""Recordings of the runs below some paths, whatever wrote them."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from trainbus.errors import SettingsError

from .finding import find
from .metric_names import listed
from .recording import Recording

__all__ = ["read", "read_all"]

_Path: TypeAlias = "str | os.PathLike[str]"


def read(path: _Path) -> Recording:
    """What was recorded of one run.

    Args:
        path: a file, or the directory of the run; what wrote it is found out.

    Raises:
        SettingsError: nothing is there, or several runs, or what is there is damaged.
    """
    found = read_all(path)
    if len(found) > 1:
        raise SettingsError(
            f"{os.fspath(path)!r} has {len(found)} runs, {listed(each.name for each in found)}: "
            "name one of them, or read them all with read_all()"
        )
    return found[0]


def read_all(*paths: _Path, unread: Callable[[SettingsError], object] | None = None) -> list[Recording]:
    """What was recorded of all runs below some paths, each run once.

    A run that cannot be read does not hinder the others.

    Args:
        *paths: files or directories.
        unread: is given what is wrong with each run that cannot be read; by default that is said in a warning.

    Raises:
        SettingsError: nothing is at a path, or no run can be read.
    """
    if not paths:
        raise SettingsError("No path was given: name a file or a directory with recorded runs")
    failures: list[SettingsError] = []
    found: list[tuple[Path, Recording]] = []
    for path in dict.fromkeys(map(Path, paths)):
        for each in find(path):
            try:
                found += [(path, recording) for recording in each.read()]
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
    return sorted(_once(_told_apart(found)), key=lambda each: _natural(each.name))


def _told_apart(found: list[tuple[Path, Recording]]) -> list[Recording]:
    """Each with a name of its own: with the path that was asked for, and else its format, where two have the same."""
    names = Counter(each.name for _, each in found)
    full = [f"{path.as_posix()}/{each.name}" if names[each.name] > 1 else each.name for path, each in found]
    again, taken = Counter(full), Counter[str]()
    recordings: list[Recording] = []
    for name, (_, each) in zip(full, found, strict=True):
        name = f"{name} ({each.format})" if again[name] > 1 else name  # noqa: PLW2901
        taken[name] += 1
        name = f"{name} {taken[name]}" if taken[name] > 1 else name  # noqa: PLW2901
        recordings.append(each if name == each.name else replace(each, name=name))
    return recordings


def _natural(name: str) -> list[tuple[int, str]]:
    """version_2 before version_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _once(found: list[Recording]) -> list[Recording]:
    """Each run once, also where several formats tell of it: those hold the same numbers."""
    kept: dict[int, Recording] = {}
    holder: dict[tuple[str, bytes], int] = {}
    for place, each in enumerate(found):
        keys = {
            (name, series.values[series.logged].astype(np.float32).tobytes())
            for name, series in each.metrics.items()
            if len(np.unique(series.values[series.logged])) > 1 and not name.startswith("learning_rate")
        }
        first = next((holder[key] for key in keys if key in holder), None)
        if first is not None and kept[first].format != each.format:
            note = f"{each.name!r} ({each.format}) holds the same run, and is left out."
            kept[first] = replace(kept[first], notes=(*kept[first].notes, note))
            continue
        kept[place] = each
        holder |= {key: place for key in keys if key not in holder}
    return list(kept.values())
