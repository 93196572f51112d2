"""When the learning rate is reduced: on a plateau of the score."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from .improvement import improves
from .numbers import Number, where


class Plateau(NamedTuple):
    """State of reducing the learning rate on a plateau: the best score, epochs waited, epochs of cooldown left."""

    best: Number = -inf
    wait: Number = 0
    cooldown: Number = 0


class PlateauVerdict(NamedTuple):
    """Verdict of reducing the learning rate on a plateau."""

    improved: Number
    reduce: Number


def plateau_rule(
    state: Plateau,
    score: Number,
    *,
    patience: Number = 10,
    min_delta: Number = 1e-4,
    cooldown: Number = 0,
    reducible: Number = True,
) -> tuple[Plateau, PlateauVerdict]:
    """Reduce when the score has not improved for ``patience`` epochs, then pause ``cooldown - 1`` epochs.

    Args:
        state: The state after the previous epoch.
        score: The score of the epoch; higher is better.
        patience: Epochs without improvement after which to reduce; 0 means 1.
        min_delta: The difference that an improvement must exceed.
        cooldown: Epochs to wait after a reduction, including its own epoch.
        reducible: Whether any rate is above its floor. If none is, ``wait`` keeps growing and no cooldown begins.

    Source: keras 3.15.1, ``ReduceLROnPlateau.on_epoch_end``, whose cooldown counts the epoch in which it ends.

    >>> state, _ = plateau_rule(Plateau(), 1.0, patience=1)
    >>> plateau_rule(state, 1.0, patience=1, cooldown=2)
    (Plateau(best=1.0, wait=0, cooldown=2), PlateauVerdict(improved=False, reduce=True))
    """
    cooling = state.cooldown > 0
    rest = state.cooldown - cooling
    improved = improves(score, state.best, min_delta)
    wait = where(improved | cooling, 0, state.wait) + ((improved ^ True) & (rest == 0))
    reduce = (improved ^ True) & (rest == 0) & (wait >= patience) & reducible
    after = Plateau(where(improved, score, state.best), where(reduce, 0, wait), where(reduce, cooldown, rest))
    return after, PlateauVerdict(improved, reduce)
