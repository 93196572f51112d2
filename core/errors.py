"""The errors that trainbus raises on purpose."""

from __future__ import annotations

from collections.abc import Sequence


class TrainbusError(Exception):
    """Base class of every error that trainbus raises on purpose."""


class SettingsError(TrainbusError, ValueError):
    """An option, a path, a name, or a combination of them is wrong."""

    problems: Sequence[tuple[tuple[str | int, ...], str]] = ()
    """Each wrong option of a callback: its path, as keys from the outermost in, and what is wrong with it."""


class UnknownName(SettingsError):
    """No callback, adapter, plugin or hook has this name."""


class UnknownDirection(SettingsError):
    """Neither the metric object nor the metric's name determines whether it improves upwards or downwards."""


class MissingMetric(SettingsError):
    """The run does not log a monitored metric."""


class MissingCapability(SettingsError):
    """The subject lacks a capability that a callback requires."""


class MissingDependency(TrainbusError, ImportError):
    """A required optional package is not installed."""


class CheckpointError(TrainbusError, OSError):
    """A checkpoint could not be written or read."""


class UnreadableCheckpoint(CheckpointError):
    """What a checkpoint holds cannot be read: it is damaged, or was never what its framework writes.

    A subject raises it before it has changed anything; whoever looks for the newest checkpoint then takes another one.
    One that was saved of another model is readable, and no reason to pass it over.
    """


class JournalError(TrainbusError, ValueError):
    """A file is not a journal, or it is damaged."""


class LoopError(TrainbusError, RuntimeError):
    """The training loop called the methods of a run in an invalid order."""


class DirectoryLocked(TrainbusError, OSError):
    """Another run has locked a directory; the message names its owner."""


class RankError(TrainbusError, RuntimeError):
    """Another process that trains the same model failed, left, or did not answer in time."""
