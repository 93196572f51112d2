"""The file that keeps a state for inspection: the fields of its name, and whether a resume would find it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from itertools import product
from pathlib import Path

from trainbus import Run
from trainbus.capabilities import Saveable, Sharded
from trainbus.checkpoints import entries_of
from trainbus.checkpoints.names.filename_template import (
    COUNTERS,
    check_template,
    glob_pattern,
    render,
    template_fields,
    with_suffix,
)
from trainbus.metrics.names import nearest
from trainbus.storage.atomic_file import suffix_of
from trainbus.storage.backend import backend_for
from trainbus.storage.paths import Location, absolute, location
from trainbus.storage.sharded_directory import holds_parts

from ..model_checkpoint.file_names import check_local
from ..model_checkpoint.run_field import check_run_field


def check_name(template: str) -> str:
    """Return the template if its fields are the id of the run and counters.

    Raises:
        ValueError: It has another field, or one in a place or with a format that it cannot have.

    >>> check_name("dumps/{run}/nan-{step:06d}")
    'dumps/{run}/nan-{step:06d}'
    >>> check_name("nan-{stp}")
    Traceback (most recent call last):
        ...
    ValueError: {stp}: only {run}, {epoch}, {epoch0}, {batch} and {step} are known here; did you mean {step}?
    """
    check_template(template)
    known = ("run", *COUNTERS)
    for field in template_fields(template):
        if field not in known:
            *others, last = (f"{{{each}}}" for each in known)
            near = nearest(field, known)
            way = f"did you mean {{{near}}}?" if near else "leave it out"
            raise ValueError(f"{{{field}}}: only {', '.join(others)} and {last} are known here; {way}")
    return check_run_field(template)


def filled(template: str, run: Run) -> str:
    """Return the path for the present state of a run; counters count from 1, "epoch0" from 0."""
    counters = {"epoch": run.epoch + 1, "epoch0": run.epoch, "batch": run.batch + 1, "step": run.step}
    return render(template, counters)


def check_place(template: str, subject: Saveable) -> None:
    """Raise ``SettingsError`` if the state of a subject cannot be written at the path that the template makes."""
    path = with_suffix(template, subject.suffixes(weights_only=False))
    place = location(path)
    if isinstance(place, Path):
        in_parts = isinstance(subject, Sharded) and subject.saves_sharded(suffix_of(place))
        if not (in_parts and holds_parts(place)):
            check_local(path)


def in_the_way(template: str) -> str:
    """Return in words what is at the paths that the template makes, and would be replaced; empty if nothing is.

    Args:
        template: The template, with its suffix.
    """
    try:
        found = sorted(backend_for(location(glob_pattern(template))).glob(), key=str)
    except OSError:  # saving reports it
        return ""
    foreign = [each for each in found if not _is_saved(each)]
    saved = [each for each in found if each not in foreign]
    kinds = (saved, "from an earlier run"), (foreign, "not saved by trainbus")
    return " and ".join(f"{_counted(places)} ({what})" for places, what in kinds if places)


def _is_saved(place: Location) -> bool:
    """Return whether trainbus has saved what is at a path."""
    try:
        return bool(entries_of(place))
    except OSError:
        return False


def _counted(places: Sequence[Location]) -> str:
    return repr(str(places[0])) + (f" and {len(places) - 1} more" if len(places) > 1 else "")


def may_match(template: str, patterns: Iterable[str]) -> bool:
    """Return whether a path that the template makes may match one of these ``glob`` patterns.

    >>> may_match("run/nan-{epoch}", ["run/m-*"]), may_match("run/m-{epoch}-{step}", ["run/m-*-7"])
    (False, True)
    """
    return any(fnmatch(absolute(path), absolute(each)) for each in patterns for path in _samples(template, each))


def _samples(template: str, pattern: str) -> Iterator[str]:
    """Yield paths of the template with each number that is in the last parts of the pattern, and 1."""
    fields = list(dict.fromkeys(template_fields(template)))
    numbers = dict.fromkeys([1, *map(int, re.findall(r"\d+", "/".join(pattern.split("/")[-2:])))])
    for values in product(numbers, repeat=len(fields)):
        yield render(template, dict(zip(fields, values, strict=True)))
