"""All formats, in the order in which they are tried and, if several record the same run, preferred."""

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


class Format(NamedTuple):
    """A file format of recorded runs."""

    title: str
    patterns: tuple[str, ...]
    """File names to try."""
    recognizes: Callable[[Path], bool]
    """Returns whether a file with such a name has this format, judged by its beginning."""
    group: Callable[[Iterable[Path]], list[list[Path]]]
    """Groups files that may record the same run."""
    read: _Read
    """Returns the runs in a group of files. It calls the given function for the name of a run's file or directory, and
    uses the given steps per epoch if the files do not contain epochs."""

    def matches(self, file: Path) -> bool:
        """Return whether the file has a name of this format."""
        return any(fnmatch(file.name, pattern) for pattern in self.patterns)


def _always(_: Path) -> bool:
    return True


def _single(files: Iterable[Path]) -> list[list[Path]]:
    return [[file] for file in files]


def _newest(files: Iterable[Path]) -> list[list[Path]]:
    return _single(huggingface.newest(files))


def _epochs_known(read: Callable[[Sequence[Path], _NameOf], list[Recording]]) -> _Read:
    """Adapt the reader of a format whose files always contain epochs."""
    return lambda files, name_of, _: read(files, name_of)


FORMATS = (
    Format(
        "trainbus journals",
        trainbus_journal.PATTERNS,
        trainbus_journal.recognizes,
        _single,
        _epochs_known(trainbus_journal.read),
    ),
    Format("TensorBoard event files", (record_file.PATTERN,), _always, runs.group, runs.read),
    Format(
        "Hugging Face trainer states",
        (huggingface.NAME,),
        huggingface.recognizes,
        _newest,
        _epochs_known(huggingface.read),
    ),
    Format("CSV", csv_log.PATTERNS, csv_log.recognizes, _single, _epochs_known(csv_log.read)),
    Format(
        "Keras History", keras_history.PATTERNS, keras_history.recognizes, _single, _epochs_known(keras_history.read)
    ),
)
"""A file has the first format that recognizes it."""
