"""The loops of a run: over epochs and their batches, or by steps."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from functools import partial
from inspect import GEN_RUNNING, GEN_SUSPENDED, getgeneratorstate
from itertools import count
from typing import Any, TypeVar

from ..engine.loops.batch_loop import observed_batches, unobserved_batches
from ..engine.loops.epoch_loop import EpochLoop
from ..engine.plan import EpochPlan, StepPlan
from ..errors import LoopError
from ..failures import LOG
from ..resume.loaders.dataloader_state import length_of
from ..resume.loaders.stream import Stream
from ..settings.arguments import check_loader, check_validation_freq, checked_accumulate, whole_number
from .idle_callbacks import IdleCallbacks
from .parts import Parts
from .step_training import ADVICE, StepTraining, Training, check_no_epochs, refuse_other_unit

T = TypeVar("T")


class Loops:
    """Makes the loops of the run, and refuses one inside of another.

    Args:
        parts: The parts of the run. Methods receive what orders them: this must not keep a run alive that was dropped.
    """

    def __init__(self, parts: Parts) -> None:
        self.state, self.group, self.bus = parts.state, parts.group, parts.bus
        self._stop_requests, self._resumer, self._rates = parts.stop_requests, parts.resumer, parts.rates
        self._collector, self._callbacks = parts.collector, parts.callbacks
        self.step_training = StepTraining()
        self.idle_callbacks = IdleCallbacks(parts.callbacks, parts.state, parts.group.bind("report", LOG.warning))
        self._kind = ""
        """The method of the run whose loop has begun, if one has: "epochs" or "steps"."""
        self._batches: Callable[[], Generator[Any] | None] = lambda: None
        self._accumulate: int | None = None
        """Batches in one weight update of the loop over the batches of an epoch."""
        self._epochs: Callable[[], EpochLoop | None] = lambda: None

    def epochs(
        self,
        training: Training,
        run: object,
        epochs: int | None,
        initial_epoch: int,
        validation_freq: int | Collection[int],
    ) -> Iterator[int]:
        """Iterate over the epochs, or until a decision ends the training."""
        training.require("open", "epochs() belongs inside `with run:`")
        first = whole_number("initial_epoch", initial_epoch, 0)
        if epochs is not None:
            epochs = whole_number("epochs", epochs, 0)
        check_validation_freq(validation_freq)
        self._begin(training, run, "epochs", EpochPlan(epochs))
        self.state.validation_freq = validation_freq
        first = self._resumer.first_epoch(first)
        numbers = count(first) if epochs is None else range(first, epochs)
        return EpochLoop(self._each_epoch(training, run, numbers), self._note_epochs)

    def _each_epoch(self, training: Training, run: object, epochs: Iterable[int]) -> Generator[int]:
        for epoch in epochs:
            if self.ends_here():
                return
            training.begin_epoch(run, epoch)
            if self.ends_here():
                return
            yield epoch
            training.end_epoch(run, {})

    def batches(self, training: Training, run: object, loader: Iterable[T], accumulate: int | None) -> Iterator[T]:
        """Iterate over the batches of one epoch, or until a decision ends the training."""
        accumulate = checked_accumulate(accumulate)
        check_loader("batches", loader)
        training.require_epoch("batches()")
        if self._kind == "steps":
            raise LoopError("run.batches() inside of run.steps(), which gives the batches itself; leave it out")
        state, bus, self._accumulate = self.state, self.bus, accumulate
        state.planned_batches = length_of(loader)
        self.idle_callbacks.begin_batches(accumulate)
        self._rates.first_batch()
        batches, first = self._resumer.begin_loop(loader)
        if bus.on_batch_begin is None and bus.on_batch_end is None:
            return self._noted(unobserved_batches(state, batches, first, accumulate, self.ends))
        execute = partial(training.execute, run)
        return self._noted(observed_batches(run, state, bus, batches, first, accumulate, execute, self.ends))

    def steps(
        self,
        training: Training,
        run: object,
        loader: Iterable[T] | Callable[[], T],
        steps: int | None,
        validate_every: int,
        accumulate: int | None,
    ) -> Generator[T]:
        """Iterate over batches until so many weight updates were made, or until a decision ends the training."""
        training.require("open", "steps() belongs inside `with run:`")
        total = None if steps is None else whole_number("steps", steps, 0)
        plan = StepPlan(total, whole_number("validate_every", validate_every, 1))
        accumulate = checked_accumulate(accumulate)
        if not callable(loader):
            check_loader("steps", loader)
        check_no_epochs(self._callbacks.values(), self.state.origin)
        self._begin(training, run, "steps", plan)
        self.state.metric_advice = ADVICE
        first = self._resumer.first_epoch()
        report, saved = self.group.bind("report", LOG.warning), self._collector.enabled
        stream = Stream(loader, self.state.subject, self.group.size, report, saved=saved)
        batches = self.step_training.batches(training, run, stream, plan, accumulate, first, self)
        return self._noted(batches)

    def _begin(self, training: Training, run: object, kind: str, plan: EpochPlan | StepPlan) -> None:
        self._refuse_nested(None, kind)
        if self._kind not in ("", kind):
            raise LoopError(f"run.{kind}() after run.{self._kind}(): one run counts epochs or steps; make a new run")
        refuse_other_unit(self._resumer, plan, self.state.step)
        training.finish_left_epoch(run)
        self._kind, self.state.plan = kind, plan

    def _note_epochs(self, loop: EpochLoop) -> None:
        self._refuse_nested(loop, "epochs")
        self._epochs = weakref.ref(loop)

    def in_batch(self) -> bool:
        """Return whether the body of a batch is running."""
        loop = self._batches()
        return loop is not None and getgeneratorstate(loop) == GEN_SUSPENDED

    def count_batch(self) -> None:
        """Count the batch in whose body a validation begins.

        Raises:
            LoopError: In a loop by steps, no validation is due after this batch.
        """
        if self._kind == "steps":
            self.step_training.require_due(self.state)
            return
        if self.in_batch():
            self.state.counters.count_batch(self._accumulate)

    def _noted(self, loop: Generator[T]) -> Generator[T]:
        self._batches = weakref.ref(loop)
        return loop

    def _refuse_nested(self, loop: EpochLoop | None, kind: str) -> None:
        by_steps = self._batches() if self._kind == "steps" else None
        if by_steps is not None and getgeneratorstate(by_steps) == GEN_SUSPENDED and self.state.epoch_open:
            raise LoopError(f"run.{kind}() inside of a loop over run.steps(); leave that loop before it")
        outer = self._epochs()
        if outer is not None and outer.encloses(loop):
            raise LoopError(
                f"run.{kind}() inside of another loop over run.epochs(); leave the outer loop before it, or let the "
                "inner one count without the run, as in `for part in range(n)`"
            )

    def ends_here(self) -> bool:
        """Return whether the loop over epochs ends; an epoch in which a killed run had stopped is ended first."""
        return not self._resumer.mid_epoch and self.ends()

    def ends(self, batches: int = 0, accumulate: int | None = 1) -> bool:
        """Return whether a decision ends the loop here; a stop request ends it after the next weight update."""
        if accumulate is None or batches % accumulate == 0:
            self._stop_requests.check()
        if self.state.interrupted:  # the loop has caught that
            return True
        return self.state.decided_to_stop and self.group.may_stop()

    def close(self) -> None:
        """Close the loop that an error has left; a stored error would keep the workers of the loader alive."""
        self._collector.release_loaders()
        loop = self._batches()
        if loop is not None and getgeneratorstate(loop) != GEN_RUNNING:
            loop.close()
