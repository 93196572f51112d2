"""Replay of recorded runs with other callback settings.

This package requires NumPy, so ``import trainbus`` does not import it; write ``import trainbus.replay``.
"""

from .loading.loader import read, read_all
from .records import Recording, RunOutcome, Series, SimulatedAction
from .replayer import Replay, replay
from .sweeper import Recommendation, Sweep, sweep

__all__ = [
    "Recommendation",
    "Recording",
    "Replay",
    "RunOutcome",
    "Series",
    "SimulatedAction",
    "Sweep",
    "read",
    "read_all",
    "replay",
    "sweep",
]
