"""Count batches and weight updates.

A loop that no plugin listens to stores only one number for each batch, since these stores are most of the cost of a
batch. The other numbers are computed when they are read.
"""

from __future__ import annotations


class UnobservedLoop:
    """A loop over batches that no plugin listens to; it counts its batches itself.

    Args:
        accumulate: Batches in one weight update; None if updates are counted elsewhere.
        first: Number of the first batch in its epoch, counted from 0.
    """

    __slots__ = ("accumulate", "batch", "counted", "first")

    def __init__(self, accumulate: int | None, first: int = 0) -> None:
        self.accumulate = accumulate
        self.batch = self.first = first
        self.counted = -1
        """The last batch that was counted in its body."""

    @property
    def trained_batches(self) -> int:
        """Batches of the epoch that were trained on."""
        return self.batch + (self.counted == self.batch)

    @property
    def steps(self) -> int:
        """Weight updates since the first batch of the loop."""
        return self.trained_batches // self.accumulate - self.first // self.accumulate if self.accumulate else 0


class Counters:
    """The batch of the epoch and the weight updates of the run: stored counts plus those of open loops.

    >>> counters = Counters()
    >>> loop = UnobservedLoop(accumulate=2)
    >>> counters.loops.append(loop)
    >>> loop.batch = 5
    >>> counters.current_batch, counters.current_step
    (5, 2)
    """

    __slots__ = ("_later", "batch", "counted", "in_batch", "loops", "steps", "trained_batches")

    def __init__(self) -> None:
        self.batch = 0
        self.in_batch = False
        """Whether a batch that an adapter reports has begun, after its hooks, and not ended."""
        self.counted = False
        """Whether the batch whose body is running is counted already; a loop that counts itself has its own."""
        self.trained_batches = 0
        self.steps = 0
        self.loops: list[UnobservedLoop] = []
        self._later: list[object] = []
        """What the loop that began last looks at."""

    def begin_loop(self) -> list[object]:
        """Return a list that is empty until another loop begins; looking at it costs a batch least."""
        self._later.append(None)
        self._later, self.counted = [], False
        return self._later

    def count_batch(self, accumulate: int | None) -> None:
        """Count the batch whose body is running, once; its weight update was made.

        Args:
            accumulate: Batches in one weight update; None if updates are counted elsewhere.
        """
        if self.loops:
            self.loops[-1].counted = self.loops[-1].batch
        elif not self.counted:
            self.counted, self.trained_batches = True, self.batch + 1
            self.steps += accumulate is not None and self.trained_batches % accumulate == 0

    @property
    def current_batch(self) -> int:
        """The current batch of the epoch, or its last, counted from 0."""
        return self.loops[-1].batch if self.loops else self.batch

    @property
    def current_trained_batches(self) -> int:
        """Batches of the current or last loop that were trained on."""
        return self.loops[-1].trained_batches if self.loops else self.trained_batches

    @property
    def current_step(self) -> int:
        """Total weight updates of the run."""
        return self.steps + sum(loop.steps for loop in self.loops)

    def close(self, loop: UnobservedLoop) -> None:
        """Store the counts of a loop; if it was left in a batch, this batch stays the current one."""
        self.loops.remove(loop)
        self.steps += loop.steps
        self.batch, self.trained_batches = loop.batch, loop.trained_batches
