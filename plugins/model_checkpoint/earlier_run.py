"""The files of an earlier run where a fresh one saves: replace them, refuse, or use a new directory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from trainbus import SettingsError
from trainbus.checkpoints import inspect_paths
from trainbus.checkpoints.beside.files import names_beside
from trainbus.checkpoints.manifest import entries_of, payload_names
from trainbus.checkpoints.names.filename_template import sibling_path, sibling_template
from trainbus.failures import LOG
from trainbus.storage.backend import backend_for
from trainbus.storage.paths import AUTO, Location, Source, absolute, location

from .own_names import OwnNames
from .settings import CheckpointSettings

_VERSION = re.compile(r"version_(\d{1,9})")


class EarlierFiles(NamedTuple):
    """The files of others where a fresh run saves: paths in its directory, in order."""

    checkpoints: list[str]
    """The checkpoints in the directories to which it saves, without those of other versions."""
    others: list[str]
    """Files that trainbus has not saved, at paths to which the run may save."""

    def __str__(self) -> str:
        found = [f"checkpoints of an earlier run, {_counted(self.checkpoints)}"] if self.checkpoints else []
        found += [f"{_counted(self.others)} (not saved by trainbus)"] if self.others else []
        return ", and ".join(found)


def earlier_files(directory: Location, own: OwnNames) -> EarlierFiles:
    """Return the files of others in a directory and below it, where a run saves; it is listed once.

    Args:
        directory: The directory.
        own: The names that the run gives its files.

    Raises:
        OSError: Not all directories can be searched.
    """
    files = list(_files(directory))
    payloads = {name for _, name in _payloads(files)}
    others = {own.find(name) for name in files if not any(_payloads([name]))} - payloads - {""}
    others = {name for name in others if _target(directory, name) not in payloads}
    if others:  # several files of one save have one manifest
        beside = {path for name in payloads for path in _beside(directory, name)}
        others = {name for name in others if name not in beside and _target(directory, name) not in beside}
    checkpoints = (name for version, name in _payloads(files) if not version and own.reach(name))
    return EarlierFiles(sorted(checkpoints), sorted(others))


def holds_checkpoints(settings: CheckpointSettings, subject: object = None) -> bool:
    """Return whether there are checkpoints with the names of a callback, also of a version, or it is not known.

    Args:
        settings: The options of the callback.
        subject: What is trained.
    """
    own = OwnNames([settings], subject)
    try:
        found = _payloads(_files(location(absolute(sibling_path(settings.filepath, "", "")))))
        return any(own.find(name.split("/", 1)[1] if version else name) for version, name in found)
    except OSError:
        return True


def check_earlier(
    settings: CheckpointSettings,
    callbacks: Iterable[object],
    subject: object = None,
    resume: Source | None = None,
    *,
    resumed: bool = False,
) -> None:
    """Refuse or report the files that a run may replace; a resumed one only reports those that trainbus has not saved.

    Args:
        settings: The options of a callback.
        callbacks: All callbacks of the run; the first one that saves to the directory reports.
        subject: What is trained.
        resume: What the run was to be resumed from; None if it begins anew.
        resumed: Whether the run is resumed: its checkpoints are its own then.

    Raises:
        SettingsError: There are some, and the callback refuses them.
    """
    (place,) = settings.locked_directories()
    savers = [each for each in callbacks if isinstance(each, CheckpointSettings)]
    same = [each for each in savers if each.locked_directories() == (place,)] or [settings]
    refuses = settings.existing == "refuse" and not resumed
    if not refuses and same[0] != settings:
        return
    own, all_own = OwnNames([settings] if refuses else same, subject), OwnNames(same, subject)
    try:
        found = earlier_files(location(place), own)
    except OSError:  # saving reports it
        return
    found = found._replace(checkpoints=[]) if resumed else found
    if not any(found):
        return
    held = f"{sibling_path(settings.filepath, '', '') or '.'!r} holds {found}"
    ways = _ways(settings, all_own, found, resume, resumed=resumed)
    if refuses:
        raise SettingsError(f"ModelCheckpoint: existing='refuse': {held}; {ways}")
    replaces = found.others or any(map(own.find, found.checkpoints))
    then = "which this run may replace" if replaces else "beside which this run saves under other names"
    LOG.warning("ModelCheckpoint: %s, %s; %s", held, then, ways)


def _ways(
    settings: CheckpointSettings, own: OwnNames, found: EarlierFiles, resume: Source | None, *, resumed: bool
) -> str:
    """Return in words what to do if these files are not to be replaced."""
    if resumed:
        return "to keep its files, move them"
    versions = settings.existing == "version" and resume is not None
    new = f", or leave resume={str(resume)!r} out" if versions else " or existing='version'"
    keep = f"to keep its files, give another directory{new}"
    if not found.checkpoints:
        return keep
    source = _source(settings, own, found)
    if resume is None:
        return f"to continue that run, give resume={source!r}; {keep}" if source else keep
    if any(map(own.find, found.checkpoints)):
        why = "none that the callbacks write is an intact one of a run; to continue it, restore an intact copy"
    else:
        why = "no callback writes files of these names"
        why += f"; to continue from one, give resume={source!r}" if source else ""
    return f"resume={str(resume)!r} takes none of them, since {why}; {keep}"


def _source(settings: CheckpointSettings, own: OwnNames, found: EarlierFiles) -> str:
    """Return what to resume from: "auto" if it takes a checkpoint, or else the newest one; empty if there is none.

    Args:
        settings: The options of the callback.
        own: The names of the files that "auto" takes.
        found: The files of the earlier run.
    """
    taken = [name for name in found.checkpoints if own.find(name)]
    if any(_resumable(settings, taken)):
        return AUTO
    newest = max(_resumable(settings, found.checkpoints), default=None)
    return "" if newest is None else newest[-1]


def _resumable(settings: CheckpointSettings, names: Iterable[str]) -> Iterator[tuple[bool, int, int, str]]:
    """Yield whether a checkpoint with the state of a run is complete, its step and epoch, and its path as it is given.

    Only manifests are read.
    """
    for name in names:
        path = sibling_path(settings.filepath, name, "")
        with suppress(OSError):
            for each in inspect_paths([location(absolute(path))]):
                entry = each.entry
                if entry is not None and not each.flaw and entry.run_state and not entry.for_inspection:
                    yield not entry.weights_only, entry.step, entry.epoch, path


def versioned(settings: CheckpointSettings, resume: Source | None, subject: object = None) -> str:
    """Return the template of a run that leaves the files of earlier ones as they are.

    A fresh run saves to the directory of the template if it holds no file that the run may replace, and else to the
    first of its subdirectories "version_1", "version_2" ... after the existing ones. A run that resumes by "auto" saves
    to the newest of these that holds a checkpoint, and one that resumes from a path to the one that holds the path.

    Args:
        settings: The options, with the template.
        resume: What the run resumes from; None if it does not.
        subject: What is trained.
    """
    filepath = settings.filepath
    directory = location(absolute(sibling_path(filepath, "", "")))
    number: int | None = 0
    with suppress(OSError):  # the run reports it when it begins
        number = _resumed_version(directory, resume)
        if number is None:
            names = (_VERSION.fullmatch(name) for name in _names(directory))
            last = max((int(found[1]) for found in names if found), default=0)
            number = last + 1 if last or any(earlier_files(directory, OwnNames([settings], subject))) else 0
    if not number:
        return filepath
    start = sibling_template(filepath, "", "")
    return f"{start}version_{number}/{filepath[len(start) :]}"


def _resumed_version(directory: Location, resume: Source | None) -> int | None:
    """Return the number of the version from which a run resumes, 0 for the directory itself; None for a fresh run."""
    if resume is None:
        return None
    if resume == AUTO:
        return max((version for version, _ in _payloads(_files(directory))), default=None)
    source, root = absolute(resume), str(directory).rstrip("/")
    if source != root and not source.startswith(f"{root}/"):
        return None
    found = _VERSION.fullmatch(source[len(root) :].strip("/").split("/")[0])
    return int(found[1]) if found else 0


def _files(directory: Location) -> Iterator[str]:
    """Yield the path in a directory of each file in it and below it."""
    root = str(directory).rstrip("/")
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in backend_for(directory).files_below():
            yield str(path)[len(root) :].lstrip("/")


def _payloads(files: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the checkpoints among files: the number of the version, and the path."""
    for file in files:
        directory, separator, last = file.rpartition("/")
        for name in payload_names([last]):
            version = _VERSION.fullmatch(directory.split("/")[0])
            yield (int(version[1]) if version else 0), directory + separator + name


def _beside(directory: Location, payload: str) -> Iterator[str]:
    """Yield the paths of the other files of a save."""
    with suppress(OSError):
        for name in names_beside(entries_of(directory / payload)):
            yield (Path(payload).parent / name).as_posix()


def _target(directory: Location, name: str) -> str:
    """Return the path to which a link leads, in the directory; empty if the file is no link."""
    path = directory / name
    if not isinstance(path, Path) or not path.is_symlink():
        return ""
    return os.path.relpath(path.resolve(), Path(str(directory)).resolve()).replace(os.sep, "/")


def _counted(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _names(directory: Location) -> list[str]:
    try:
        return list(backend_for(directory).list_names())
    except (FileNotFoundError, NotADirectoryError):
        return []
