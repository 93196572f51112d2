"""Failures that do not end the run: errors of observers, lost parts of plugins, and files that were not written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from textwrap import shorten
from typing import NamedTuple

from .errors import MissingDependency, SettingsError

LOG = logging.getLogger("trainbus")

MAX_FAILURES = 3
"""Failures of one observer in one run after which it is disabled."""

MAX_CHARS = 300
"""Characters shown of an error message that has several lines."""


class Failure(NamedTuple):
    """Something that went wrong and did not end the run."""

    plugin: str
    hook: str
    """The hook in which an observer raised; empty if a part of it failed, or its checkpoint was not written."""
    error: Exception
    """The exception, without its traceback, which would keep tensors alive; the log has it at level DEBUG."""
    lost: str = ""
    """What is missing, such as "no graph"; empty if the error alone explains the failure."""

    def __str__(self) -> str:
        where = f"{self.plugin} in {self.hook}" if self.hook else self.plugin
        return ": ".join(filter(None, [where, self.lost, type(self.error).__name__, _one_line(self.error)]))


def _one_line(error: Exception) -> str:
    message = str(error)
    return shorten(message, MAX_CHARS, placeholder=" ...") if len(message.splitlines()) > 1 else message


ENGINE = "trainbus"
"""The plugin name of the engine's own hooks; users have not listed it, so messages do not contain it."""


def is_observer(plugin: object) -> bool:
    """Return whether the training can continue without the plugin: its attribute ``critical`` is False."""
    return getattr(plugin, "critical", True) is False


def is_on_every_rank(plugin: object) -> bool:
    """Return whether every rank calls an observer, on its own: its attribute ``every_rank`` is True.

    No rank waits at its hooks. It sees the metrics of its own rank, except where ranks meet in any case.
    """
    return getattr(plugin, "every_rank", False) is True


def add_plugin_note(error: BaseException, hook: str, plugin: str) -> None:
    """Add a note to the error that names the plugin and the hook that raised it, unless the engine itself raised it."""
    if plugin != ENGINE:
        note = f"raised in {hook} by the plugin {plugin!r}"
        if note not in getattr(error, "__notes__", ()):  # each function that it passes through may add it
            error.add_note(note)


class Failures:
    """The failures of one run, and the observers that they have disabled."""

    def __init__(self) -> None:
        self.all: list[Failure] = []
        self.disabled: set[str] = set()
        self._on_disabled: dict[str, list[Callable[[], object]]] = {}

    def on_disabled(self, plugin: str, callback: Callable[[], object]) -> None:
        """Call ``callback`` when the plugin is disabled."""
        self._on_disabled.setdefault(plugin, []).append(callback)

    def record(self, plugin: str, error: Exception, lost: str = "") -> None:
        """Record a part that a plugin has lost, and log it in one line; may be called in any thread."""
        LOG.warning("%s; the training continues", self._add(Failure(plugin, "", error, lost)))

    def record_hook_error(self, plugin: str, hook: str, error: Exception) -> None:
        """Record an observer's error; disable the observer after ``MAX_FAILURES`` of them.

        Raises:
            SettingsError: ``error`` itself, if the observer rejects the run in ``on_train_begin``.
            MissingDependency: ``error`` itself, if the observer rejects the run in ``on_train_begin``.
        """
        if hook == "on_train_begin" and isinstance(error, (SettingsError, MissingDependency)):
            add_plugin_note(error, hook, plugin)
            raise error
        failure = self._add(Failure(plugin, hook, error))
        count = sum(each.plugin == plugin and bool(each.hook) for each in self.all)
        if count == MAX_FAILURES:
            LOG.warning("%s; failure %d: the plugin is disabled, the training continues", failure, count)
            self.disabled.add(plugin)
            for callback in self._on_disabled.pop(plugin, ()):
                callback()
        elif count == 1 or count > MAX_FAILURES:
            LOG.warning("%s; the plugin only observes, so the training continues", failure)

    def _add(self, failure: Failure) -> Failure:
        LOG.debug("%s", failure, exc_info=failure.error)
        failure.error.with_traceback(None)
        self.all.append(failure)
        return failure
