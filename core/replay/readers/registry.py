"""What is read: every format, in the order in which they are tried and, of several of one run, preferred."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ..records import Recording
from . import csv_log as csv_files
from . import huggingface as trainer_state
from . import keras_history
from . import trainbus_journal as journals
from .tensorboard import record_file as event_files
from .tensorboard import runs as event_runs

__all__ = ["FORMATS", "Format"]


_Name: TypeAlias = Callable[[Path], str]
_Read: TypeAlias = Callable[[Sequence[Path], _Name, int | None], list[Recording]]


class Format(NamedTuple):
    """A way in which runs are written down."""

    words: str
    patterns: tuple[str, ...]
    """What the names of its files are like."""
    recognizes: Callable[[Path], bool]
    """Whether a file that is called so is one, by its beginning."""
    together: Callable[[Iterable[Path]], list[list[Path]]]
    """Files of which some may tell of one run, put together."""
    read: _Read
    """The runs in files that were put together; what one is called is asked for its file or directory. Steps an epoch
    are taken where nothing else tells of epochs."""


def _any(_: Path) -> bool:
    return True


def _newest(files: Iterable[Path]) -> list[list[Path]]:
    return _each(trainer_state.newest(files))


def _each(files: Iterable[Path]) -> list[list[Path]]:
    return [[file] for file in files]


def _with_epochs(read: Callable[[Sequence[Path], _Name], list[Recording]]) -> _Read:
    return lambda files, name_of, _: read(files, name_of)


FORMATS = (
    Format("trainbus journals", journals.PATTERNS, journals.recognizes, _each, _with_epochs(journals.read)),
    Format("TensorBoard event files", (event_files.PATTERN,), _any, event_runs.grouped, event_runs.read),
    Format(
        "Hugging Face trainer states",
        (trainer_state.NAME,),
        trainer_state.recognizes,
        _newest,
        _with_epochs(trainer_state.read),
    ),
    Format("CSV", csv_files.PATTERNS, csv_files.recognizes, _each, _with_epochs(csv_files.read)),
    Format("Keras History", keras_history.PATTERNS, keras_history.recognizes, _each, _with_epochs(keras_history.read)),
)
"""A file is of the first one that recognizes it."""
