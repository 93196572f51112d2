"""What counts as better than the best so far."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from .numbers import Number, where


def improves(score: Number, reference: Number, min_delta: Number = 0.0) -> Number:
    """Return whether a finite ``score`` exceeds ``reference`` by more than ``min_delta``.

    Args:
        score: The new score; one that is not finite never improves.
        reference: The score to exceed.
        min_delta: The difference that an improvement must exceed.

    >>> improves(1.0, 1.0), improves(1.5, 1.0, 0.5), improves(float("nan"), -inf), improves(0.0, -inf)
    (False, False, False, True)
    """
    return (abs(score) < inf) & (score - min_delta > reference)


class Best(NamedTuple):
    """The best score so far and its epoch."""

    score: Number = -inf
    epoch: Number = -1


def best_rule(state: Best, score: Number, epoch: Number) -> tuple[Best, Number]:
    """Keep the best of all scores; the verdict is whether this score is the best so far.

    >>> best_rule(Best(score=1.0, epoch=0), 2.0, 1)
    (Best(score=2.0, epoch=1), True)
    """
    improved = improves(score, state.score)
    return Best(where(improved, score, state.score), where(improved, epoch, state.epoch)), improved
