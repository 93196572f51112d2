"""How much of the time of the batches the training has waited for data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter

from trainbus import Run, hookimpl


class BatchTimes:
    """Measures the time between two batches, and in them, since the epoch began."""

    def __init__(self) -> None:
        self.count: Callable[[], float] = lambda: 0.0
        """Returns how many samples were trained, if the subject knows it."""
        self.samples = self.before = 0.0
        self.counting = False
        """Whether batches were trained since ``samples`` was read; a validation may begin the count anew."""
        self.waited = self.trained = 0.0
        self.batches = 0
        self.since: float | None = None
        """When the last batch ended; None if the time until the next one is no wait for data."""
        self.began = 0.0

    @hookimpl
    def on_epoch_begin(self) -> None:
        """Begin to measure; the first batch is waited for from here."""
        self.waited = self.trained = self.samples = 0.0
        self.batches, self.counting = 0, False
        self.since = perf_counter()

    @hookimpl
    def on_batch_begin(self) -> None:
        """Count the time since the last batch as waiting."""
        if not self.batches:
            self.before = self.count()
        self.began = perf_counter()
        if self.since is not None:
            self.waited += self.began - self.since

    @hookimpl
    def on_batch_end(self) -> None:
        """Count the time of the batch as training."""
        self.since = perf_counter()
        self.trained += self.since - self.began
        self.batches += 1
        self.counting = True

    @hookimpl
    def on_validation_begin(self) -> None:
        """Leave the validation out: it is no wait for data."""
        self._count()
        self.since = None

    @hookimpl
    def on_validation_end(self) -> None:
        """Measure again."""
        self.since = perf_counter()

    def read(self, run: Run) -> Mapping[str, float]:
        """Return the share of the waiting, the batches and the samples a second; nothing without batches."""
        total = self.waited + self.trained
        if not self.batches or total <= 0:
            return {}
        found = {"data_wait_share": self.waited / total, "batches_per_second": self.batches / total}
        counts = [entry[1] for name, entry in run.state.means.sums().items() if not name.startswith(("val_", "\0"))]
        self._count()
        samples = max(counts, default=0)
        samples = samples if samples > self.batches else self.samples
        if samples:  # the loop logs count=, the number of samples, or the adapter knows it
            found["samples_per_second"] = samples / total
        return found

    def _count(self) -> None:
        if self.counting:
            self.samples, self.counting = max(self.count() - self.before, 0.0), False
