"""Where a run stands: batch of the epoch, and weight updates of the whole run.

Both are slots, and a loop that nobody hears stores one number a batch: these stores are most of what a batch costs.
"""

from __future__ import annotations

__all__ = ["Counters", "UnobservedLoop"]


class UnobservedLoop:
    """A loop over batches that nobody hears: it counts them, and the rest follows when somebody asks."""

    __slots__ = ("accumulate", "batch", "first")

    def __init__(self, accumulate: int | None, first: int = 0) -> None:
        self.accumulate = accumulate
        self.batch = self.first = first

    @property
    def steps(self) -> int:
        """Weight updates that the loop has made since its first batch."""
        return self.batch // self.accumulate - self.first // self.accumulate if self.accumulate else 0


class Counters:
    """Batch and steps, as far as they were stored, and the loops that still count by themselves.

    >>> counters = Counters()
    >>> loop = UnobservedLoop(accumulate=2)
    >>> counters.loops.append(loop)
    >>> loop.batch = 5
    >>> counters.present_batch, counters.present_step
    (5, 2)
    """

    __slots__ = ("batch", "done", "loops", "steps")

    def __init__(self) -> None:
        self.batch = 0
        self.done = 0
        self.steps = 0
        self.loops: list[UnobservedLoop] = []

    @property
    def present_batch(self) -> int:
        """The present batch of the epoch, or its last, counted from 0."""
        return self.loops[-1].batch if self.loops else self.batch

    @property
    def present_done(self) -> int:
        """Batches of the present loop, or the last one, that were trained on."""
        return self.loops[-1].batch if self.loops else self.done

    @property
    def present_step(self) -> int:
        """Weight updates made in the whole run."""
        return self.steps + sum(loop.steps for loop in self.loops)

    def leave(self, loop: UnobservedLoop) -> None:
        """Store what a loop has counted; the batch that it is left in stays the present one."""
        self.loops.remove(loop)
        self.steps += loop.steps
        self.batch = self.done = loop.batch
