"""The metric by which a run was judged, as its log names it."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Objective(NamedTuple):
    """The metric by which the tool that trained a run compared its moments, or its search compared runs."""

    metric: str
    """Its name in ``Recording.metrics``."""
    mode: Literal["min", "max"]
    """Whether lower or higher values are better."""
