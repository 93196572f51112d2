"""The names that a ModelCheckpoint gives its files, to recognize files that it would replace."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from contextlib import suppress
from fnmatch import translate

from trainbus import MissingDependency, SettingsError
from trainbus.capabilities import Saveable, supports
from trainbus.checkpoints.names.filename_template import sibling_path

from .settings import CheckpointSettings


class OwnNames:
    """The names of the files of callbacks that save to one directory.

    Args:
        callbacks: The options of the callbacks.
        subject: What is trained; it knows the suffix of a template without one.

    >>> from trainbus.plugins import ModelCheckpoint
    >>> own = OwnNames([ModelCheckpoint("run/m-{epoch}.pt")])
    >>> own.find("m-1.pt"), own.find("m-1.pt/part"), own.find("m-mine.pt"), own.find("x/m-1.pt")
    ('m-1.pt', 'm-1.pt', '', '')
    """

    def __init__(self, callbacks: Iterable[CheckpointSettings], subject: object = None) -> None:
        found = (each for callback in callbacks for each in _patterns(callback, subject))
        self._patterns = [_compiled(each) for each in dict.fromkeys(found)]

    def find(self, name: str) -> str:
        """Return the part of a relative path that has one of the names; empty if none has."""
        parts = name.split("/")
        for pattern in self._patterns:
            if len(parts) >= len(pattern) and all(each.match(part) for each, part in zip(pattern, parts, strict=False)):
                return "/".join(parts[: len(pattern)])
        return ""

    def reach(self, name: str) -> bool:
        """Return whether some of these files may be in the directory of a relative path.

        >>> from trainbus.plugins import ModelCheckpoint
        >>> own = OwnNames([ModelCheckpoint("run/{epoch}/m.pt")])
        >>> own.reach("1/old.pt"), own.reach("old.pt"), own.reach("abc/m.pt"), own.reach("1/2/m.pt")
        (True, True, False, False)
        """
        *parts, _ = name.split("/")
        directories = (pattern[:-1] for pattern in self._patterns)
        return not parts or any(
            len(each) == len(parts) and all(part.match(text) for part, text in zip(each, parts, strict=True))
            for each in directories
        )


def _patterns(callback: CheckpointSettings, subject: object) -> Iterable[str]:
    """Return the patterns of a callback, relative to its directory, with the suffix that its files get."""
    if supports(subject, Saveable):
        with suppress(SettingsError, MissingDependency):  # the run reports it
            callback = callback.with_option("filepath", callback.template_for(subject))
    directory = glob.escape(sibling_path(callback.filepath, "", ""))
    return (each.removeprefix(directory) for each in callback.checkpoint_patterns(subject))


def _compiled(pattern: str) -> list[re.Pattern[str]]:
    """Return an expression for each part of the path; a ``*`` at its start matches no dot, as in ``glob``."""
    parts = pattern.split("/")
    return [re.compile(translate(each) if each.startswith(".") else rf"(?!\.){translate(each)}") for each in parts]
