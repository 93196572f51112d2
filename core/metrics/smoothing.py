"""Smooth the values of a metric."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from math import inf, nan
from typing import Any, Literal, NamedTuple, cast

from ..rules import where

_WORDS = re.compile(r"(ema) (0?\.\d{1,9})|(median) (\d{1,3})")
_SHORTEST_WINDOW = 2


class Smoothing(NamedTuple):
    """A method that smooths scores, and its update rule.

    The state is a tuple of numbers, or of arrays for many runs at once. A score that is not finite does not change the
    state, and its smoothed score is NaN, which is never an improvement.

    >>> ema = Smoothing.parse("ema 0.5")
    >>> state, _ = ema.step(ema.begin(), 1.0)
    >>> ema.step(state, 2.0)
    ((1.5,), 1.5)
    """

    kind: Literal["ema", "median"]
    amount: float
    """For "ema", the weight of the previous average; for "median", the size of the window."""

    @classmethod
    def parse(cls, text: str) -> Smoothing:
        """Return the smoothing that a text describes.

        Raises:
            ValueError: The text is not a valid smoothing.

        >>> Smoothing.parse("ema 0.9"), Smoothing.parse("median 5")
        (Smoothing(kind='ema', amount=0.9), Smoothing(kind='median', amount=5))
        """
        found = _WORDS.fullmatch(text)
        amount = float(found[2] or found[4]) if found else 0.0
        if found is None or amount == 0 or (found[3] and amount < _SHORTEST_WINDOW):
            raise ValueError(
                'write "ema 0.9" for an exponential moving average with a decay of 0.9, '
                'or "median 5" for the median of the last 5 values'
            )
        return cls("ema", amount) if found[1] else cls("median", int(amount))

    def __str__(self) -> str:
        return f"{self.kind} {self.amount:g}"

    def begin(self) -> tuple[Any, ...]:
        """Return the state before the first score."""
        return (nan,) * (1 if self.kind == "ema" else int(self.amount))

    def over(self, scores: Iterable[float]) -> Iterator[float]:
        """Yield the smoothed score of each score.

        >>> list(Smoothing.parse("median 3").over([3.0, 1.0, 2.0]))
        [3.0, 2.0, 2.0]
        """
        state = self.begin()
        for each in scores:
            state, smooth = self.step(state, each)
            yield smooth

    def step(self, state: tuple[Any, ...], score: Any) -> tuple[tuple[Any, ...], Any]:
        """Return the state after one more score, and the smoothed score."""
        finite = abs(score) < inf
        if self.kind == "ema":
            (average,) = state
            # written this way, rounding errors cannot change the average of a constant score
            moved = where(average == average, average + (1 - self.amount) * (score - average), score)
            after = (where(finite, moved, average),)
            return after, where(finite, after[0], nan)
        after = tuple(where(finite, new, old) for new, old in zip((*state[1:], score), state, strict=True))
        return after, where(finite, _median(after), nan)


def check_smoothing(text: str | None) -> str | None:
    """Return the text in its normal form, or None for None.

    Raises:
        ValueError: The text is not a valid smoothing.

    >>> check_smoothing("ema .90")
    'ema 0.9'
    """
    return None if text is None else str(Smoothing.parse(text))


def _median(window: tuple[Any, ...]) -> Any:
    """Return the median of the scores that are not NaN; NaN if all are."""
    if not any(hasattr(each, "shape") for each in window):
        known = sorted(each for each in window if each == each)
        return (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2 if known else nan
    import numpy as np  # noqa: PLC0415 - only arrays reach this line, so NumPy is imported already

    ranked = cast("Any", np.sort(np.stack(np.broadcast_arrays(*window)), axis=0))  # NaN is sorted to the end
    count = (ranked == ranked).sum(axis=0)
    lower, upper = (
        np.take_along_axis(ranked, np.maximum(place, 0)[None], axis=0)[0] for place in ((count - 1) // 2, count // 2)
    )
    return (lower + upper) / 2
