"""The rules behind decisions: pure functions ``(state, observation) -> (state, verdict)``.

A *state* is a named tuple with everything that a rule keeps from earlier epochs; its defaults are the state before the
first epoch. An *observation* is what happens now, usually the score of an epoch. A *verdict* is the result: whether the
score improved, whether to stop, to reduce the learning rate, or to save. A rule has no side effects; the caller keeps
the new state and acts on the verdict.

No rule branches on a value, so that the same function steps one run (Python scalars) or thousands of runs at once
(NumPy arrays as state or as settings). Higher scores are better: the caller negates a metric for which lower is better,
which is exact in IEEE arithmetic.

The rules are those of the callbacks of Keras 3.15.1 with one exception: a score that is not finite is never an
improvement (in Keras, a NaN in the first epoch stays the best value).

>>> state = Patience()
>>> for epoch, score in enumerate([1.0, 2.0, 1.5, 1.6]):
...     state, verdict = stopping_rule(state, score, epoch, patience=2)
>>> state, verdict.stop
(Patience(best=2.0, best_epoch=1, wait=2), True)
"""

from __future__ import annotations

from math import inf, isfinite
from typing import Any, NamedTuple, TypeAlias, cast

__all__ = [
    "Best",
    "Intervals",
    "Kept",
    "Patience",
    "Plateau",
    "PlateauVerdict",
    "Retention",
    "StoppingVerdict",
    "best_rule",
    "crossing_rule",
    "improves",
    "interval_rule",
    "plateau_rule",
    "retention_rule",
    "stopping_rule",
]

Number: TypeAlias = Any
"""A float, int or bool, or an array of them."""


def where(condition: Number, yes: Number, no: Number) -> Number:
    """Return ``yes`` if ``condition`` holds, else ``no``, element by element."""
    if isinstance(condition, bool):
        return yes if condition else no
    import numpy as np  # noqa: PLC0415 - only arrays reach this line, so NumPy is imported already

    return cast("Number", np.where(condition, yes, no))


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


class Intervals(NamedTuple):
    """State of saving at every n-th batch: batches waited, and the last batch seen in its epoch."""

    waited: Number = 0
    batch: Number = -1


def interval_rule(state: Intervals, batch: Number, every: Number) -> tuple[Intervals, Number]:
    """Act when ``every`` batches have passed since the last time, counted across epochs.

    Batches that a loop does not report (with Keras's ``steps_per_execution``) count as well.

    Args:
        state: The state after the previous reported batch.
        batch: The batch that has ended, counted from 0 in its epoch.
        every: The number of batches.

    Source: keras 3.15.1, ``ModelCheckpoint._should_save_on_batch``.

    >>> interval_rule(Intervals(waited=2, batch=3), batch=0, every=3)
    (Intervals(waited=0, batch=0), True)
    """
    waited = state.waited + where(batch <= state.batch, batch + 1, batch - state.batch)
    due = waited >= every
    return Intervals(where(due, 0, waited), batch), due


def crossing_rule(before: Number, count: Number, every: Number) -> tuple[Number, Number]:
    """Act when the count reaches or passes a multiple of ``every``, once even if it passes several.

    The state is the count itself, so that a resumed run acts at the same counts as an uninterrupted one.

    Args:
        before: The count at the previous call.
        count: The present count.
        every: The number whose multiples count.

    >>> crossing_rule(499, 501, every=500), crossing_rule(501, 501, every=500)
    ((501, True), (501, False))
    """
    return count, count // every > before // every


class Kept(NamedTuple):
    """A checkpoint that retention keeps."""

    path: str
    epoch: int
    step: int
    score: float
    """Higher is better; NaN if unknown."""


class Retention(NamedTuple):
    """Verdict of retention: whether the new checkpoint is saved, why, and which others are deleted."""

    among_best: bool
    among_last: bool
    forget: tuple[str, ...]
    """Paths to delete after the new checkpoint is saved; its own path is not among them."""

    @property
    def save(self) -> bool:
        """Whether the new checkpoint is saved."""
        return self.among_best or self.among_last


def retention_rule(
    kept: tuple[Kept, ...], new: Kept, *, best: int = 0, last: int = 0
) -> tuple[tuple[Kept, ...], Retention]:
    """Keep the ``best`` checkpoints with the highest scores and the ``last`` newest ones; one checkpoint may be both.

    Of equal scores the earlier is better; a score that is not finite is never among the best. A new checkpoint at the
    path of a kept one replaces it, so it must beat the old score to be among the best.

    Args:
        kept: The checkpoints that are kept so far.
        new: The checkpoint that could be saved.
        best: How many of the highest scores to keep.
        last: How many of the newest checkpoints to keep.

    Returns:
        The checkpoints that are kept now, and the verdict.

    >>> a, b, c = Kept("a", 0, 10, 3.0), Kept("b", 1, 20, 1.0), Kept("c", 2, 30, 2.0)
    >>> retention_rule((a, b), c, best=1, last=1)[1]
    Retention(among_best=False, among_last=True, forget=('b',))
    >>> retention_rule((a, b), c, best=1)[1].save
    False
    """
    replaced = next((each for each in kept if each.path == new.path), None)
    others = [each for each in kept if each.path != new.path]
    pool = sorted([*others, new], key=lambda each: (each.epoch, each.step))
    ranked = sorted((each for each in pool if isfinite(each.score)), key=lambda each: -each.score)
    leaders = {each.path for each in ranked[:best]}
    newest = {each.path for each in pool[-last:]} if last else set[str]()
    beaten = replaced is None or not isfinite(replaced.score) or new.score > replaced.score
    among_best, among_last = new.path in leaders and beaten, new.path in newest
    if not (among_best or among_last):
        return kept, Retention(among_best, among_last, ())
    staying = leaders | newest
    forgotten = tuple(each.path for each in pool if each.path not in staying)
    return tuple(each for each in pool if each.path in staying), Retention(among_best, among_last, forgotten)
