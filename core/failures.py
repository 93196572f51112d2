"""What was reported instead of ending the run: observers that raise, what plugins and checkpoints go without."""

from __future__ import annotations

import logging
from collections.abc import Callable
from textwrap import shorten
from typing import NamedTuple

from .errors import MissingDependency, SettingsError

__all__ = ["LIMIT", "LOG", "Failure", "Failures", "add_plugin_note", "is_observer"]

LIMIT = 3
"""Failures of one observer in one run after which it is switched off."""

MOST = 300
"""Characters that are told of an error that takes several lines."""

LOG = logging.getLogger("trainbus")


class Failure(NamedTuple):
    """Something that went wrong and did not end the run."""

    plugin: str
    hook: str
    """The hook in which an observer raised; empty where the plugin itself goes on without something, or a checkpoint
    that it asked for was not written."""
    error: Exception
    """What was raised, without its traceback: that would keep alive what the training wants to free. The traceback
    goes to the log, at level DEBUG."""
    lost: str = ""
    """What the plugin goes on without: "no graph", say; empty where the error tells it all."""

    def __str__(self) -> str:
        where = f"{self.plugin} in {self.hook}" if self.hook else self.plugin
        return ": ".join(filter(None, [where, self.lost, type(self.error).__name__, _one_line(self.error)]))


def _one_line(error: Exception) -> str:
    """What it says; of many lines, as some of PyTorch's have them, as much as one takes."""
    said = str(error)
    return shorten(said, MOST, placeholder=" ...") if len(said.splitlines()) > 1 else said


def is_observer(plugin: object) -> bool:
    """Whether a plugin says of itself that the training can do without it."""
    return getattr(plugin, "critical", True) is False


def add_plugin_note(error: BaseException, hook: str, plugin: str) -> None:
    """Let an error name the plugin and the hook that it comes from."""
    error.add_note(f"raised in {hook} by the plugin {plugin!r}")


class Failures:
    """The failures of one run, and the observers that are switched off because of theirs."""

    def __init__(self) -> None:
        self.all: list[Failure] = []
        self.off: set[str] = set()
        self._switches: dict[str, list[Callable[[], object]]] = {}

    def when_off(self, plugin: str, switch: Callable[[], object]) -> None:
        """Call `switch` as soon as the plugin is switched off."""
        self._switches.setdefault(plugin, []).append(switch)

    def note(self, plugin: str, error: Exception, lost: str = "") -> None:
        """Take note of what a plugin goes on without, in one line; from whatever thread."""
        LOG.warning("%s; the training goes on", self._add(Failure(plugin, "", error, lost)))

    def _add(self, failure: Failure) -> Failure:
        LOG.debug("%s", failure, exc_info=failure.error)
        failure.error.with_traceback(None)
        self.all.append(failure)
        return failure

    def tolerate(self, plugin: str, hook: str, error: Exception) -> None:
        """Report an observer's error; at the `LIMIT`-th the observer is switched off.

        Raises:
            SettingsError, MissingDependency: `error` itself, where the observer so refuses the run at its beginning.
        """
        if hook == "on_train_begin" and isinstance(error, (SettingsError, MissingDependency)):
            add_plugin_note(error, hook, plugin)
            raise error
        failure = self._add(Failure(plugin, hook, error))
        count = sum(each.plugin == plugin and bool(each.hook) for each in self.all)
        if count == LIMIT:
            LOG.warning("%s; that is failure %d: it is switched off, the training goes on", failure, count)
            self.off.add(plugin)
            for switch in self._switches.pop(plugin, ()):
                switch()
        elif count == 1 or count > LIMIT:
            LOG.warning("%s; it only observes, so the training goes on", failure)
