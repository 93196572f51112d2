"""Discovery of the runs below a path, by the formats of the files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...errors import SettingsError
from ...limits import RUN_EPOCHS
from ...metrics.names import hint
from ...storage.file_kind import kind_of
from ..records import Recording
from .columns import limit_values
from .metric_names import list_names
from .registry import FORMATS, Format

_ONE_PER_RUN = {"metrics.csv", "journal.jsonl", "trainer_state.json", "history.json", "history.csv", "results.csv"}
"""File names that occur once per run; the run is named after the directory."""


class RunFiles(NamedTuple):
    """Files that record one or more runs; only reading them shows which."""

    root: Path
    """The requested path."""
    format: Format
    files: tuple[Path, ...]

    def read(self, steps_per_epoch: int | None = None) -> list[Recording]:
        """Return the runs in the files.

        Args:
            steps_per_epoch: The number of steps in an epoch, used if the files do not contain epochs; None guesses.

        Raises:
            SettingsError: There is no run, or a file is damaged or cannot be read.
        """
        try:
            found = self.format.read(self.files, self._name, steps_per_epoch)
        except OSError as error:
            raise _unreadable(Path(error.filename or self.files[0]), error) from None
        for each in found:
            if each.epochs.size > RUN_EPOCHS:
                raise SettingsError(
                    f"the run {each.name!r} in {str(self.files[0])!r} has {each.epochs.size:,} epochs; a recorded run "
                    f"has at most {RUN_EPOCHS:,}: if its rows are steps, give a file with a row for each epoch"
                )
        recordings = [limit_values(recording) for recording in found if recording.epochs.size]
        if not recordings:
            raise SettingsError(f"{str(self.files[0])!r} has no completed epoch")
        return recordings

    def _name(self, path: Path) -> str:
        """Return the name of a run: its path relative to the requested one."""
        if path.name in _ONE_PER_RUN and path != self.root:
            path = path.parent
        if path.is_relative_to(self.root) and path != self.root:
            return path.relative_to(self.root).as_posix()
        return self.root.resolve().name


def find_runs(path: Path) -> list[RunFiles]:
    """Return the files of the runs at or below a path.

    Raises:
        SettingsError: The path does not exist, or has no file of a known format.
    """
    try:
        kind = kind_of(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    if not kind:
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SettingsError(f"{str(path)!r} does not exist{hint(path.name, siblings, otherwise='')}")
    if kind not in ("file", "directory"):
        raise SettingsError(f"{str(path)!r} is a {kind}, neither a file nor a directory")
    try:
        files = [path] if path.is_file() else sorted(_files_below(path))
        by_format: dict[Format, list[Path]] = {}
        for file in files:
            found = next((each for each in FORMATS if each.matches(file) and each.recognizes(file)), None)
            if found is not None:
                by_format.setdefault(found, []).append(file)
    except OSError as error:
        raise _unreadable(path, error) from None
    if by_format:
        return [RunFiles(path, each, tuple(group)) for each in FORMATS for group in each.group(by_format.get(each, []))]
    known = ", ".join(f"{each.title} ({', '.join(each.patterns)})" for each in FORMATS)
    if not path.is_dir():
        return [RunFiles(path, _format_by_name(path, known), (path,))]
    content = f"only {list_names(file.name for file in files)}" if files else "no file at all"
    raise SettingsError(f"no recorded run in {str(path)!r} or below, {content}; known formats: {known}")


def _format_by_name(file: Path, known: str) -> Format:
    """Return the format that the file name suggests; the reader of that format can report the file's problem."""
    if file.stat().st_size == 0:
        raise SettingsError(f"{str(file)!r} is empty")
    for each in reversed(FORMATS):
        if each.matches(file):
            return each
    raise SettingsError(f"{str(file)!r} has an unknown format; known formats: {known}")


def _files_below(path: Path) -> Iterator[Path]:
    """Yield all files except those in hidden directories and virtual environments; do not follow links."""
    for directory, names, files in os.walk(path):
        if "pyvenv.cfg" in files and directory != str(path):
            names.clear()
            continue
        names[:] = [name for name in names if not name.startswith(".")]
        yield from (file for name in files if (file := Path(directory, name)).is_file())


def _unreadable(path: Path, error: OSError) -> SettingsError:
    return SettingsError(f"{str(path)!r} cannot be read: {error.strerror or error}")
