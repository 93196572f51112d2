"""Unique names of recorded runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from ..records import Recording
from .same_run import Located


def uniquely_named(found: Collection[Located]) -> list[Recording]:
    """Return the recordings with unique names; to equal names, add the path, then the format, then a number.

    Args:
        found: The recordings, which may have equal names.

    Returns:
        The recordings in the order of their names.
    """
    names = Counter(each.name for *_, each in found)
    full = [_name_with_path(each) if names[each.recording.name] > 1 else each.recording.name for each in found]
    repeated, taken = Counter(full), Counter[str]()
    recordings: list[Recording] = []
    for name, (*_, each) in zip(full, found, strict=True):
        name = f"{name} ({each.format})" if repeated[name] > 1 else name  # noqa: PLW2901
        taken[name] += 1
        name = f"{name} {taken[name]}" if taken[name] > 1 else name  # noqa: PLW2901
        recordings.append(each if name == each.name else replace(each, name=name))
    return sorted(recordings, key=lambda each: _natural_order(each.name))


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
