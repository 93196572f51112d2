"""The best value of a metric."""

from __future__ import annotations

from typing import NamedTuple


class BestValue(NamedTuple):
    """The best value of a metric and its epoch, counted from 0.

    >>> BestValue(0.5, 3).where, BestValue(0.5, 3, step=1000).where
    ('in epoch 4', 'at step 1000')
    """

    value: float
    epoch: int
    """In a loop by steps, the number of the validation, counted from 0."""
    step: int | None = None
    """In a loop by steps, the weight updates at that validation; None in a loop over epochs."""

    @property
    def where(self) -> str:
        """Return in words when it was reached."""
        return f"in epoch {self.epoch + 1}" if self.step is None else f"at step {self.step}"
