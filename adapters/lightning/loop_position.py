"""Where Lightning's loops are, so that a new trainer continues there."""

# Lightning has no public way to begin in the middle
# ruff: noqa: SLF001
# pyright: basic

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from trainbus.binding import RunDriver

TRACKED = ("ready", "started", "processed", "completed")
"""The counters of a progress of Lightning, in the order in which they are raised."""


class LoopPosition:
    """The position of a trainer's loops: what a checkpoint holds of them, and how they continue from it.

    Lightning saves the counters of its loops itself, but not the sums of the metrics that were logged since the epoch
    began, nor whether the last batch is still to be followed by a validation.

    Args:
        trainer: The Lightning trainer.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self.in_batch = False
        """Whether a batch has begun and not ended."""
        self.awaits_validation = False
        """Whether the validation after the last batch, if one is due, has not ended."""
        self.earlier: dict[str, Any] = {}
        """The sums of the training metrics that were logged before the resume, until they are added."""

    def saved(self) -> dict[str, Any]:
        """Return the position as plain data."""
        loop = self._trainer.fit_loop
        counters = {key: each for key, each in loop.state_dict().items() if not key.endswith("state_dict")}
        return {
            "counters": counters,
            "stepped": loop.epoch_loop._batches_that_stepped,
            "in_batch": self.in_batch,
            "awaits_validation": self.awaits_validation,
            "sums": {**self.earlier, **dict(self._sums())},
        }

    def _sums(self) -> Iterator[tuple[str, Any]]:
        """Yield the sums of the metrics of this epoch's training, under the keys of Lightning."""
        for key, metric in self._trainer.fit_loop.epoch_loop._results.items():
            meta = metric.meta
            if metric.is_tensor and meta.on_epoch and not metric.has_reset:
                weight = metric.cumulated_batch_size.item() if meta.is_mean_reduction else None
                names = dict.fromkeys([meta.name, meta.forked_name(on_step=False)])
                yield key, {"sum": metric.value.item(), "weight": weight, "names": list(names)}

    def add_earlier_sums(self) -> None:
        """Add the sums of the interrupted epoch, now that Lightning has the first values of the continued one."""
        earlier, self.earlier = self.earlier, {}
        results = self._trainer.fit_loop.epoch_loop._results
        for key, each in earlier.items():
            if (metric := results.get(key)) is None:
                self.earlier[key] = each
                continue
            value = metric.value.new_tensor(each["sum"])
            if metric.meta.is_max_reduction or metric.meta.is_min_reduction:
                metric.value = metric.meta.reduce_fx(value, metric.value)
            else:
                metric.value = value + metric.value
            if metric.meta.is_mean_reduction:
                metric.cumulated_batch_size = metric.cumulated_batch_size + each["weight"]
            metric._computed = None

    def earlier_means(self) -> dict[str, float]:
        """Return the values of the metrics that the continued epoch has not logged again."""
        earlier, self.earlier = self.earlier, {}
        means = ((each["names"], each["sum"] / (each["weight"] or 1)) for each in earlier.values())
        return {name: mean for names, mean in means for name in names}

    def begin_at(self, driver: RunDriver, saved: Mapping[str, Any] | None) -> None:
        """Let the loops continue where the resumed run was interrupted.

        Args:
            driver: The driver of the run, which has begun.
            saved: What ``saved`` returned then; None if another loop has written the checkpoint.
        """
        loop = self._trainer.fit_loop
        if saved is not None:
            loop.load_state_dict(dict(saved["counters"]))
            loop.epoch_loop._batches_that_stepped = saved["stepped"]
        else:
            self._count_as(driver.run.step)
        mid_epoch = driver.run.resumer.mid_epoch
        set_all(loop.epoch_progress.total, driver.first_epoch)
        set_all(loop.epoch_progress.current, driver.first_epoch)
        for each in (loop, loop.epoch_loop, loop.epoch_loop.val_loop):
            each.on_iteration_done()  # as if they had come here themselves
        if mid_epoch:
            self._begin_inside_of_epoch(driver, saved or {})

    def _count_as(self, steps: int) -> None:
        """Set the counters of weight updates."""
        loop = self._trainer.fit_loop.epoch_loop
        loop._batches_that_stepped = steps
        set_all(loop.automatic_optimization.optim_progress.optimizer.step.total, steps)
        set_all(loop.manual_optimization.optim_step_progress.total, steps)

    def _begin_inside_of_epoch(self, driver: RunDriver, saved: Mapping[str, Any]) -> None:
        loop, run = self._trainer.fit_loop, driver.run
        epoch_loop, fetcher = loop.epoch_loop, loop._data_fetcher
        driver.begin_epoch(driver.first_epoch)
        batches, first = run.resumer.begin_loop(loop._combined_loader)
        while driver.batches_to_skip:  # they are drawn when Lightning asks for the first batch
            driver.begin_batch()
        progress, validation = epoch_loop.batch_progress, epoch_loop.val_loop.batch_progress
        set_all(progress.total, progress.total.processed if saved else first)
        set_all(progress.current, first)
        set_all(validation.total, validation.total.completed)
        set_all(validation.current, validation.current.completed)
        loop.epoch_progress.total.ready = loop.epoch_progress.total.started = driver.first_epoch + 1
        loop.epoch_progress.current.ready = loop.epoch_progress.current.started = driver.first_epoch + 1
        loop._loaded_from_state_dict = loop._resuming_from_checkpoint = True
        loop.restarting = True
        iterator = iter(batches)
        fetcher.iterator, fetcher.fetched, fetcher.done = iterator, 0, False
        if getattr(fetcher, "batches", None):  # drawn in advance, to find the end of an epoch of unknown length
            fetcher.batches[:] = list(islice(iterator, len(fetcher.batches)))
            fetcher.done = not fetcher.batches
        self.awaits_validation, self.earlier = saved.get("awaits_validation", False), dict(saved.get("sums", {}))
        due = first > 0 and epoch_loop._should_check_val_fx(fetcher)
        if due and self.awaits_validation:  # as Lightning counts a validation that has begun
            validation.reset()
            validation.total.ready = validation.total.started = 1
        if not epoch_loop._should_accumulate():  # Lightning counts the last batch again if a validation is due
            epoch_loop._batches_that_stepped += (not saved.get("in_batch", True)) - due
        loop.reset()


def set_all(tracker: Any, count: int) -> None:
    """Set all counters of a tracker."""
    for name in TRACKED:
        if hasattr(tracker, name):
            setattr(tracker, name, count)
