"""The direction in which a metric improves, from the metric object of what is trained."""

from __future__ import annotations

from typing import Literal

from ...capabilities import HasDirections, has
from .by_name import direction_of


def direction_for(subject: object, metric: str) -> Literal["min", "max"]:
    """Return the direction in which a metric improves, from the subject's metric object or, without one, from the name.

    Raises:
        UnknownDirection: The metric object and the name do not determine it.
    """
    declared = subject.direction_of(metric) if has(subject, HasDirections) else None
    return declared or direction_of(metric)
