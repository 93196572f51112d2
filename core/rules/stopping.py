"""When training stops: after a number of scores without an improvement, or at a score that is good or bad enough."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from .improvement import compare, improves
from .numbers import Number, where


class Patience(NamedTuple):
    """State of early stopping: the best score, its epoch, the epochs waited since, and the second score of the best."""

    best: Number = -inf
    best_epoch: Number = -1
    wait: Number = 0
    second: Number = -inf


class StoppingVerdict(NamedTuple):
    """Verdict of early stopping."""

    improved: Number
    """Whether the score is enough of an improvement to count as one."""
    stop: Number
    best: Number
    """Whether the score is the best so far; with ``creeping``, a score may be that and still no improvement."""


def stopping_rule(
    state: Patience,
    score: Number,
    epoch: Number,
    *,
    patience: Number = 0,
    min_delta: Number = 0.0,
    relative_delta: Number = 0.0,
    baseline: Number = -inf,
    start_from_epoch: Number = 0,
    creeping: Number = False,
    second: Number = -inf,
    ties: Number = False,
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
        relative_delta: The same as a fraction of the magnitude of the best score; one of the two is 0.
        baseline: A score that an improvement must also beat to reset ``wait``; -inf for none.
        start_from_epoch: The first epoch that counts; earlier ones are ignored.
        creeping: Whether a better score becomes the best even if it is no improvement, so that later scores must
            exceed it, too.
        second: The score of a second metric: of equal scores, the one with the higher second score is better.
        ties: Whether the newer of equal scores is the better one, if the second score does not decide.

    Source: keras 3.15.1, ``EarlyStopping.on_epoch_end``; ``creeping`` is pytorch-ignite 0.5.5,
    ``EarlyStopping(cumulative_delta=False)``.

    >>> state, verdict = stopping_rule(Patience(), -1.0, 0)
    >>> stopping_rule(state, -1.0, 1)[1]
    StoppingVerdict(improved=False, stop=True, best=False)
    """
    counts = epoch >= start_from_epoch
    found = compare(
        state,
        score,
        second,
        state.best,
        min_delta=min_delta,
        relative_delta=relative_delta,
        ties=ties,
        creeping=creeping,
        counts=counts,
    )
    resets = found.improved & improves(score, baseline, min_delta, relative_delta)
    wait = where(resets, 0, state.wait + counts)
    stop = counts & (found.improved ^ True) & (wait >= patience) & (epoch > 0)
    after = Patience(found.best, where(found.is_best, epoch, state.best_epoch), wait, found.second)
    return after, StoppingVerdict(found.improved, stop, found.is_best)


class ThresholdVerdict(NamedTuple):
    """Which threshold a score has crossed."""

    not_finite: Number
    reached: Number
    diverged: Number

    @property
    def stop(self) -> Number:
        """Whether the score has crossed any."""
        return self.not_finite | self.reached | self.diverged


def threshold_rule(
    score: Number,
    *,
    stopping_threshold: Number = inf,
    divergence_threshold: Number = -inf,
    check_finite: Number = False,
) -> ThresholdVerdict:
    """Stop at a score that is good enough, bad enough, or not finite; it has no state.

    Args:
        score: The score; higher is better.
        stopping_threshold: Stop at a score above it; inf for none.
        divergence_threshold: Stop at a score below it; -inf for none.
        check_finite: Whether to stop at a score that is not finite.

    Source: lightning 2.6.6, ``EarlyStopping._evaluate_stopping_criteria``.

    >>> threshold_rule(0.95, stopping_threshold=0.9).reached, threshold_rule(0.9, stopping_threshold=0.9).reached
    (True, False)
    """
    infinite = (abs(score) < inf) ^ True
    return ThresholdVerdict(check_finite & infinite, score > stopping_threshold, score < divergence_threshold)


def held_back(epoch: Number, step: Number = 0, *, min_epochs: Number = 0, min_steps: Number = 0) -> Number:
    """Return whether a stop is held back, since fewer epochs or weight updates than the minimum are done.

    >>> held_back(3, min_epochs=5), held_back(4, min_epochs=5), held_back(4, 90, min_epochs=5, min_steps=100)
    (True, False, True)
    """
    return (epoch + 1 < min_epochs) | (step < min_steps)


def early_stopping_rule(
    state: Patience,
    score: Number,
    epoch: Number,
    *,
    stopping_threshold: Number = inf,
    divergence_threshold: Number = -inf,
    check_finite: Number = False,
    min_epochs: Number = 0,
    step: Number = 0,
    min_steps: Number = 0,
    start_from_epoch: Number = 0,
    **patience: Number,
) -> tuple[Patience, StoppingVerdict]:
    """Stop for either reason: patience is exhausted, or a threshold is crossed.

    Args:
        state: The state after the previous epoch.
        score: The score of the epoch; higher is better.
        epoch: The epoch, counted from 0.
        stopping_threshold: As in ``threshold_rule``.
        divergence_threshold: As in ``threshold_rule``.
        check_finite: As in ``threshold_rule``.
        min_epochs: As in ``held_back``.
        step: As in ``held_back``.
        min_steps: As in ``held_back``.
        start_from_epoch: The first epoch that counts, for both.
        patience: The other arguments of ``stopping_rule``.

    >>> state, verdict = early_stopping_rule(Patience(), 0.95, 0, stopping_threshold=0.9, patience=3)
    >>> verdict
    StoppingVerdict(improved=True, stop=True, best=True)
    """
    state, verdict = stopping_rule(state, score, epoch, start_from_epoch=start_from_epoch, **patience)
    crossed = threshold_rule(
        score,
        stopping_threshold=stopping_threshold,
        divergence_threshold=divergence_threshold,
        check_finite=check_finite,
    )
    stop = verdict.stop | (crossed.stop & (epoch >= start_from_epoch))
    held = held_back(epoch, step, min_epochs=min_epochs, min_steps=min_steps)
    return state, verdict._replace(stop=stop & (held ^ True))
