"""What a loop will train, as far as it is known before its first epoch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from ..terminal import plural


class PlannedTraining(NamedTuple):
    """What a loop will train.

    >>> PlannedTraining(range(2, 5)).in_words()
    '5 epochs are planned'
    """

    epochs: range
    """The epochs to train, counted from 0; in a loop by steps, the intervals between validations."""
    unit: Literal["epoch", "validation"] = "epoch"
    """What is counted."""
    steps: range | None = None
    """From the weight updates at the begin to those at the end, at most; None if unknown."""
    batches: int | None = None
    """Batches to train, at most; None if unknown."""
    resumed: bool = False
    """Whether plugins continue from a state of earlier epochs."""
    learning_rates: Mapping[str, float] = MappingProxyType({})
    """Name to present value; empty if unknown."""

    def in_words(self, count: int | None = None, what: str = "") -> str:
        """Return how much is planned, what comes before the begin included.

        Args:
            count: How many; None for the epochs.
            what: Of what, in the singular.
        """
        count, what = (self.epochs.stop, self.unit) if count is None else (count, what)
        words = f"{count:,} batches" if what == "batch" and count != 1 else plural(count, what)
        return f"{words} {'is' if count == 1 else 'are'} planned"
