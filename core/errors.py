"""The errors that trainbus raises."""

from __future__ import annotations

from collections.abc import Sequence


class TrainbusError(Exception):
    """Base class of the errors that trainbus raises."""


class SettingsError(TrainbusError, ValueError):
    """An option, a path, a name, or a combination of them is wrong."""

    problems: Sequence[tuple[tuple[str | int, ...], str]] = ()
    """Each wrong option of a callback: its path, as keys from the outermost in, and what is wrong with it."""


class UnknownName(SettingsError):
    """No callback, adapter, plugin or hook has this name."""


class UnknownDirection(SettingsError):
    """The direction in which a metric improves cannot be determined from the metric object or from its name."""


class MissingMetric(SettingsError):
    """The run does not log a monitored metric."""


class MissingCapability(SettingsError):
    """The subject lacks a capability that a callback requires."""


class MissingDependency(TrainbusError, ImportError):
    """A required optional package is not installed."""


class CheckpointError(TrainbusError, OSError):
    """A checkpoint could not be written or read."""


class UnreadableCheckpoint(CheckpointError):
    """The payload of a checkpoint is damaged, or has a format that its framework does not write.

    A subject raises this before it changes anything, so a resume can skip the checkpoint and try an older one. A
    readable checkpoint of a different model must raise another error, because it must not be skipped.
    """


class JournalError(TrainbusError, ValueError):
    """A file is not a journal, or it is damaged."""


class LoopError(TrainbusError, RuntimeError):
    """The training loop called a run's methods in an invalid order."""


class DirectoryLocked(TrainbusError, OSError):
    """Another run has locked a directory; the message names its owner."""

    remedy: str = ""
    """What the user can do if the owner is dead and trainbus cannot know it."""


class RankError(TrainbusError, RuntimeError):
    """Another process that trains the same model failed, left, or did not answer in time."""


def error_text(error: BaseException) -> str:
    """Return an error's type and message; the message alone if it is an ``OSError`` or an error of trainbus.

    >>> error_text(KeyError("weights")), error_text(MemoryError()), error_text(OSError(28, "No space left on device"))
    ("KeyError: 'weights'", 'MemoryError', '[Errno 28] No space left on device')
    """
    message, name = str(error), type(error).__name__
    if message and isinstance(error, (OSError, TrainbusError)):
        return message
    return f"{name}: {message}" if message else name
