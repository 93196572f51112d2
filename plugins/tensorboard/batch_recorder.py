"""The part of TensorBoard's plugin that listens to batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from trainbus import hookimpl
from trainbus.metrics.scalars import deferred_scalars

from .layouts import TensorBoardLayout

if TYPE_CHECKING:
    from .writer.event_writer import EventWriter, Summary


class Throughput:
    """Measures weight updates per second."""

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, step: int) -> None:
        """Start to measure, after ``step`` weight updates."""
        self._time, self._step = perf_counter(), step

    def per_second(self, step: int) -> float:
        """Return the weight updates per second since the last call or ``begin``, and start again."""
        time, before = self._time, self._step
        self.begin(step)
        return (step - before) / max(self._time - time, 1e-9)


class BatchRecorder:
    """Writes the running means after each ``every`` weight updates.

    Args:
        layout: How series are named.
        every: Number of weight updates between two events.
        throughput: Whether to write the weight updates per second.
    """

    writer: EventWriter

    def __init__(self, layout: TensorBoardLayout, every: int, *, throughput: bool) -> None:
        self.layout, self.every = layout, every
        self.intervals = 0  # that have passed in the run, including before a resume
        self.tags: dict[str, str | None] = {}
        self.throughput = Throughput() if throughput else None
        self.run, self.make = layout.main, self._batch  # looked up once, not at every batch

    def begin(self, writer: EventWriter) -> None:
        """Prepare to write."""
        from .writer.summaries import scalars  # noqa: PLC0415 - tensorboardX imports PyTorch

        self.writer, self.scalars = writer, scalars

    def begin_epoch(self, step: int) -> None:
        """Start counting and measuring after ``step`` weight updates."""
        self.intervals = step // self.every
        if self.throughput is not None:
            self.throughput.begin(step)

    @hookimpl
    def on_batch_end(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Write the running means if an interval has passed."""
        # a loop may make several updates in one batch, or one update in several batches
        interval = step // self.every
        if interval > self.intervals:
            self.intervals = interval
            speed = None if self.throughput is None else self.throughput.per_second(step)
            self.writer.put(self.run, step, self.make, (deferred_scalars(metrics), speed))

    def _batch(self, deferred: tuple[Callable[[], dict[str, float]], float | None]) -> Summary:
        """Create the event, in the writing thread, since it takes time to compute and name the means."""
        tags, shown = self.tags, deferred[0]()
        if deferred[1] is not None:
            shown.setdefault("steps_per_second", deferred[1])
        if not shown.keys() <= tags.keys():
            tags.update((name, self.layout.of_batch(name)) for name in shown)
        return self.scalars({tag: value for name, value in shown.items() if (tag := tags[name]) is not None})
