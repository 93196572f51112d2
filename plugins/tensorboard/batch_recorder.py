"""What listens to the batches of a run and has TensorBoard show them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from trainbus import Run, hookimpl
from trainbus.metrics.scalars import deferred_scalars

from .epoch_recorder import Charts
from .speed import Speed

if TYPE_CHECKING:
    from . import TensorBoard
    from .profiler import TorchProfile
    from .writer.event_writer import Made


class BatchCharts(Charts):
    """Writes also what happens every few weight updates.

    Args:
        settings: what was asked for.
    """

    def __init__(self, settings: TensorBoard) -> None:
        super().__init__(settings)
        freq = settings.update_freq
        self.every = freq if isinstance(freq, int) else 1 if freq == "batch" else sys.maxsize
        self.intervals = 0  # that have passed in the whole run, also before it was resumed
        self.tags: dict[str, str | None] = {}
        self.shows_speed = settings.write_steps_per_second
        self.main, self.batch = self.layout.main, self._batch
        self.batch_speed = Speed()

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Also get ready what batches need."""
        from .writer.summaries import scalars  # noqa: PLC0415 - tensorboardX imports PyTorch

        super().on_train_begin(run)
        self.scalars = scalars

    @hookimpl
    def on_epoch_begin(self, run: Run) -> None:
        """Also count the intervals that have passed."""
        super().on_epoch_begin(run)
        self.intervals = run.step // self.every
        self.batch_speed.begin(run.step)

    @hookimpl
    def on_batch_end(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Write the running means, where an interval is over."""
        # a loop may make several updates in one batch, or several batches to one update
        interval = step // self.every
        if interval > self.intervals:
            self.intervals = interval
            speed = self.batch_speed.until(step) if self.shows_speed else None
            self.writer.put(self.main, step, self.batch, (deferred_scalars(metrics), speed))

    def _batch(self, then: tuple[Callable[[], dict[str, float]], float | None]) -> Made:
        """In the thread that writes: computing means and naming them takes its time."""
        tags, shown = self.tags, then[0]()
        if then[1] is not None:
            shown.setdefault("steps_per_second", then[1])
        if not shown.keys() <= tags.keys():
            tags.update((name, self.layout.of_batch(name)) for name in shown)
        return self.scalars({tag: value for name, value in shown.items() if (tag := tags[name]) is not None})


class ProfiledCharts(BatchCharts):
    """Runs PyTorch's profiler over some weight updates.

    Args:
        settings: what was asked for.
    """

    profile: TorchProfile | None = None

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        """Also get the profiler ready."""
        from .profiler import TorchProfile  # noqa: PLC0415 - PyTorch

        super().on_train_begin(run)
        first, last = map(int, (self.settings.profile or "").split(":"))
        self.profile = TorchProfile(self.log_dir / self.layout.main, first, last)

    @hookimpl
    def on_batch_begin(self, run: Run) -> None:
        """Begin to profile, where that is due."""
        self._profile(lambda profile: profile.before(run.step))

    @hookimpl
    def on_batch_end(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Also end the profile, where that is due."""
        super().on_batch_end(step, metrics)
        self._profile(lambda profile: profile.after(step))

    @hookimpl
    def on_train_end(self, run: Run) -> None:
        """Also end a profile that is not over yet."""
        self._profile(lambda profile: profile.close())
        super().on_train_end(run)

    def _profile(self, do: Callable[[TorchProfile], None]) -> None:
        """Have the profiler do something, where there is one; one that fails is done without."""
        if self.profile is None:
            return
        try:
            do(self.profile)
        except Exception as error:  # noqa: BLE001 - training is worth more than its pictures
            self.profile = None
            self._note("no profile", error)
