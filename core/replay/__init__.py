"""Replay of recorded runs under other callback settings.

NumPy is needed, so ``import trainbus`` does not import this package; write ``import trainbus.replay``.
"""

from .loading import read, read_all
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
