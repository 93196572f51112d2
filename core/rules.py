"""How decisions are reached: pure state machines, each (state, observation) -> (state, verdict).

Nothing here branches on a value, so that one function steps a single run (Python scalars) and thousands of runs at
once (NumPy arrays, given as state or as settings). Scores always improve upwards: a metric that improves downwards is
negated before it comes here, which IEEE arithmetic mirrors exactly.

The rules are those of Keras 3.15.1's callbacks with one exception: a score that is not finite is never an improvement
(Keras keeps a NaN that comes first as best for ever).
"""

from __future__ import annotations

import re
from math import inf, isfinite, nan
from typing import Any, Literal, NamedTuple, TypeAlias, cast

__all__ = [
    "Best",
    "Intervals",
    "Kept",
    "Patience",
    "Plateau",
    "PlateauVerdict",
    "Retention",
    "Smoothing",
    "StoppingVerdict",
    "best_rule",
    "check_smoothing",
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


class Kept(NamedTuple):
    """A checkpoint as retention sees it."""

    path: str
    epoch: int
    step: int
    score: float
    """How good it is, higher is better; NaN where nothing tells."""


class Retention(NamedTuple):
    """What retention finds: whether the new checkpoint is saved, on which ground, and which others go."""

    among_best: bool
    among_last: bool
    forget: tuple[str, ...]
    """Paths to forget once the new checkpoint is saved; never its own."""

    @property
    def save(self) -> bool:
        """Whether the new checkpoint stays on any ground, and so is saved at all."""
        return self.among_best or self.among_last


def retention_rule(
    kept: tuple[Kept, ...], new: Kept, *, best: int = 0, last: int = 0
) -> tuple[tuple[Kept, ...], Retention]:
    """Keep the `best` checkpoints of the highest scores and the `last` newest ones; one may be both.

    Of equal scores the earlier one is better, and one that is not finite is never among the best. A path is one entry:
    what is saved there again replaces what it held, so to be among the best it must also beat that.

    >>> a, b, c = Kept("a", 0, 10, 3.0), Kept("b", 1, 20, 1.0), Kept("c", 2, 30, 2.0)
    >>> retention_rule((a, b), c, best=1, last=1)[1]
    Retention(among_best=False, among_last=True, forget=('b',))
    >>> retention_rule((a, b), c, best=1)[1].save
    False
    """
    there = next((each for each in kept if each.path == new.path), None)
    others = [each for each in kept if each.path != new.path]
    pool = sorted([*others, new], key=lambda each: (each.epoch, each.step))
    ranked = sorted((each for each in pool if isfinite(each.score)), key=lambda each: -each.score)
    leaders = {each.path for each in ranked[:best]}
    newest = {each.path for each in pool[-last:]} if last else set[str]()
    beaten = there is None or not isfinite(there.score) or new.score > there.score
    among_best, among_last = new.path in leaders and beaten, new.path in newest
    if not (among_best or among_last):
        return kept, Retention(among_best, among_last, ())
    staying = leaders | newest
    forgotten = tuple(each.path for each in pool if each.path not in staying)
    return tuple(each for each in pool if each.path in staying), Retention(among_best, among_last, forgotten)


_WORDS = re.compile(r"(ema) (0?\.\d{1,9})|(median) (\d{1,3})")
_FEWEST = 2


class Smoothing(NamedTuple):
    """How a score is smoothed, and the rule that does it.

    The state is a tuple of numbers, or of arrays of them, which steps many runs at once. A score that is not finite
    leaves the state as it is and comes out as NaN, which no rule takes for an improvement.

    >>> ema = Smoothing.parse("ema 0.5")
    >>> state, _ = ema.step(ema.begin(), 1.0)
    >>> ema.step(state, 2.0)
    ((1.5,), 1.5)
    """

    kind: Literal["ema", "median"]
    amount: float
    """Of "ema", the part of the average that stays at each step; of "median", how many of the last scores."""

    @classmethod
    def parse(cls, text: str) -> Smoothing:
        """What a `smoothing` means.

        Raises:
            ValueError: it means nothing.

        >>> Smoothing.parse("ema 0.9"), Smoothing.parse("median 5")
        (Smoothing(kind='ema', amount=0.9), Smoothing(kind='median', amount=5))
        """
        found = _WORDS.fullmatch(text)
        amount = float(found[2] or found[4]) if found else 0.0
        if found is None or amount == 0 or (found[3] and amount < _FEWEST):
            raise ValueError(
                'give such as "ema 0.9", an average of which that part stays at each epoch, '
                'or "median 5", the median of so many last values'
            )
        return cls("ema", amount) if found[1] else cls("median", int(amount))

    def __str__(self) -> str:
        return f"{self.kind} {self.amount:g}"

    def begin(self) -> tuple[Any, ...]:
        """The state before the first score."""
        return (nan,) * (1 if self.kind == "ema" else int(self.amount))

    def step(self, state: tuple[Any, ...], score: Any) -> tuple[tuple[Any, ...], Any]:
        """The state after one more score, and the score made smooth."""
        finite = abs(score) < inf
        if self.kind == "ema":
            (average,) = state
            # a step towards the score: a score that stays the same must not drift upwards by rounding
            moved = where(average == average, average + (1 - self.amount) * (score - average), score)
            after = (where(finite, moved, average),)
            return after, where(finite, after[0], nan)
        after = tuple(where(finite, new, old) for new, old in zip((*state[1:], score), state, strict=True))
        return after, where(finite, _median(after), nan)


def check_smoothing(text: str | None) -> str | None:
    """The text itself, where it is a smoothing or None.

    Raises:
        ValueError: it is neither.
    """
    return None if text is None else str(Smoothing.parse(text))


def _median(window: tuple[Any, ...]) -> Any:
    """The median of what is there; NaN where nothing is."""
    if not any(hasattr(each, "shape") for each in window):
        there = sorted(each for each in window if each == each)
        return (there[(len(there) - 1) // 2] + there[len(there) // 2]) / 2 if there else nan
    import numpy as np  # noqa: PLC0415 - only arrays come here, so their library is loaded already

    ranked = cast("Any", np.sort(np.stack(np.broadcast_arrays(*window)), axis=0))  # NaN comes last
    count = (ranked == ranked).sum(axis=0)
    lower, upper = (
        np.take_along_axis(ranked, np.maximum(place, 0)[None], axis=0)[0] for place in ((count - 1) // 2, count // 2)
    )
    return (lower + upper) / 2
