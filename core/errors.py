"""Everything that trainbus raises on purpose."""

from __future__ import annotations

from collections.abc import Sequence


class TrainbusError(Exception):
    """Base of every error that trainbus raises on purpose."""


class SettingsError(TrainbusError, ValueError):
    """What was asked for is wrong: an option, a path, a name, or a combination of them."""

    problems: Sequence[tuple[tuple[str | int, ...], str]] = ()
    """Where options of a callback are wrong: of each its place, as keys from the outermost in, and what is wrong."""


class UnknownName(SettingsError):
    """No callback, adapter, plugin or hook has this name."""


class UnknownDirection(SettingsError):
    """Nothing tells whether a metric improves when it rises or when it falls."""


class MissingMetric(SettingsError):
    """A monitored metric is not among those that the run logs."""


class MissingCapability(SettingsError):
    """A callback needs something that the trained subject cannot do."""


class MissingDependency(TrainbusError, ImportError):
    """An optional package is needed and not installed."""


class CheckpointError(TrainbusError, OSError):
    """A checkpoint could not be written or read."""


class UnreadableCheckpoint(CheckpointError):
    """What a checkpoint holds cannot be read: it is damaged, or was never what its framework writes.

    A subject raises it before it has changed anything; whoever looks for the newest checkpoint then takes another one.
    One that was saved of another model is readable, and no reason to pass it over.
    """


class JournalError(TrainbusError, ValueError):
    """A file is no journal, or a damaged one."""


class LoopError(TrainbusError, RuntimeError):
    """The training loop called a run in an order that makes no sense."""


class Held(TrainbusError, OSError):
    """Somebody else owns a directory: the message says who."""


class RankError(TrainbusError, RuntimeError):
    """Of several processes that train one model, another failed, left, or does not answer."""
