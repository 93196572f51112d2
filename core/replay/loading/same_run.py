"""Recordings of the same run, which several files tell."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...metrics.names import is_validated
from ..axis import AXES
from ..records import Recording
from .rounded_copy import Printed

_CHECKPOINT: Final = re.compile(r"(checkpoint|step|epoch|ckpt)s?[-_]?\d+$", re.IGNORECASE)
"""The name of the directory of one checkpoint."""
_ENOUGH = 3
"""Different values of a metric that two files must have in common."""
_SHARE = 0.9
"""The part of the values in the shorter file that the other one must have, if both log at different moments."""


class Located(NamedTuple):
    """A recording, the path by which it was requested, and the files that were read together for it."""

    requested: Path
    files: tuple[Path, ...]
    recording: Recording

    @property
    def directory(self) -> Path:
        """The directory of these files."""
        return self.files[0].parent

    @property
    def root(self) -> Path:
        """The directory of the run: that of the files, or the one in which it saves its checkpoints."""
        directory = self.directory
        return directory.parent if _CHECKPOINT.match(directory.name) else directory


_Key: TypeAlias = tuple[str, bytes]


def each_run_once(found: Sequence[Located]) -> list[Located]:
    """Return each run once, even if several formats record it; recordings of one run contain the same numbers.

    A metric with a single distinct value may be equal in many runs, and one format may have more of the values than
    another. So such recordings are one run only if the directory of one contains the directory of the other. Two files
    of one format are one run only if they are copies in one directory.

    Args:
        found: The recordings, in the order in which they are preferred.
    """
    if len(found) < 2:
        return [*found]
    kept: list[Located] = []
    holders: dict[_Key, list[int]] = {}
    places = _Places()
    for each in found:
        keys = dict(_keys(each.recording))
        alike = ((index, distinct) for key, distinct in keys.items() for index in holders.get(key, []))
        same = next((index for index, distinct in alike if _is_same(kept[index], each, distinct=distinct)), None)
        if same is None:
            similar = (index for key in _ends(each.recording) for index in holders.get(key, []))
            same = next((index for index in dict.fromkeys(similar) if _overlap(kept[index], each)), None)
        if same is None:
            same = places.rounded(each)
        if same is None:
            places.add(each, len(kept))
            for key in (*keys, *_ends(each.recording)):
                holders.setdefault(key, []).append(len(kept))
            kept.append(each)
            continue
        first, other = kept[same].recording, each.recording
        shorter_name = first.format == other.format and len(other.name) < len(first.name)  # the directory, not a time
        if shorter_name or _goes_on(first, other):
            first, other = other, first
        note = f"{other.name!r} ({other.format}) records the same run and is left out."
        kept[same] = kept[same]._replace(recording=_completed(first, other, note))
    return kept


class _Places:
    """The runs by the directories in which they lie, to find one whose numbers another file has rounded."""

    def __init__(self) -> None:
        self._at: defaultdict[Path, list[_Placed]] = defaultdict(list)
        self._below: defaultdict[Path, list[_Placed]] = defaultdict(list)

    def add(self, run: Located, number: int) -> None:
        """Add a run by its number."""
        placed = _Placed(number, run.recording.format, Printed(run.recording))
        self._at[run.root].append(placed)
        for above in run.root.parents:
            self._below[above].append(placed)

    def rounded(self, run: Located) -> int | None:
        """Return the number of a run of another format, beside this one, above or below, that has the same numbers."""
        printed = Printed(run.recording)
        near = chain(self._at[run.root], self._below[run.root], *(self._at[above] for above in run.root.parents))
        others = (each for each in near if each.format != run.recording.format)
        return next((each.number for each in others if each.printed.tells_the_run_of(printed)), None)


class _Placed(NamedTuple):
    number: int
    format: str
    printed: Printed


def _goes_on(first: Recording, other: Recording) -> bool:
    """Return whether a recording of the same run ends later, and has the same evaluations."""
    if first.unit != other.unit or not len(first.epochs) or not len(other.epochs):
        return False
    (end, row), (other_end, other_row) = (
        (int(each.steps[-1]) if AXES[each.unit].by_steps and each.steps is not None else 0, int(each.epochs[-1]))
        for each in (first, other)
    )
    later = other_end >= end and other_row >= row and (other_end, other_row) != (end, row)
    return later and {name for name in first.metrics if is_validated(name)} <= other.metrics.keys()


def _completed(kept: Recording, other: Recording, note: str) -> Recording:
    """Return a recording with what only another one of the same run says about the run."""
    objective = kept.objective
    if objective is None and other.objective is not None and other.objective.metric in kept.metrics:
        objective = other.objective
    settings = kept.settings or other.settings
    return replace(kept, notes=(*kept.notes, note), objective=objective, settings=settings)


def _is_same(one: Located, other: Located, *, distinct: bool) -> bool:
    """Return whether two recordings with an equal metric are of one run."""
    if one.recording.format == other.recording.format:
        beside = one.directory == other.directory and one.files != other.files
        return beside and distinct and _are_copies(one.recording, other.recording)
    if not (distinct or _nested(one.root, other.root)):
        return False
    return not _contradict(_values(one.recording), _values(other.recording))


def _are_copies(one: Recording, other: Recording) -> bool:
    """Return whether two recordings have exactly the same numbers, and enough of them."""
    if one.metrics.keys() != other.metrics.keys() or len(one.epochs) != len(other.epochs):
        return False
    pairs = [(one.metrics[name].values, other.metrics[name].values) for name in one.metrics]
    equal = all(np.array_equal(values, others, equal_nan=True) for values, others in pairs)
    return equal and any(np.unique(values[np.isfinite(values)]).size >= _ENOUGH for values, _ in pairs)


def _overlap(one: Located, other: Located) -> bool:
    """Return whether recordings of different formats, one beside or below the other, have most values in common."""
    if one.recording.format == other.recording.format or not _nested(one.root, other.root):
        return False
    mine, others = _values(one.recording), _values(other.recording)
    enough = any(min(mine[name].size, others[name].size) >= _ENOUGH for name in mine.keys() & others.keys())
    return enough and not _contradict(mine, others)


def _contradict(mine: Mapping[str, NDArray[np.float32]], others: Mapping[str, NDArray[np.float32]]) -> bool:
    """Return whether a metric of both has too many values that only one of them has."""
    for name in mine.keys() & others.keys():
        few, many = sorted((mine[name], others[name]), key=len)
        if np.isin(few, many).mean() < _SHARE:
            return True
    return False


def _values(recording: Recording) -> dict[str, NDArray[np.float32]]:
    """Return the different finite values of each metric, in single precision, as event files store them."""
    found = dict[str, NDArray[np.float32]]()
    for name, (values, _) in recording.metrics.items():
        if name.startswith("learning_rate"):
            continue
        with np.errstate(over="ignore"):
            different = np.unique(values[np.isfinite(values)].astype(np.float32))
        if different.size > 1:
            found[name] = different
    return found


def _keys(recording: Recording) -> Iterator[tuple[_Key, bool]]:
    """Yield a key of each metric, and whether its values identify the run; they are in single precision."""
    for name, series in recording.metrics.items():
        if name.startswith("learning_rate") or not series.logged.any():
            continue
        with np.errstate(over="ignore"):
            values = series.values[series.logged].astype(np.float32)
        values[np.isnan(values)] = np.nan  # NaN has many bit patterns
        yield (name, values.tobytes()), len(np.unique(values)) > 1


def _ends(recording: Recording) -> Iterator[_Key]:
    """Yield a key of the first and of the last value of each metric, which another file of the run most likely has."""
    for (name, values), _ in _keys(recording):
        size = np.dtype(np.float32).itemsize
        yield from ((f"first {name}", values[:size]), (f"last {name}", values[-size:]))


def _nested(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
