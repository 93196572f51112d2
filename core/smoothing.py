"""A noisy score made smooth before a rule looks at it: pure state machines, written as those of `rules` are."""

from __future__ import annotations

import re
from math import inf, nan
from typing import Any, Literal, NamedTuple, cast

from .rules import where

__all__ = ["Smoothing", "check_smoothing"]

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
