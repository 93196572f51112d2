"""Which runs are below a path: its files by their formats."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from ...errors import SettingsError
from ...metrics.names import hint
from ..records import Recording
from .metric_names import listed
from .registry import FORMATS, Format

__all__ = ["Found", "find"]

_ALONE = {"metrics.csv", "journal.jsonl", "trainer_state.json", "history.json", "history.csv", "results.csv"}
"""Files of which a run has one, so that their directory is what tells it from others."""


class Found(NamedTuple):
    """Files that may tell of one run, or of some that cannot be told apart yet."""

    root: Path
    """What was asked for."""
    format: Format
    files: tuple[Path, ...]

    def read(self, steps_per_epoch: int | None = None) -> list[Recording]:
        """The runs in them.

        Args:
            steps_per_epoch: how many there are, where nothing in the files tells; None guesses.

        Raises:
            SettingsError: there are none, or one is damaged or cannot be read.
        """
        try:
            found = self.format.read(self.files, self._name, steps_per_epoch)
        except OSError as error:
            raise _unreadable(Path(error.filename or self.files[0]), error) from None
        if not any(recording.epochs.size for recording in found):
            raise SettingsError(f"{str(self.files[0])!r} tells of no epoch that was over")
        return [recording for recording in found if recording.epochs.size]

    def _name(self, place: Path) -> str:
        """A run's path below the one that was asked for."""
        if place.name in _ALONE and place != self.root:
            place = place.parent
        if place.is_relative_to(self.root) and place != self.root:
            return place.relative_to(self.root).as_posix()
        return self.root.resolve().name


def find(path: Path) -> list[Found]:
    """What is below a path, or is it.

    Raises:
        SettingsError: nothing is there, or nothing of a known format.
    """
    if not path.exists():
        there = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SettingsError(f"{str(path)!r} is not there{hint(path.name, there)}")
    if not path.is_dir() and not path.is_file():
        raise SettingsError(f"{str(path)!r} is neither a file nor a directory")
    try:
        files = [path] if path.is_file() else sorted(_below(path))
        by_format: dict[int, list[Path]] = {}
        for file in files:
            claimed = _claimed(file)
            if claimed is not None:
                by_format.setdefault(claimed, []).append(file)
    except OSError as error:
        raise _unreadable(path, error) from None
    if by_format:
        return [
            Found(path, FORMATS[number], tuple(some))
            for number, those in sorted(by_format.items())
            for some in FORMATS[number].together(those)
        ]
    known = ", ".join(f"{each.words} ({', '.join(each.patterns)})" for each in FORMATS)
    if not path.is_dir():
        return [Found(path, _by_name(path, known), (path,))]
    here = listed(file.name for file in files) if files else "no file"
    raise SettingsError(f"No recorded run is below {str(path)!r}, where there is {here}; what is read: {known}")


def _by_name(file: Path, known: str) -> Format:
    """The format of a file that none recognizes, so that it says what is wrong with it."""
    if file.stat().st_size == 0:
        raise SettingsError(f"{str(file)!r} is empty")
    for each in reversed(FORMATS):
        if any(fnmatch(file.name, pattern) for pattern in each.patterns):
            return each
    raise SettingsError(f"{str(file)!r} is of no format that is read: {known}")


def _below(path: Path) -> Iterator[Path]:
    """All files, but those of hidden directories and of installed packages; links are not followed."""
    for directory, names, files in os.walk(path):
        if "pyvenv.cfg" in files and directory != str(path):
            names.clear()
            continue
        names[:] = [name for name in names if not name.startswith(".")]
        yield from (file for name in files if (file := Path(directory, name)).is_file())


def _claimed(file: Path) -> int | None:
    """The format of a file, by its place among all."""
    for number, each in enumerate(FORMATS):
        if any(fnmatch(file.name, pattern) for pattern in each.patterns) and each.recognizes(file):
            return number
    return None


def _unreadable(path: Path, error: OSError) -> SettingsError:
    return SettingsError(f"{str(path)!r} cannot be read: {error.strerror or error}")
