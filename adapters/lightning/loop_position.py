"""Where Lightning's loops are, so that a new trainer continues there."""

# Lightning has no public way to begin in the middle
# ruff: noqa: SLF001
# pyright: basic

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count, islice
from typing import Any

import torch
from lightning.fabric.utilities.data import _set_sampler_epoch

from trainbus.binding import RunDriver

TRACKED = ("ready", "started", "processed", "completed")
"""The counters of a progress of Lightning, in the order in which they are raised."""


class Batches:
    """The training batches of a trainer, for a run that keeps the states of their loaders.

    Args:
        trainer: The Lightning trainer.
        pause: The number of the batch before which it gives None once; negative for none.
    """

    def __init__(self, trainer: Any, pause: int = -1) -> None:
        self._pause = pause
        self._combined = trainer.fit_loop._combined_loader  # is its own iterator
        self.loaders: tuple[Any, ...] = tuple(self._combined.flattened)
        """The loaders, in which the run finds the random generators."""
        self._begun = not trainer.current_epoch
        """Whether Lightning has begun to iterate, which draws random numbers: it does before the first epoch begins."""

    def __iter__(self) -> Iterator[Any]:
        if not self._begun:
            iter(self._combined)
        with suppress(StopIteration):
            for number in count():
                if number == self._pause:
                    yield None
                yield next(self._combined)


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
        """Whether the validation after the last batch that has ended, if one is due, has not ended."""
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
            "awaits_validation": self.awaits_validation and not self.in_batch,
            "sums": {**self.earlier, **dict(self._sums())},
        }

    def _sums(self) -> Iterator[tuple[str, Any]]:
        """Yield what Lightning has of each metric of this epoch's training, under the keys of Lightning."""
        for key, metric in self._trainer.fit_loop.epoch_loop._results.items():
            meta, found = metric.meta, dict[str, Any]()
            if not metric.is_tensor or metric.has_reset:
                continue
            if meta.on_epoch:
                weight = metric.cumulated_batch_size.item() if meta.is_mean_reduction else None
                found |= {"sum": metric.value.item(), "weight": weight, "type": str(metric.value.dtype)[6:]}
                found["names"] = [meta.name, meta.forked_name(on_step=False)]
            if meta.on_step:
                found["last"] = {meta.forked_name(on_step=True): metric._forward_cache.item()}
            yield key, found

    def continue_sums(self) -> None:
        """Let each metric of the continued epoch begin with its sum from before the resume.

        The sum comes before the first value: a batch may log several, and the order of additions decides the last bits.
        """
        results = self._trainer.fit_loop.epoch_loop._results
        if "update_metrics" in vars(results):
            return
        update = results.update_metrics

        def begin_with_sum(key: str, value: Any, batch_size: int) -> None:
            if key in self.earlier:
                self._begin_with_sum(results[key], self.earlier.pop(key))
            update(key, value, batch_size)

        results.update_metrics = begin_with_sum

    @staticmethod
    def _begin_with_sum(metric: Any, earlier: Mapping[str, Any]) -> None:
        if "sum" not in earlier or not metric.is_tensor:
            return
        dtype, device = getattr(torch, earlier["type"]), metric.value.device
        metric.value = torch.tensor(earlier["sum"], dtype=dtype, device=device)
        if metric.meta.is_mean_reduction:
            metric.cumulated_batch_size = metric.cumulated_batch_size.new_tensor(earlier["weight"])

    def earlier_metrics(self) -> dict[str, Any]:
        """Return the metrics that the continued epoch has not logged again, as Lightning would have them."""
        earlier, self.earlier = self.earlier, {}
        vars(self._trainer.fit_loop.epoch_loop._results).pop("update_metrics", None)
        found: dict[str, Any] = {}
        for each in earlier.values():
            found |= each.get("last", {})
            if "sum" in each:
                value = torch.tensor(each["sum"], dtype=getattr(torch, each["type"]))
                found |= dict.fromkeys(each["names"], value if each["weight"] is None else value / each["weight"])
        return found

    def begin_epoch(self, driver: RunDriver) -> None:
        """Begin the epoch that Lightning begins, and keep the states of its loaders."""
        driver.begin_epoch(self._trainer.current_epoch)
        if driver.run.state.epoch_open:
            driver.run.resumer.begin_loop(Batches(self._trainer))

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

    def updates(self) -> Any:
        """Return the counter of weight updates, whose ``completed`` is the trainer's ``global_step``, at less cost."""
        loop = self._trainer.fit_loop.epoch_loop
        if self._trainer.lightning_module.automatic_optimization:
            return loop.automatic_optimization.optim_progress.optimizer.step.total
        return loop.manual_optimization.optim_step_progress.total

    def _count_as(self, steps: int) -> None:
        """Set the counters of weight updates."""
        loop = self._trainer.fit_loop.epoch_loop
        loop._batches_that_stepped = steps
        set_all(self.updates(), steps)

    def _begin_inside_of_epoch(self, driver: RunDriver, saved: Mapping[str, Any]) -> None:
        loop, run = self._trainer.fit_loop, driver.run
        epoch_loop, fetcher = loop.epoch_loop, loop._data_fetcher
        loop._last_train_dl_reload_epoch = driver.first_epoch  # the loader of this epoch was just made
        driver.begin_epoch(driver.first_epoch)
        first = driver.batches_to_skip
        iterator = iter(run.resumer.begin_loop(Batches(self._trainer, pause=first))[0])
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
        fetcher.iterator, fetcher.fetched, fetcher.done = filter(None, iterator), 0, False
        self.awaits_validation, self.earlier = saved.get("awaits_validation", False), dict(saved.get("sums", {}))
        due = first > 0 and epoch_loop._should_check_val_fx(fetcher)
        if due and self.awaits_validation:  # as Lightning counts a validation that has begun
            for loader in loop._combined_loader.flattened:
                _set_sampler_epoch(loader, driver.first_epoch)
            next(iterator, None)  # up to the pause, since the validation draws random numbers
            validation.reset()
            validation.total.ready = validation.total.started = 1
        if getattr(fetcher, "batches", None):  # drawn in advance, to find the end of an epoch of unknown length
            fetcher.batches[:] = list(islice(fetcher.iterator, len(fetcher.batches)))
            fetcher.done = not fetcher.batches
        if not epoch_loop._should_accumulate():  # Lightning counts the last batch again if a validation is due
            epoch_loop._batches_that_stepped += (not saved.get("in_batch", True)) - due
        loop.reset()


def set_all(tracker: Any, count: int) -> None:
    """Set all counters of a tracker."""
    for name in TRACKED:
        if hasattr(tracker, name):
            setattr(tracker, name, count)
