"""The id of a run, and the field ``{run}`` in paths, which gives each of several parallel runs its own directory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from ..checkpoints.names.filename_template import render
from ..errors import SettingsError
from ..limits import RUN_ID
from ..storage.backend import backend_for
from ..storage.paths import AUTO, Source, location
from ..terminal.text import shown

ENVIRONMENT = "TRAINBUS_RUN_ID"
"""The environment variable that gives the id if the script does not."""
FIELD = "{run}"
"""The field of a path that is replaced by the id."""
_LISTED = 10
"""Ids that a message lists."""
_FIELD_OR_BRACES = re.compile(r"\{\{|\}\}|\{run\}")


class RunStart:
    """How a run starts: what callbacks need to choose its directories.

    Args:
        run_id: The id of the run.
        given: Whether it was given, and not drawn.
        resume: What the run resumes from; None if it does not.
        world_size: How many processes train together.
        subject: What is trained; it knows the suffixes of its files.
    """

    def __init__(
        self,
        run_id: str,
        *,
        given: bool = True,
        resume: Source | None = None,
        world_size: int = 1,
        subject: object = None,
    ) -> None:
        self.run_id, self.resume, self.subject = run_id, resume, subject
        self.is_own = given
        """Whether the id was given or is in a path, so that the run keeps it if it resumes from another run's file."""
        self._given, self._world_size = given, world_size

    def fill(
        self, option: str, text: str, *, template: bool = False, is_run: Callable[[str], bool] | None = None
    ) -> str:
        """Return a path with ``{run}`` replaced by the id.

        Args:
            option: The callback and the option, for the message.
            text: The path.
            template: Whether the path is the template of a checkpoint, in which "{{" is a brace.
            is_run: Returns whether an id is that of a run; those are named if the id is missing. None asks whether
                the path with the id exists.

        Raises:
            SettingsError: The id must be given, but is not.

        >>> RunStart("trial-3").fill("TensorBoard: log_dir", "logs/{run}")
        'logs/trial-3'
        """
        if not has_field(text, template=template):
            return text
        if not self._given and (self.resume == AUTO or self._world_size > 1):
            raise SettingsError(f"{option}={text!r}: {self._missing(text, is_run, template=template)}")
        self.is_own = True
        return filled(text, self.run_id, template=template)

    def _missing(self, text: str, is_run: Callable[[str], bool] | None, *, template: bool) -> str:
        ways = f"give run_id='...', or set {ENVIRONMENT}"
        if self.resume != AUTO:
            return f"all processes of a run need one id; {ways}"
        found: list[str] = []
        with suppress(OSError):
            found = sorted(filter(is_run or partial(_is_there, text), _ids(text, template=template)))
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        ids = f"found: {', '.join(map(repr, found[:_LISTED]))}{more}" if found else "none is there yet"
        return f"resume='auto' needs the id of the run to continue; {ways}; {ids}"


def has_field(text: str, *, template: bool = False) -> bool:
    """Return whether a path has the field ``{run}``.

    >>> has_field("runs/{run}"), has_field("runs/{{run}}/m", template=True)
    (True, False)
    """
    return FIELD in (_FIELD_OR_BRACES.findall(text) if template else text)


def filled(text: str, run_id: str, *, template: bool = False) -> str:
    """Return a path with ``{run}`` replaced by an id.

    >>> filled("{run}/m-{{run}}", "a{b}", template=True), filled("logs/{run}", "a{b}")
    ('a{{b}}/m-{{run}}', 'logs/a{b}')
    """
    if not template:
        return text.replace(FIELD, run_id)
    escaped = run_id.replace("{", "{{").replace("}", "}}")
    return _FIELD_OR_BRACES.sub(lambda match: escaped if match[0] == FIELD else match[0], text)


def run_id_of(given: object) -> str | None:
    """Return the given id, else that of the environment variable ``TRAINBUS_RUN_ID``; None if there is none.

    Raises:
        SettingsError: It is not text, or not the name of a directory.

    >>> run_id_of("lr=0.1")
    'lr=0.1'
    >>> run_id_of("a/b")
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: run_id='a/b': a directory cannot have this name; write 'a_b'
    """
    found, source = (given, "run_id") if given is not None else (os.environ.get(ENVIRONMENT) or None, ENVIRONMENT)
    if found is None:
        return None
    if not isinstance(found, str):
        raise SettingsError(f"{source}={shown(found)}: give text, such as 'trial-3'")
    if len(found.encode("utf-8", "replace")) > RUN_ID:
        raise SettingsError(f"{source}={shown(found)}: give at most {RUN_ID} bytes")
    right = render("{run}", {"run": found.rstrip(" .").lstrip(" .~")})
    right = right if right.strip("_") else "trial-3"
    if found != right:
        raise SettingsError(f"{source}={shown(found)}: a directory cannot have this name; write {right!r}")
    return found


def _is_there(text: str, run_id: str) -> bool:
    backend = backend_for(location(filled(text, run_id)))
    return backend.is_directory() or backend.size() is not None


def _ids(text: str, *, template: bool) -> Iterator[str]:
    """Yield what is in place of the id in the names that are there."""
    before, _, after = text.partition(FIELD)
    start, end = before.rpartition("/")[2], after.partition("/")[0]
    above = before[: len(before) - len(start)]
    if template:
        above, start, end = (each.replace("{{", "{").replace("}}", "}") for each in (above, start, end))
    for name in backend_for(location(above or ".")).list_names():
        middle = name[len(start) : len(name) - len(end)]
        if middle and name == f"{start}{middle}{end}" and not name.startswith("."):
            yield middle
