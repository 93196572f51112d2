"""How decisions are reached: pure state machines, each (state, observation) -> (state, verdict).

Nothing here branches on a value, so that one function steps a single run (Python scalars) and thousands of runs at
once (NumPy arrays, given as state or as settings). Scores always improve upwards: a metric that improves downwards is
negated before it comes here, which IEEE arithmetic mirrors exactly.

The rules are those of Keras 3.15.1's callbacks with one exception: a score that is not finite is never an improvement
(Keras keeps a NaN that comes first as best for ever).
"""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple, TypeAlias, cast

__all__ = [
    "Best",
    "Intervals",
    "Patience",
    "Plateau",
    "PlateauVerdict",
    "StoppingVerdict",
    "best_rule",
    "crossing_rule",
    "improves",
    "interval_rule",
    "plateau_rule",
    "stopping_rule",
]

Number: TypeAlias = Any
"""A float, int or bool, or an array of them."""


def where(condition: Number, yes: Number, no: Number) -> Number:
    """`yes` where `condition` holds, else `no`."""
    if isinstance(condition, bool):
        return yes if condition else no
    import numpy as np  # noqa: PLC0415 - only arrays come here, so their library is loaded already

    return cast("Number", np.where(condition, yes, no))


def improves(score: Number, reference: Number, min_delta: Number = 0.0) -> Number:
    """Whether `score` beats `reference` by more than `min_delta`: strictly, and never when it is not finite.

    >>> improves(1.0, 1.0), improves(1.5, 1.0, 0.5), improves(float("nan"), -inf), improves(0.0, -inf)
    (False, False, False, True)
    """
    return (abs(score) < inf) & (score - min_delta > reference)


class Best(NamedTuple):
    """The best score so far and when it came."""

    score: Number = -inf
    epoch: Number = -1


def best_rule(state: Best, score: Number, epoch: Number) -> tuple[Best, Number]:
    """The best of all scores so far; the verdict tells whether this one is it."""
    improved = improves(score, state.score)
    return Best(where(improved, score, state.score), where(improved, epoch, state.epoch)), improved


class Patience(NamedTuple):
    """What early stopping remembers."""

    best: Number = -inf
    best_epoch: Number = -1
    wait: Number = 0


class StoppingVerdict(NamedTuple):
    """What early stopping finds."""

    improved: Number
    stop: Number


def stopping_rule(
    state: Patience,
    score: Number,
    epoch: Number,
    *,
    patience: Number = 0,
    min_delta: Number = 0.0,
    baseline: Number = -inf,
    start_from_epoch: Number = 0,
) -> tuple[Patience, StoppingVerdict]:
    """Stop when the score has not improved for `patience` epochs; 0 means 1, and epoch 0 never stops.

    `wait` starts anew at an improvement that also beats `baseline` (a score; -inf for none). An improvement that does
    not beat it goes on waiting, yet never stops the run itself. Epochs before `start_from_epoch` are not looked at.

    Source: keras 3.15.1, `EarlyStopping.on_epoch_end`.

    >>> state, verdict = stopping_rule(Patience(), -1.0, 0)
    >>> stopping_rule(state, -1.0, 1)
    (Patience(best=-1.0, best_epoch=0, wait=1), StoppingVerdict(improved=False, stop=True))
    """
    counts = epoch >= start_from_epoch
    improved = counts & improves(score, state.best, min_delta)
    wait = where(improved & improves(score, baseline, min_delta), 0, state.wait + counts)
    stop = counts & (improved ^ True) & (wait >= patience) & (epoch > 0)
    best = where(improved, score, state.best)
    return Patience(best, where(improved, epoch, state.best_epoch), wait), StoppingVerdict(improved, stop)


class Plateau(NamedTuple):
    """What reducing the learning rate on a plateau remembers."""

    best: Number = -inf
    wait: Number = 0
    cooldown: Number = 0


class PlateauVerdict(NamedTuple):
    """What reducing the learning rate on a plateau finds."""

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
    """Reduce when the score has not improved for `patience` epochs (0 means 1), then rest for `cooldown` - 1 epochs.

    `reducible` tells whether any rate is above its floor: below it, `wait` grows on and no cooldown begins.

    Source: keras 3.15.1, `ReduceLROnPlateau.on_epoch_end`, whose cooldown counts the epoch in which it ends.

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


class Intervals(NamedTuple):
    """What saving at every n-th batch remembers."""

    waited: Number = 0
    batch: Number = -1


def interval_rule(state: Intervals, batch: Number, every: Number) -> tuple[Intervals, Number]:
    """Act once `every` batches have passed, counted across epochs; the count starts anew whenever it acts.

    `batch` counts from 0 in its epoch. A loop that reports only some batches (Keras's `steps_per_execution`) has
    passed those between as well.

    Source: keras 3.15.1, `ModelCheckpoint._should_save_on_batch`.

    >>> interval_rule(Intervals(waited=2, batch=3), batch=0, every=3)
    (Intervals(waited=0, batch=0), True)
    """
    waited = state.waited + where(batch <= state.batch, batch + 1, batch - state.batch)
    due = waited >= every
    return Intervals(where(due, 0, waited), batch), due


def crossing_rule(before: Number, count: Number, every: Number) -> tuple[Number, Number]:
    """Act when the count has reached or passed a multiple of `every`, once however many it has passed.

    The state is the count itself, so that a run which goes on from any count acts where the unbroken one would have.

    >>> crossing_rule(499, 501, every=500), crossing_rule(501, 501, every=500)
    ((501, True), (501, False))
    """
    return count, count // every > before // every
