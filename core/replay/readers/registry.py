"""All formats, in the order in which they are tried. If several record the same run, the first is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ..records import Recording
from . import csv_log, huggingface, keras_history, trainbus_journal
from .tensorboard import record_file, runs

_NameOf: TypeAlias = Callable[[Path], str]
_Read: TypeAlias = Callable[[Sequence[Path], _NameOf, int | None], list[Recording]]


def _single(files: Iterable[Path]) -> list[list[Path]]:
    return [[file] for file in files]


class Format(NamedTuple):
    """A file format of recorded runs."""

    title: str
    patterns: tuple[str, ...]
    """Patterns of file names in this format."""
    read: _Read
    """Returns the runs in a group of files. It calls the given function for the name of a run's file or directory, and
    uses the given steps per epoch if the files do not contain epochs."""
    recognizes: Callable[[Path], bool] = lambda _: True
    """Returns whether the beginning of a file with such a name has this format."""
    group: Callable[[Iterable[Path]], list[list[Path]]] = _single
    """Groups files that may record the same run."""

    def matches(self, file: Path) -> bool:
        """Return whether the file has a name of this format."""
        return any(fnmatch(file.name, pattern) for pattern in self.patterns)


def _epochs_known(read: Callable[[Sequence[Path], _NameOf], list[Recording]]) -> _Read:
    """Adapt the reader of a format whose files always contain epochs."""
    return lambda files, name_of, _: read(files, name_of)


FORMATS = (
    Format(
        "trainbus journals",
        trainbus_journal.PATTERNS,
        _epochs_known(trainbus_journal.read),
        trainbus_journal.recognizes,
    ),
    Format("TensorBoard event files", (record_file.PATTERN,), runs.read, group=runs.group),
    Format(
        "Hugging Face trainer states", (huggingface.NAME,), _epochs_known(huggingface.read), group=huggingface.newest
    ),
    Format("CSV", csv_log.PATTERNS, _epochs_known(csv_log.read), csv_log.recognizes),
    Format("Keras History", keras_history.PATTERNS, _epochs_known(keras_history.read), keras_history.recognizes),
)
"""A file has the first format that recognizes it."""
