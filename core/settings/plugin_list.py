"""Make the plugins of one run from a list of callbacks, and report all problems of the list together."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any, NamedTuple, Protocol, TypeGuard, cast, runtime_checkable

from ..callback import Callback, Verbose, journal_directory
from ..capabilities import DrawsProgress, has
from ..errors import SettingsError, TrainbusError
from ..hooks import check_plugin, implements_hooks
from ..metrics.names import first_free
from ..terminal.text import shown
from . import settings_file
from .conflicts import find_conflicts
from .registry import ENVIRONMENT, callbacks_from, load, named_plugin, plugins_of_environment
from .run_id import RunStart
from .subjects import adapter_of, describe, is_callback, is_subject

CallbackLike = Callback | Mapping[str, Any] | str | object
"""An item of a list of callbacks: a callback, its settings as plain data, the name of an installed callback or plugin,
the path of a settings file, or any object with hook implementations."""

FOREIGN_PACKAGES = frozenset(
    {"ignite", "keras", "lightning", "pytorch_lightning", "skorch", "tensorflow", "transformers"}
)
"""Packages whose callbacks define different hooks with the same names as trainbus's hooks."""

JOURNAL = "Journal"
"""The name of the callback that a run gets by default if it writes files."""


class PluginEntry(NamedTuple):
    """A plugin, its name in reasons and errors, and the callback that made it, if there is one."""

    name: str
    plugin: object
    callback: Callback | None = None


@runtime_checkable
class ChoosesDirectory(Protocol):
    """A callback that chooses the directory of each run."""

    def for_run(self, start: RunStart) -> Callback:
        """Return the callback of one run, with the paths that it has there."""
        ...


def build_plugins(
    listed: CallbackLike | Sequence[CallbackLike],
    subject: object = None,
    *,
    verbose: Verbose | None = None,
    start: RunStart | None = None,
) -> list[PluginEntry]:
    """Make the plugins of one run, including those from TRAINBUS_PLUGINS, and then the journal and the progress.

    Args:
        listed: Callbacks and plugins, or a single one.
        subject: The object to train.
        verbose: The verbosity of the run: 0, 1, 2 or "auto"; None to use the ``verbose`` of the callbacks.
        start: How the run starts; None for a list that no run gets.

    Raises:
        SettingsError: The list has problems; the message lists all of them.
    """
    if not (verbose is None or (isinstance(verbose, str) and verbose == "auto") or _is_level(verbose)):
        raise SettingsError(
            f"verbose={shown(verbose)}: give 0, 1, 2 or 'auto', or None to use the verbose= of the callbacks"
        )
    entries: list[PluginEntry] = []
    problems: list[TrainbusError] = []
    for item in [*as_list(listed), *plugins_of_environment()]:
        try:
            for each in settings_file.load(item) if _is_settings_file(item) else [item]:
                entries.append(_entry(each, {entry.name for entry in entries}, start))
        except SettingsError as error:
            problems.append(error)
    callbacks = [each.callback for each in entries if each.callback is not None]
    for callback in callbacks:
        problems += callback.validate_for(subject)
    problems += [SettingsError(why) for _, why in find_conflicts(callbacks, subject)]
    problems = list({str(each): each for each in problems}.values())  # two callbacks may need the same
    if problems:
        lines = "\n".join(f"- {problem}" for problem in problems)
        raise problems[0] if len(problems) == 1 else SettingsError(f"{len(problems)} problems:\n{lines}")
    if journal_directory(callbacks) is not None and not any(type(each).__name__ == JOURNAL for each in callbacks):
        entries.append(_entry(load("callbacks", JOURNAL)(), {entry.name for entry in entries}))
    levels = {entry.name: getattr(entry.callback, "verbose", 0) for entry in entries}
    if verbose or (verbose is None and any(levels.values())):
        printer = load("plugins", "progress")
        drawn = has(subject, DrawsProgress) and subject.draws_progress()
        if not any(isinstance(entry.plugin, printer) for entry in entries):
            options = {"bar": not drawn, "open_line": drawn is True}
            entries.append(PluginEntry("progress", printer(levels if verbose is None else verbose, **options)))
    return entries


def as_list(listed: CallbackLike | Sequence[CallbackLike]) -> list[CallbackLike]:
    """Return the items as a list: one element for a single item, and an empty list for None.

    Raises:
        SettingsError: The argument is a mapping of names to callbacks.
    """
    if isinstance(listed, (list, tuple, set, frozenset, Iterator, KeysView, ValuesView)):
        return list(cast("Iterable[CallbackLike]", listed))
    if isinstance(listed, Mapping) and any(map(is_callback, cast("Mapping[Any, Any]", listed).values())):
        raise SettingsError("callbacks is a mapping of names to callbacks; give list(callbacks.values())")
    return [] if listed is None else [listed]


def _is_level(verbose: object) -> bool:
    return isinstance(verbose, int) and 0 <= verbose <= 2


def _is_settings_file(item: CallbackLike) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(item, (str, os.PathLike)) and str(cast("object", item)).endswith(".toml")


def _entry(item: CallbackLike, taken: Collection[str], start: RunStart | None = None) -> PluginEntry:
    if isinstance(item, str):
        try:
            item = named_plugin(item)
        except SettingsError as error:
            source = f"{ENVIRONMENT}: " if item in plugins_of_environment() else ""
            raise type(error)(f"{source}{error}") from None
        return _entry(item, taken, start)
    if item is None:
        raise SettingsError("a callback is None; leave it out of the list")
    if isinstance(item, (list, tuple, set, frozenset)):
        held = describe(cast("object", item))
        raise SettingsError(f"the list of callbacks contains {held}; make one flat list: [*callbacks, *more]")
    if isinstance(item, Mapping):
        return _entry(callbacks_from([cast("Mapping[str, Any]", item)])[0], taken, start)
    kind = item if isinstance(item, type) else type(item)
    name = first_free(kind.__name__, taken)
    if isinstance(item, Callback):
        item = item.for_run(start) if start is not None and isinstance(item, ChoosesDirectory) else item
        plugin = item.plugin()
        check_plugin(name, plugin)
        return PluginEntry(name, plugin, item)
    package = kind.__module__.partition(".")[0]
    if package in FOREIGN_PACKAGES:
        raise SettingsError(
            f"{kind.__name__} is a callback of {package}; pass it to {package} directly, or list the matching "
            "callback of trainbus.plugins here"
        )
    if not isinstance(item, type) and (is_subject(item) or adapter_of(item)) and not implements_hooks(item):
        raise SettingsError(
            f"{describe(item)} is given as a callback, but is what is trained; write Run(subject, callbacks), with "
            "the model and its optimizer in one subject"
        )
    check_plugin(kind.__name__, item)
    return PluginEntry(name, item)
