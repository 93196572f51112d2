"""A loop over epochs that knows whether a ``for`` statement is in the middle of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from inspect import GEN_SUSPENDED, getgeneratorstate


class EpochLoop(Iterator[int]):
    """Iterates over the epochs of a generator.

    Each ``for`` statement has an iterator of its own, which is freed when the statement is left, also if the script
    still holds the loop. So a weak reference to the iterator shows whether the statement is still running.

    Args:
        epochs: The epochs.
        begin: Called with the iterator of a statement before each of its epochs.
    """

    def __init__(self, epochs: Generator[int], begin: Callable[[EpochLoop], object]) -> None:
        self.epochs, self._begin = epochs, begin

    def __iter__(self) -> EpochLoop:
        return EpochLoop(self.epochs, self._begin)

    def __next__(self) -> int:
        self._begin(self)
        return next(self.epochs)

    def encloses(self, other: EpochLoop | None) -> bool:
        """Return whether the loop is in an epoch that ``other``, a later loop or one to come, is not part of."""
        same = other is not None and other.epochs is self.epochs
        return not same and getgeneratorstate(self.epochs) == GEN_SUSPENDED
