"""Recorded runs, and what other settings would have decided on them.

Imported by name, since it needs NumPy: `import trainbus.replay`.
"""

from .outcome import Decided, Outcome
from .recording import Recording, Series
from .replays import Replay, replay
from .sweeps import Recommendation, Sweep, sweep

__all__ = ["Decided", "Outcome", "Recommendation", "Recording", "Replay", "Series", "Sweep", "replay", "sweep"]
