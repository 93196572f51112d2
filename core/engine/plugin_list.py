"""A list of callbacks as the listeners of one run, checked as a whole."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard, cast

from ..callback import Callback, find_conflicts, journal_directory
from ..errors import SettingsError, TrainbusError
from ..hooks import check_plugin
from ..metrics.names import first_free
from ..settings import settings_file as settings
from ..settings.registry import ENVIRONMENT, callbacks_from, load, named_plugin, plugins_of_environment

__all__ = ["CallbackLike", "PluginEntry", "as_list", "build_plugins"]

CallbackLike = Callback | Mapping[str, Any] | str | object
"""What may stand in a list of callbacks: a callback, its settings as plain data, the name of an installed callback or
plugin, the path of a settings file, or any object with hook implementations."""


FOREIGN = frozenset({"ignite", "keras", "lightning", "pytorch_lightning", "skorch", "tensorflow", "transformers"})
"""Packages whose callbacks hear other hooks under the same names."""


JOURNAL = "Journal"
"""The callback that every run with a place for its files has."""


class PluginEntry(NamedTuple):
    """A plugin, the name that stands for it in reasons and errors, and the callback that made it, if one did."""

    name: str
    plugin: object
    callback: Callback | None = None


def build_plugins(
    listed: CallbackLike | Sequence[CallbackLike], subject: object = None, *, progress: bool = True
) -> list[PluginEntry]:
    """The listeners for one run, those of the environment variable TRAINBUS_PLUGINS, journal and progress last.

    Args:
        listed: callbacks and plugins, or a single one.
        subject: what will be trained.
        progress: whether progress is drawn where a callback's `verbose` asks for it, or only decisions are printed.

    Raises:
        SettingsError: naming every problem of the whole list.
    """
    items = [*as_list(listed), *plugins_of_environment()]
    found: list[PluginEntry] = []
    problems: list[TrainbusError] = []
    for item in items:
        try:
            for each in settings.load(item) if _is_file(item) else [item]:
                found.append(_listener(each, {each.name for each in found}))
        except SettingsError as error:
            problems.append(error)
    made = [each.callback for each in found if each.callback is not None]
    for callback in made:
        problems += callback.validate_for(subject)
    problems += [SettingsError(why) for _, why in find_conflicts(made)]
    if problems:
        lines = "\n".join(f"- {problem}" for problem in problems)
        raise problems[0] if len(problems) == 1 else SettingsError(f"{len(problems)} problems:\n{lines}")
    if journal_directory(made) is not None and not any(type(each).__name__ == JOURNAL for each in made):
        found.append(_listener(load("callbacks", JOURNAL)(), {each.name for each in found}))
    levels = {each.name: getattr(each.callback, "verbose", 0) for each in found}
    if any(levels.values()):
        told = load("plugins", "progress")
        if not any(isinstance(each.plugin, told) for each in found):
            found.append(PluginEntry("progress", told(levels, bar=progress)))
    return found


def _is_file(item: CallbackLike) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(item, (str, os.PathLike)) and str(cast("object", item)).endswith(".toml")


def as_list(listed: CallbackLike | Sequence[CallbackLike]) -> list[CallbackLike]:
    """The list itself, a single callback as a list of one, or none for None."""
    if isinstance(listed, (list, tuple, set, frozenset)):
        return list(cast("Iterable[CallbackLike]", listed))
    return [] if listed is None else [listed]


def _listener(item: CallbackLike, taken: Collection[str]) -> PluginEntry:
    if isinstance(item, str):
        try:
            item = named_plugin(item)
        except SettingsError as error:
            source = f"{ENVIRONMENT}: " if item in plugins_of_environment() else ""
            raise type(error)(f"{source}{error}") from None
        return _listener(item, taken)
    if isinstance(item, Mapping):
        return _listener(callbacks_from([cast("Mapping[str, Any]", item)])[0], taken)
    kind = item if isinstance(item, type) else type(item)
    name = first_free(kind.__name__, taken)
    if isinstance(item, Callback):
        plugin = item.plugin()
        check_plugin(name, plugin)
        return PluginEntry(name, plugin, item)
    package = kind.__module__.partition(".")[0]
    if package in FOREIGN:
        raise SettingsError(
            f"{kind.__name__} is a callback of {package}; give it to {package} itself, beside trainbus, or list "
            "trainbus's own, from trainbus.plugins"
        )
    check_plugin(kind.__name__, item)
    return PluginEntry(name, item)
