"""Loading of recorded runs from files and directories in any known format."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from ...errors import SettingsError
from ...settings.arguments import whole_number
from ..readers.discovery import find_runs
from ..readers.metric_names import list_names
from ..readers.registry import installed_readers
from ..readers.text.text_log import text_reader
from ..records import Recording
from .same_run import Located, each_run_once
from .settings_files import with_settings
from .stage_files import with_evaluations
from .unique_names import uniquely_named

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
    seen = set[Path]()
    for path in sorted(dict.fromkeys(map(Path, paths)), key=lambda each: len(_real(each).parts)):
        below = find_runs(path, readers)
        failures += below.failures
        for run in below.runs:
            files = {_real(each) for each in run.files}
            if files <= seen:  # a path may lie in another one
                continue
            seen |= files
            try:
                found += [Located(path, run.files, recording) for recording in run.read(steps_per_epoch)]
            except SettingsError as error:
                failures.append(error)
    if not found:
        more = f"; and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise SettingsError(f"{failures[0]}{more}") from None
    for failure in failures:
        (_warn if unread is None else unread)(failure)
    return uniquely_named(with_settings(each_run_once(with_evaluations(found))))


def _real(path: Path) -> Path:
    """Return the path without links; ``Path.resolve`` raises for a link to itself."""
    return Path(os.path.realpath(path))


def _warn(failure: SettingsError) -> None:
    warnings.warn(f"A run is left out: {failure}", RuntimeWarning, stacklevel=3)
