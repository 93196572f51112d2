"""Recorded runs, and what other settings would have decided on them.

Imported by name, since it needs NumPy: `import trainbus.replay`.
"""

from .outcome import Decided, Outcome
from .reading import read, read_all
from .recording import Recording, Series
from .replays import Replay, replay
from .sweeps import Recommendation, Sweep, sweep

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
