"""Readers of recorded runs, as packages add them: what a reader has, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from ..records import Recording
from .log_file import LogFile

SPECIFIC: Final = 10
"""The order of a reader of the files of one tool."""
GENERAL: Final = 30
"""The order of a reader of any table, any lines or any text, which takes what no other reader recognizes."""


@dataclass(frozen=True)
class Source:
    """The files of one group, and what a reader may need to know about them."""

    files: tuple[Path, ...]
    """The files, at least one."""
    name_of: Callable[[Path], str]
    """Returns the name of a run for its file or directory."""
    steps_per_epoch: int | None = None
    """The number of steps in an epoch, for files without epochs; None if the user has not given it."""

    @property
    def path(self) -> Path:
        """The first file, for formats of which each run has one."""
        return self.files[0]

    @property
    def name(self) -> str:
        """The name of the run of this file."""
        return self.name_of(self.path)


Groups: TypeAlias = Iterable[Sequence[Path]]


def one_run_a_file(files: Sequence[Path]) -> Groups:
    """Return each file as a group of its own."""
    return [[file] for file in files]


@dataclass(frozen=True)
class Reader:
    """A format of recorded runs.

    A package adds one with an entry point of the group ``trainbus.readers`` whose object is a ``Reader``.

    >>> Reader("Foo logs", lambda file: file.head.startswith(b"foo"), lambda source: []).order
    10
    """

    title: str
    """The format, for messages, in the plural."""
    recognizes: Callable[[LogFile], bool]
    """Returns whether a file has this format, by its content, and by its path where the format prescribes names."""
    read: Callable[[Source], list[Recording]]
    """Returns the runs of a group of files; raises ``SettingsError``, which says why, if it cannot."""
    group: Callable[[Sequence[Path]], Groups] = one_run_a_file
    """Groups files of this format that record the same run. Files in no group are not read."""
    order: int = SPECIFIC
    """Readers with a lower number are asked first, and are preferred where several formats record the same run."""
