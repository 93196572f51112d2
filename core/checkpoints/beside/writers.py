"""What the files of one decision hold: the training state, the weights, one of several models, or the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ...capabilities import BackgroundSaveable, PartWriters, Saveable, SavesContent, SavesParts, has
from ...decision import Save
from ...errors import CheckpointError, error_text
from ...failures import LOG
from ...storage.atomic_file import suffix_of
from ...storage.paths import Location
from .files import BesideWriter

Write = Callable[[Path], object]
"""Writes to the path that it is called with."""


class FileWriters:
    """Makes the functions that write the files of one decision. Each state is asked for and copied at most once.

    Args:
        subject: The object that is trained.
        contents: Name of a plugin to the function that returns the content of its files, if it is not the training
            state.
        background: Whether the files are written while the training continues, from a copy of the state.
    """

    def __init__(self, subject: object, contents: Mapping[str, Callable[[], Any]], *, background: bool) -> None:
        self._subject, self._contents, self._background = subject, contents, background
        self._states: dict[bool, Write] = {}
        self._parts: dict[bool, PartWriters] = {}
        self._own: dict[str, Write] = {}

    def of(
        self, place: Location, saves: Sequence[Save], *, weights_only: bool
    ) -> tuple[Write, tuple[BesideWriter, ...]]:
        """Return the function that writes a file, and those that write the files beside it.

        Args:
            place: The path of the file.
            saves: The actions that ask for it.
            weights_only: Whether it holds only the weights.

        Raises:
            CheckpointError: The user's own content cannot be made and is not optional, or the models are not those of
                the action.
        """
        if plugin := next((each.by for each in saves if each.by in self._contents), ""):
            return self._with_content(plugin, saves, self.state(weights_only=weights_only))
        if names := next((each.parts for each in saves if each.parts), None):
            return self._of_parts(place, names, weights_only=weights_only)
        return self.state(weights_only=weights_only), ()

    def state(self, *, weights_only: bool) -> Write:
        """Return the function that writes the weights, or the complete state."""
        if weights_only not in self._states:
            subject = self._subject
            if self._background and has(subject, BackgroundSaveable):
                self._states[weights_only] = subject.snapshot_writer(weights_only=weights_only)
            else:
                assert has(subject, Saveable)
                self._states[weights_only] = partial(subject.save, weights_only=weights_only)
        return self._states[weights_only]

    def _of_parts(
        self, place: Location, names: Mapping[str, str], *, weights_only: bool
    ) -> tuple[Write, tuple[BesideWriter, ...]]:
        if weights_only not in self._parts:
            if not has(self._subject, SavesParts):
                raise CheckpointError(f"{type(self._subject).__name__!r} has no models that have a file each")
            writers = self._subject.part_writers(weights_only=weights_only, background=self._background)
            self._parts[weights_only] = writers
            self._states[weights_only] = writers.whole
        whole, parts = self._parts[weights_only]
        first = next((part for part, name in names.items() if name == place.name), None)
        if first is None or names.keys() != parts.keys():
            raise CheckpointError(
                f"a file of each of {', '.join(names)} was asked for; the models are {', '.join(parts)}"
            )
        suffix = suffix_of(place)
        others = (BesideWriter(parts[part], suffix, name) for part, name in names.items() if part != first)
        return parts[first], (BesideWriter(whole, self._suffix), *others)

    def _with_content(self, plugin: str, saves: Sequence[Save], state: Write) -> tuple[Write, tuple[BesideWriter, ...]]:
        """Return the function that writes the content, or the state if that is optional, and the one of the state."""
        optional = all(each.content_optional for each in saves)
        try:
            content = self._own_content(plugin)
        except CheckpointError as error:
            if not optional:
                raise
            _report_without(saves[0].path, error)
            return state, ()
        if optional:
            content = partial(_write_or_state, content, state, plugin, saves[0].path)
        return content, (BesideWriter(state, self._suffix),)

    def _own_content(self, plugin: str) -> Write:
        """Return the function that writes the content of a plugin's files."""
        if plugin not in self._own:
            assert has(self._subject, SavesContent)
            try:
                found = self._contents[plugin]()
                if found is None:
                    raise CheckpointError(f"content= of {plugin} returned None; return what the file should hold")
                self._own[plugin] = self._subject.content_writer(found)
            except CheckpointError:
                raise
            except Exception as error:
                raise _error_of(plugin, error) from error
        return self._own[plugin]

    @cached_property
    def _suffix(self) -> str:
        return default_suffix(self._subject, weights_only=False)


def _write_or_state(content: Write, state: Write, plugin: str, name: str, path: Path) -> object:
    """Write the content; the state in its place if a library refuses the content, as pickle does with a lambda."""
    try:
        return content(path)
    except OSError:  # the disk is full, for example
        raise
    except Exception as error:  # noqa: BLE001 - whatever the library raises
        _report_without(name, _error_of(plugin, error))
        return state(path)


def _error_of(plugin: str, error: Exception) -> CheckpointError:
    key = error.args[0] if isinstance(error, KeyError) and len(error.args) == 1 else None
    fix = f"; for a metric that is not logged yet, write run.metrics.get({key!r})" if isinstance(key, str) else ""
    return CheckpointError(f"content= of {plugin}: {error_text(error)}{fix}")


def _report_without(name: str, error: CheckpointError) -> None:
    LOG.warning("%r has the training state, from which a resume continues, but no content: %s", name, error)


def default_suffix(subject: object, *, weights_only: bool) -> str:
    """Return the suffix of the subject's own files."""
    assert has(subject, Saveable)
    return subject.suffixes(weights_only=weights_only)[0]
