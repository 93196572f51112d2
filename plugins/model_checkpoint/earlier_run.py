"""The files of an earlier run where a fresh one saves: replace them, refuse, or use a new directory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from trainbus import SettingsError
from trainbus.checkpoints.discovery import payloads_below
from trainbus.checkpoints.names.filename_template import sibling_path, sibling_template
from trainbus.failures import LOG
from trainbus.storage.backend import backend_for
from trainbus.storage.paths import AUTO, Location, Source, absolute, location

from .settings import CheckpointSettings

_VERSION = re.compile(r"version_(\d{1,9})")


def earlier_files(directory: Location) -> list[str]:
    """Return the checkpoints in a directory and below it, relative to it, without those of other versions.

    Raises:
        OSError: Not all directories can be searched.
    """
    return sorted(name for version, name in _found(directory) if version == 0)


def holds_checkpoints(directory: Location) -> bool:
    """Return whether a directory, or one below it, holds a checkpoint, or cannot be searched."""
    try:
        return any(True for _ in _found(directory))
    except OSError:
        return True


def check_earlier(settings: CheckpointSettings, callbacks: Iterable[object]) -> None:
    """Refuse or report checkpoints of an earlier run where a fresh one saves.

    Args:
        settings: The options of a callback.
        callbacks: All callbacks of the run; the first one that saves to the directory reports.

    Raises:
        SettingsError: There are some, and the callback refuses them.
    """
    (place,) = settings.locked_directories()
    savers = [each for each in callbacks if isinstance(each, CheckpointSettings)]
    first = next((each for each in savers if each.locked_directories() == (place,)), settings)
    if settings.existing != "refuse" and first != settings:
        return
    try:
        found = earlier_files(location(place))
    except OSError:  # saving reports it
        return
    if not found:
        return
    directory = sibling_path(settings.filepath, "", "") or "."
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    held = f"{directory!r} holds checkpoints of an earlier run, {found[0]}{more}"
    ways = "to continue that run, give resume='auto'; to keep its files, give another directory or existing='version'"
    if settings.existing == "refuse":
        raise SettingsError(f"ModelCheckpoint: existing='refuse': {held}; {ways}")
    LOG.warning("ModelCheckpoint: %s, which this run may replace; %s", held, ways)


def versioned(filepath: str, resume: Source | None) -> str:
    """Return the template of a run that leaves the files of earlier ones as they are.

    A fresh run saves to the directory of the template if it holds no checkpoint of another run, and else to the first
    of its subdirectories "version_1", "version_2" ... after the existing ones. A run that resumes by "auto" saves to
    the newest of these that holds a checkpoint, and one that resumes from a path to the one that holds the path.

    Args:
        filepath: The template.
        resume: What the run resumes from; None if it does not.
    """
    directory = location(absolute(sibling_path(filepath, "", "")))
    number: int | None = 0
    with suppress(OSError):  # the run reports it when it begins
        number = _resumed_version(directory, resume)
        if number is None:
            names = (_VERSION.fullmatch(name) for name in _names(directory))
            last = max((int(found[1]) for found in names if found), default=0)
            number = last + 1 if last or earlier_files(directory) else 0
    if not number:
        return filepath
    start = sibling_template(filepath, "", "")
    return f"{start}version_{number}/{filepath[len(start) :]}"


def _resumed_version(directory: Location, resume: Source | None) -> int | None:
    """Return the number of the version from which a run resumes, 0 for the directory itself; None for a fresh run."""
    if resume is None:
        return None
    if resume == AUTO:
        return max((version for version, _ in _found(directory)), default=None)
    source, root = absolute(resume), str(directory).rstrip("/")
    if source != root and not source.startswith(f"{root}/"):
        return None
    found = _VERSION.fullmatch(source[len(root) :].strip("/").split("/")[0])
    return int(found[1]) if found else 0


def _found(directory: Location) -> Iterator[tuple[int, str]]:
    """Yield each checkpoint in a directory or below it: the number of its version, and its path in the directory."""
    root = str(directory).rstrip("/")
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in payloads_below(directory):
            name = str(path)[len(root) :].lstrip("/")
            version = _VERSION.fullmatch(name.split("/")[0]) if "/" in name else None
            yield (int(version[1]) if version else 0), name


def _names(directory: Location) -> list[str]:
    try:
        return list(backend_for(directory).list_names())
    except (FileNotFoundError, NotADirectoryError):
        return []
