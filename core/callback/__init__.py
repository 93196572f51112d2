"""Callbacks: what a user lists. Each is a frozen value, which makes a new plugin for every run."""

from .callback import Callback, journal_directory
from .monitored_callback import MonitoredCallback, direction_or_auto, unknown_directions
from .option_types import Mode, PathText, Verbose

__all__ = [
    "Callback",
    "Mode",
    "MonitoredCallback",
    "PathText",
    "Verbose",
    "direction_or_auto",
    "journal_directory",
    "unknown_directions",
]
