"""Recordings whose file names the metric by which its tool judged the run."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal, TypeAlias

from ...objective import Objective
from ...records import Recording
from ..metric_names import standard_name

Judged: TypeAlias = tuple[str, Literal["min", "max"] | None]
"""The label of a metric in a file, and whether the file calls lower or higher values better."""
UNKNOWN: Final[Judged] = ("", None)


def judged_by(recording: Recording, label: str, mode: Literal["min", "max"] | None) -> Recording:
    """Return a recording with its objective; without one if it has no such metric, or the direction is unknown.

    Args:
        recording: The run.
        label: The metric by its label in the file.
        mode: Whether the file calls lower or higher values better; None if it does not say.

    >>> import numpy as np
    >>> run = Recording("a", np.arange(1), {"val_auc": (np.ones(1), np.ones(1, np.bool_))})
    >>> judged_by(run, "validation/auc", "max").objective
    Objective(metric='val_auc', mode='max')
    """
    name = standard_name(label)
    if mode is None or name not in recording.metrics:
        return recording
    return replace(recording, objective=Objective(name, mode))
