"""Recorded runs, and what other settings would have decided on them.

Imported by name, since it needs NumPy: `import trainbus.replay`.
"""

from .loading import read, read_all
from .outcome import Decided, Outcome
from .records import Recording, Series
from .replayer import Replay, replay
from .sweeper import Recommendation, Sweep, sweep

__all__ = [
    "Decided",
    "Outcome",
    "Recommendation",
    "Recording",
    "Replay",
    "Series",
    "Sweep",
    "read",
    "read_all",
    "replay",
    "sweep",
]
