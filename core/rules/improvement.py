"""What counts as better than the best so far."""

from __future__ import annotations

from math import inf
from typing import NamedTuple, Protocol

from .numbers import Number, where


def improves(
    score: Number,
    reference: Number,
    min_delta: Number = 0.0,
    relative_delta: Number = 0.0,
    ties: Number = False,  # noqa: FBT002 - it may be an array
) -> Number:
    """Return whether a finite ``score`` exceeds ``reference`` by more than ``min_delta``.

    Args:
        score: The new score; one that is not finite never improves.
        reference: The score to exceed.
        min_delta: The difference that an improvement must exceed.
        relative_delta: The same as a fraction of the magnitude of ``reference``; one of the two is 0.
        ties: Whether a score that only reaches this limit improves, too.

    >>> improves(1.0, 1.0), improves(1.5, 1.0, 0.5), improves(float("nan"), -inf), improves(0.0, -inf)
    (False, False, False, True)
    >>> improves(-0.95, -1.0, relative_delta=0.1), improves(-0.85, -1.0, relative_delta=0.1)
    (False, True)
    """
    lowered, limit = score - min_delta, _limit(reference, relative_delta)
    return (abs(score) < inf) & ((lowered > limit) | (ties & (lowered == limit)))


def _limit(reference: Number, relative_delta: Number) -> Number:
    """Return the reference, raised by a fraction of its magnitude.

    For a value that is not negative this is the formula of PyTorch, to the bit. For a negative one PyTorch would lower
    the limit, so that a worse score improves.

    Source: torch 2.13, ``torch.optim.lr_scheduler.ReduceLROnPlateau._is_better``.
    """
    if isinstance(relative_delta, (int, float)) and not relative_delta:  # as always, unless it is asked for
        return reference
    risen, fallen = (reference > 0) & (reference < inf), (reference < 0) & (reference > -inf)
    return reference * (1 + relative_delta * (1 * risen - 1 * fallen))


class Best(NamedTuple):
    """The best score so far, its epoch, and its second score, which breaks ties."""

    score: Number = -inf
    epoch: Number = -1
    second: Number = -inf


def best_rule(
    state: Best,
    score: Number,
    epoch: Number,
    *,
    second: Number = -inf,
    ties: Number = False,
) -> tuple[Best, Number]:
    """Keep the best of all scores; the verdict is whether this score is the best so far.

    Args:
        state: The state after the previous score.
        score: The new score; higher is better.
        epoch: Its epoch.
        second: The score of a second metric: of equal scores, the one with the higher second score is better.
        ties: Whether the newer of equal scores is the better one, if the second score does not decide.

    >>> best_rule(Best(score=1.0, epoch=0), 2.0, 1)
    (Best(score=2.0, epoch=1, second=-inf), True)
    >>> best_rule(Best(score=2.0, epoch=0), 2.0, 1)[1], best_rule(Best(score=2.0, epoch=0), 2.0, 1, ties=True)[1]
    (False, True)
    """
    improved = improves(score, state.score, ties=breaks_tie(second, state.second, ties))
    after = Best(
        where(improved, score, state.score),
        where(improved, epoch, state.epoch),
        where(improved, second, state.second),
    )
    return after, improved


def breaks_tie(second: Number, best: Number, ties: Number) -> Number:
    """Return whether an equal score is better, by its second score; ``ties`` decides if both are equal.

    A second score that is not finite is lower than every finite one, also if it is that of the best.

    >>> breaks_tie(2.0, 1.0, False), breaks_tie(1.0, 2.0, True), breaks_tie(1.0, 1.0, True)
    (True, False, True)
    >>> breaks_tie(1.0, float("nan"), False), breaks_tie(float("nan"), 1.0, True), breaks_tie(inf, -inf, True)
    (True, False, True)
    """
    finite, known = abs(second) < inf, abs(best) < inf
    better = finite & ((known ^ True) | (second > best))
    worse = known & ((finite ^ True) | (second < best))
    return better | (ties & (worse ^ True))


class Compared(Protocol):
    """The state of a rule that keeps a best score."""

    @property
    def best(self) -> Number:
        """The best score so far."""
        ...

    @property
    def second(self) -> Number:
        """The second score of the best."""
        ...


class Comparison(NamedTuple):
    """How a score compares with the best so far, and the best after it."""

    improved: Number
    """Whether the score is enough of an improvement to count as one."""
    is_best: Number
    """Whether the score is the best so far; with ``creeping``, a score may be that and still no improvement."""
    best: Number
    second: Number


def compare(
    state: Compared,
    score: Number,
    second: Number,
    reference: Number,
    *,
    min_delta: Number = 0.0,
    relative_delta: Number = 0.0,
    ties: Number = False,
    creeping: Number = False,
    counts: Number = True,
) -> Comparison:
    """Compare a score with the best so far.

    Args:
        state: The state after the previous score.
        score: The new score; higher is better.
        second: The score of a second metric: of equal scores, the one with the higher second score is better.
        reference: The score that an improvement must exceed: the best, or a score above it.
        min_delta: The difference by which an improvement must exceed it.
        relative_delta: The same as a fraction of the magnitude of ``reference``; one of the two is 0.
        ties: Whether the newer of equal scores is the better one, if the second score does not decide.
        creeping: Whether a better score becomes the best even if it is no improvement.
        counts: Whether the score counts; if not, nothing changes.

    >>> class State(NamedTuple):
    ...     best: float
    ...     second: float
    >>> compare(State(1.0, -inf), 1.2, -inf, 1.0, min_delta=0.5, creeping=True)
    Comparison(improved=False, is_best=True, best=1.2, second=-inf)
    """
    tie = breaks_tie(second, state.second, ties)
    improved = counts & improves(score, reference, min_delta, relative_delta, tie)
    is_best = improved | (counts & creeping & improves(score, state.best, ties=tie))
    return Comparison(improved, is_best, where(is_best, score, state.best), where(is_best, second, state.second))
