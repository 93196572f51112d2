"""Which policies to recommend, and what each would have cost runs that did not help to choose it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["ADVICE", "Advice", "Estimate", "Limit", "frontier", "left_out_estimate", "most_saving"]

Advice: TypeAlias = Literal["careful", "balanced", "eager"]


class Limit(NamedTuple):
    """What a policy may lose, as parts of what a run gains from its first epoch to its best."""

    mean: float
    worst: float
    words: str


ADVICE: Final[Mapping[Advice, Limit]] = {
    "careful": Limit(0.0, 0.0, "loses nothing in any of these runs"),
    "balanced": Limit(0.01, 0.05, "loses at most 1 % of what a run gains on average, 5 % at worst"),
    "eager": Limit(0.05, 0.25, "loses at most 5 % of what a run gains on average, 25 % at worst"),
}

_NOTHING = 1e-12
"""A part that is lost below which nothing is: sums round."""
_DIGITS = 12


class Estimate(NamedTuple):
    """What a way to choose a policy saves and loses, as parts of the epochs and of what a run gains."""

    saved: float
    lost: float
    worst: float


Parts: TypeAlias = NDArray[np.float64]


def most_saving(saved: Parts, mean: Parts, worst: Parts, limit: Limit) -> int:
    """The policy that saves most of those within the limit; of equal ones the one that loses least, then the first.

    Where none is within it, the one that loses least.

    >>> most_saving(np.array([0.2, 0.5, 0.9]), np.array([0.0, 0.0, 0.5]), np.array([0.0, 0.0, 0.9]), ADVICE["careful"])
    1
    """
    saved, mean = np.round(saved, _DIGITS), np.round(mean, _DIGITS)  # equal ones must not differ by how they were added
    within = (mean <= limit.mean) & (worst <= limit.worst + _NOTHING)
    if not within.any():
        return int(np.lexsort((-saved, mean))[0])
    places = np.flatnonzero(within)
    return int(places[np.lexsort((mean[places], -saved[places]))[0]])


def left_out_estimate(saved: Parts, epochs: Parts, lost: Parts, limit: Limit) -> Estimate | None:
    """What choosing by the limit brings to a run that was not looked at; None where there is only one run.

    Each run is left out in turn, the policy chosen by the others, and applied to it.

    Args:
        saved: epochs saved, [policy, run].
        epochs: epochs recorded, [run].
        lost: parts lost, [policy, run].
        limit: what may be lost.
    """
    policies, runs = saved.shape
    if runs < 2:
        return None
    total, losses = saved.sum(axis=1), lost.sum(axis=1)
    worst = np.argmax(lost, axis=1)
    highest = lost[np.arange(policies), worst]
    second = np.partition(lost, -2, axis=1)[:, -2]
    gained, cost = np.empty(runs), np.empty(runs)
    for run in range(runs):
        others = epochs.sum() - epochs[run]
        chosen = most_saving(
            (total - saved[:, run]) / others,
            (losses - lost[:, run]) / (runs - 1),
            np.where(worst == run, second, highest),
            limit,
        )
        gained[run], cost[run] = saved[chosen, run], lost[chosen, run]
    return Estimate(float(gained.sum() / epochs.sum()), float(cost.mean()), float(cost.max()))


def frontier(saved: Parts, lost: Parts) -> NDArray[np.intp]:
    """The policies that no other beats in both, by rising loss: each saves more than all that lose no more.

    >>> frontier(np.array([0.1, 0.5, 0.4, 0.5]), np.array([0.0, 0.1, 0.2, 0.3])).tolist()
    [0, 1]
    """
    order = np.lexsort((-saved, lost))
    best = np.maximum.accumulate(np.concatenate([[-np.inf], saved[order][:-1]]))
    return order[saved[order] > best]
