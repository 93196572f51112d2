"""Whether recorded runs can show anything about when to stop."""

from __future__ import annotations

from typing import Final

import numpy as np

from .curves import Curves, first_best

FEWEST: Final = 8
"""The number of values of a run below which it shows no trend."""


def why_nothing(curves: Curves, metric: str) -> str | None:
    """Return why no early stopping can be learnt from these runs; None if one can.

    Args:
        curves: The runs.
        metric: What messages call the metric.

    >>> from .curves import build_curves
    >>> from .metric_choice import MetricChoice
    >>> from .records import Recording, Series
    >>> falling = Series(np.linspace(3, 2, 20), np.ones(20, np.bool_))
    >>> loss = MetricChoice("loss", "min", "")
    >>> why_nothing(build_curves([Recording("a", np.arange(20), {"loss": falling})], loss), "loss")
    'loss of the only run is best at its end, so that any stop would have come too early'
    """
    finite = np.isfinite(curves.scores)
    longest = int(finite.sum(axis=1).max(initial=0))
    if not longest:
        return f"{metric} has no finite value"
    lowest = np.where(finite, curves.scores, np.inf).min(axis=1, initial=np.inf)
    highest = np.where(finite, curves.scores, -np.inf).max(axis=1, initial=-np.inf)
    if longest > 1 and not (highest > lowest).any():
        return f"{metric} never changes"
    if longest < FEWEST:
        values = "value" if longest == 1 else "values"
        where = "the run has" if len(curves.names) == 1 else "no run has more than"
        return f"{where} {longest} {values} of {metric}, and fewer than {FEWEST} show no trend"
    if len(curves.names) == 1 and first_best(curves.scores[0]) == int(np.flatnonzero(finite[0])[-1]):
        return f"{metric} of the only run is best at its end, so that any stop would have come too early"
    return None
