"""Loading of recorded runs from files and directories in any known format."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from ..errors import SettingsError
from ..settings.arguments import whole_number
from .readers.discovery import find_runs
from .readers.metric_names import list_names
from .readers.registry import installed_readers
from .readers.settings_files import SettingsFiles
from .readers.text.text_log import text_reader
from .records import Recording
from .same_run import Located, each_run_once

_Path: TypeAlias = "str | os.PathLike[str]"


def read(path: _Path, *, steps_per_epoch: int | None = None, pattern: str | Sequence[str] | None = None) -> Recording:
    r"""Return the recording of one run.

    Args:
        path: A file, or the directory of the run; the format is detected.
        steps_per_epoch: The number of training steps in an epoch, for event files that do not contain it. With None it
            is guessed, and a note of the recording states the guess.
        pattern: For plain text, a regular expression, or several, whose named groups are an epoch, step or iteration
            and metrics; the lines in which it is found are the rows. With None, known patterns are tried.

    Raises:
        SettingsError: The path does not exist, holds several runs, or is damaged; ``steps_per_epoch`` is below 1; or
            ``pattern`` is not a regular expression, or names no metric.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "training.csv"
    >>> _ = file.write_text("epoch,loss\n0,2.0\n1,1.0\n")
    >>> read(file).metrics["loss"].values.tolist()
    [2.0, 1.0]
    """
    unread: list[SettingsError] = []
    found = read_all(path, unread=unread.append, steps_per_epoch=steps_per_epoch, pattern=pattern)
    for failure in unread:
        _warn(failure)
    if len(found) > 1:
        raise SettingsError(
            f"{os.fspath(path)!r} has {len(found)} runs, {list_names(each.name for each in found)}: "
            "give the path of one, or read all with read_all()"
        )
    return found[0]


def read_all(
    *paths: _Path,
    unread: Callable[[SettingsError], object] | None = None,
    steps_per_epoch: int | None = None,
    pattern: str | Sequence[str] | None = None,
) -> list[Recording]:
    r"""Return the recordings of all runs at or below the given paths, each run once.

    A run that cannot be read does not prevent reading the others.

    Args:
        *paths: Files or directories.
        unread: Called with the error of each run that cannot be read; by default a warning shows it.
        steps_per_epoch: As in ``read``.
        pattern: As in ``read``.

    Raises:
        SettingsError: A path does not exist, or no run can be read; or ``steps_per_epoch`` or ``pattern`` is wrong.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.csv", "b.csv"):
    ...     _ = (folder / name).write_text(f"epoch,loss\n0,{len(name)}.0\n1,{ord(name[0])}.0\n")
    >>> [each.name for each in read_all(folder)]
    ['a.csv', 'b.csv']
    """
    if not paths:
        raise SettingsError("no path was given; give a file or a directory with recorded runs")
    if steps_per_epoch is not None:
        advice = "give a number of at least 1, or None to estimate it"
        whole_number("steps_per_epoch", steps_per_epoch, 1, advice)
    readers, failed = installed_readers()
    if pattern:
        readers = (text_reader([pattern] if isinstance(pattern, str) else pattern), *readers)
    failures = [*failed]
    found: list[Located] = []
    for path in dict.fromkeys(map(Path, paths)):
        below = find_runs(path, readers)
        failures += below.failures
        for run in below.runs:
            try:
                found += [Located(path, run.files, recording) for recording in run.read(steps_per_epoch)]
            except SettingsError as error:
                failures.append(error)
    if not found:
        more = f"; and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise SettingsError(f"{failures[0]}{more}") from None
    for failure in failures:
        (_warn if unread is None else unread)(failure)
    return sorted(_uniquely_named(_with_settings(each_run_once(found))), key=lambda each: _natural_order(each.name))


def _warn(failure: SettingsError) -> None:
    warnings.warn(f"A run is left out: {failure}", RuntimeWarning, stacklevel=3)


def _with_settings(found: Collection[Located]) -> list[Located]:
    """Return the recordings with the settings in files beside them; those in the log itself take precedence."""
    files = SettingsFiles(each.files[0] for each in found)
    completed: list[Located] = []
    for each in found:
        settings, notes = files.of(each.files[0], each.requested)
        recording = each.recording
        settings, notes = {**settings, **recording.settings}, [*recording.notes, *notes]
        completed.append(each._replace(recording=replace(recording, settings=settings, notes=tuple(notes))))
    return completed


def _uniquely_named(found: Collection[Located]) -> list[Recording]:
    """Return the recordings with unique names; to equal names, add the path, then the format, then a number."""
    names = Counter(each.name for *_, each in found)
    full = [_name_with_path(each) if names[each.recording.name] > 1 else each.recording.name for each in found]
    repeated, taken = Counter(full), Counter[str]()
    recordings: list[Recording] = []
    for name, (*_, each) in zip(full, found, strict=True):
        name = f"{name} ({each.format})" if repeated[name] > 1 else name  # noqa: PLW2901
        taken[name] += 1
        name = f"{name} {taken[name]}" if taken[name] > 1 else name  # noqa: PLW2901
        recordings.append(each if name == each.name else replace(each, name=name))
    return recordings


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
