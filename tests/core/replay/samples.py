"""Samples that real libraries wrote, and what they measured, for the tests of readers."""

import json
from pathlib import Path
from typing import Any

from trainbus.replay import Recording

FORMATS = Path(__file__).parent / "formats"
"""A directory for each library."""
MEASURED: dict[str, Any] = json.loads((FORMATS / "measured.json").read_text())
CURVE = [0.9, 0.6, 0.5, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7]
"""The loss that code logged where the library itself measures nothing."""


def logged(recording: Recording, name: str) -> list[float]:
    """Return the logged values of a metric."""
    values, there = recording.metrics[name]
    return values[there].tolist()


def steps(recording: Recording) -> list[int]:
    """Return what the run counted at each row."""
    assert recording.steps is not None
    return recording.steps.tolist()


def best(recording: Recording, name: str, mode: str = "min") -> int:
    """Return the place of the best value of a metric: its step, or its epoch if the run counts epochs."""
    values, there = recording.metrics[name]
    places = recording.epochs if recording.steps is None else recording.steps
    chosen = (min if mode == "min" else max)(values[there])
    return int(places[there][values[there].tolist().index(chosen)])
