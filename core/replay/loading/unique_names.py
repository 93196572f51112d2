"""Unique names of recorded runs."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ..records import Recording
from .same_run import Located


def uniquely_named(found: Collection[Located]) -> list[Recording]:
    """Return the recordings with unique names.

    To equal names is added what distinguishes them: the requested path, the format, the directory of the run, such as
    the id of a run of MLflow, or else a number.

    Args:
        found: The recordings, which may have equal names.

    Returns:
        The recordings in the order of their names.
    """
    named = [_Named(each, each.recording.name) for each in found]
    for refined in (_with_path, _with_format, _with_directory):
        groups: defaultdict[str, list[_Named]] = defaultdict(list)
        for one in named:
            groups[one.name].append(one)
        for group in groups.values():
            names = refined(group) if len(group) > 1 else []
            if len({*names}) > 1:
                for one, name in zip(group, names, strict=True):
                    one.name = name
    taken = Counter[str]()
    recordings: list[Recording] = []
    for one in named:
        taken[one.name] += 1
        name = f"{one.name} {taken[one.name]}" if taken[one.name] > 1 else one.name
        recording = one.located.recording
        recordings.append(recording if name == recording.name else replace(recording, name=name))
    return sorted(recordings, key=lambda each: _natural_order(each.name))


@dataclass
class _Named:
    """A recording and the name that it has so far."""

    located: Located
    name: str


def _with_path(group: Sequence[_Named]) -> list[str]:
    return [_name_with_path(each.located) for each in group]


def _with_format(group: Sequence[_Named]) -> list[str]:
    return [f"{each.name} ({each.located.recording.format})" for each in group]


def _with_directory(group: Sequence[_Named]) -> list[str]:
    """Return the names with the first directory that differs from run to run; the same names if there is none."""
    parts = zip(*(each.located.directory.resolve().parts for each in group), strict=False)
    own = next((names for names in parts if len({*names}) == len(group)), None)
    return [each.name if own is None else f"{each.name}#{own[number]}" for number, each in enumerate(group)]


def _name_with_path(found: Located) -> str:
    """Return the name of a run with the requested path, unless its name already contains this path."""
    path, directory, recording = found.requested, found.directory, found.recording
    own = path.resolve().name
    is_below = directory.name == own and directory != path and path.is_dir()
    rest = recording.name.removeprefix(own)
    if is_below or not recording.name.startswith(own) or rest[:1] not in ("", "#"):
        return f"{path.as_posix()}/{recording.name}"
    return f"{path.as_posix() if path.name else own}{rest}"


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts version_2 before version_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
