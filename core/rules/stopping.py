"""When training stops: after a number of scores without an improvement."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from .improvement import improves
from .numbers import Number, where


class Patience(NamedTuple):
    """State of early stopping: the best score, its epoch, and the epochs waited since."""

    best: Number = -inf
    best_epoch: Number = -1
    wait: Number = 0


class StoppingVerdict(NamedTuple):
    """Verdict of early stopping."""

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
    """Stop when the score has not improved for ``patience`` epochs; epoch 0 never stops.

    An improvement that also beats ``baseline`` resets ``wait`` to 0. An improvement that does not beat it lets ``wait``
    grow, but does not stop the run itself.

    Args:
        state: The state after the previous epoch.
        score: The score of the epoch; higher is better.
        epoch: The epoch, counted from 0.
        patience: Epochs without improvement after which to stop; 0 means 1.
        min_delta: The difference that an improvement must exceed.
        baseline: A score that an improvement must also beat to reset ``wait``; -inf for none.
        start_from_epoch: The first epoch that counts; earlier ones are ignored.

    Source: keras 3.15.1, ``EarlyStopping.on_epoch_end``.

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
