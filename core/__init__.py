"""trainbus: one list of callbacks for every training loop.

A training loop reports events, plugins answer with decisions, the run joins these into one decision and executes it.
"""

from . import capabilities, decision, rules
from .callback import Callback, MonitoredCallback
from .checkpoints import Checkpoint
from .decision import Decision
from .errors import (
    CheckpointError,
    JournalError,
    LoopError,
    MissingCapability,
    MissingDependency,
    MissingMetric,
    RankError,
    SettingsError,
    TrainbusError,
    UnknownDirection,
    UnknownName,
    UnreadableCheckpoint,
)
from .failures import Failure
from .hooks import Hooks, hookimpl, listens_to
from .lambda_callback import LambdaCallback
from .metrics.best_value import BestValue
from .metrics.direction import direction_of
from .metrics.monitor import Monitor
from .result import Result
from .run import Run
from .run_view import RunView
from .settings.built_in import VERSION as __version__  # noqa: N811
from .settings.registry import callbacks_from, installed
from .settings.settings_file import dumps, load
from .watch import watch

__all__ = [
    "BestValue",
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "Decision",
    "Failure",
    "Hooks",
    "JournalError",
    "LambdaCallback",
    "LoopError",
    "MissingCapability",
    "MissingDependency",
    "MissingMetric",
    "Monitor",
    "MonitoredCallback",
    "RankError",
    "Result",
    "Run",
    "RunView",
    "SettingsError",
    "TrainbusError",
    "UnknownDirection",
    "UnknownName",
    "UnreadableCheckpoint",
    "__version__",
    "callbacks_from",
    "capabilities",
    "decision",
    "direction_of",
    "dumps",
    "hookimpl",
    "installed",
    "listens_to",
    "load",
    "rules",
    "watch",
]
