"""Train by steps: intervals of weight updates, each with a validation at its end, in the place of epochs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..callback import Callback
from ..decision import Decision
from ..engine.loops.step_loop import StepLoop
from ..engine.plan import EpochPlan, StepPlan
from ..errors import LoopError, SettingsError
from ..failures import LOG
from ..metrics.missing_metric import MetricAdvice
from ..metrics.origin import Origin
from ..resume.loaders.stream import Stream
from ..terminal import plural

if TYPE_CHECKING:
    from ..distributed.group import Group
    from ..engine.bus import Bus
    from ..engine.rates.learning_rates import LearningRates
    from ..engine.resumer import Resumer
    from ..engine.run_state import RunState

T = TypeVar("T")

_VALIDATE = "write `if run.validation_due:` and in it `with run.validation():`, after the weight update"
ADVICE = MetricAdvice(
    validation=f"in the loop over run.steps(), {_VALIDATE}",
    metric="at a validation that has no value, log None: run.log({{{name!r}: None}})",
    where="when one was due",
)
"""What the user of a loop by steps writes to have a metric logged."""


class Training(Protocol):
    """The part of ``Lifecycle`` that loops use."""

    # ruff: noqa: D102
    @property
    def state(self) -> RunState: ...
    @property
    def bus(self) -> Bus: ...
    @property
    def group(self) -> Group: ...
    @property
    def rates(self) -> LearningRates: ...
    @property
    def resumer(self) -> Resumer: ...
    def require(self, phase: str, otherwise: str) -> None: ...
    def require_epoch(self, call: str) -> None: ...
    def begin_epoch(self, run: object, epoch: int) -> None: ...
    def end_epoch(self, run: object, metrics: dict[str, Any]) -> None: ...
    def finish_left_epoch(self, run: object) -> None: ...
    def execute(self, run: object, decision: Decision) -> None: ...


class Ends(Protocol):
    """Says whether a loop ends: the part of ``Loops`` that a loop by steps uses."""

    def ends_here(self) -> bool: ...
    def ends(self, batches: int = 0, accumulate: int | None = 1) -> bool: ...


class StepTraining:
    """A loop by steps: its intervals, one after another."""

    def __init__(self) -> None:
        self._interval: StepLoop[Any] | None = None
        self._missed = False

    def batches(
        self,
        training: Training,
        run: object,
        stream: Stream[T],
        plan: StepPlan,
        accumulate: int | None,
        number: int,
        loop: Ends,
    ) -> Generator[T]:
        """Iterate over the batches of all intervals.

        Args:
            training: What orders the parts of the run.
            run: The run.
            stream: The batches.
            plan: How many steps to train, and when to validate.
            accumulate: Batches in one weight update; None if the loop sets ``step`` itself.
            number: The first interval, counted from 0.
            loop: Says whether the loop ends.
        """
        state, resumer = training.state, training.resumer
        while not loop.ends_here() and (resumer.mid_epoch or not plan.is_done(number, state.step)):
            begun = _begin_of_interval(state, resumer)
            training.begin_epoch(run, number)
            if loop.ends_here():
                return
            state.validation_freq = 1
            due = plan.next_validation(begun)
            yield from self._batches_of(training, run, stream, accumulate, number, due, loop.ends)
            if stream.ended:
                _report_end(training, plan)
                if not stream.drawn:
                    return
            training.end_epoch(run, {})
            if stream.ended:
                return
            number += 1

    def _batches_of(
        self,
        training: Training,
        run: object,
        stream: Stream[T],
        accumulate: int | None,
        number: int,
        due: int,
        ends: Callable[[int, int | None], bool],
    ) -> Generator[T]:
        """Iterate over the batches of one interval, which ends with the step ``due``."""
        state = training.state
        trained, left = state.counters.trained_batches, max(due - state.step, 0)
        size = None
        if accumulate is not None:
            size = trained - trained % accumulate + left * accumulate
        elif not left:  # of an interval that was saved at its last batch
            size = trained
        stream.begin(number, size)
        state.planned_batches = size
        training.rates.first_batch()
        batches, first = training.resumer.begin_loop(stream)
        is_last = partial(_has_reached, state, due) if size is None else partial(_has_drawn_all, stream)
        self._interval = interval = StepLoop[T](run, state, training.bus, accumulate, is_last)
        yield from interval.batches(batches, first, partial(training.execute, run), ends)
        if not state.validated and is_last():
            self._report_missed(training, due)
        elif not state.validated:  # a decision or the loader has ended it before its validation
            state.validation_freq = None

    def _report_missed(self, training: Training, due: int) -> None:
        """Report once that a validation was due that the loop has not made; its metrics are those of the training."""
        if not self._missed:
            self._missed = True
            training.group.bind("report", LOG.warning)(
                "run.steps(validate_every=%d): no validation at step %d; %s",
                training.state.plan.validate_every,
                due,
                _VALIDATE,
            )

    def require_due(self, state: RunState) -> None:
        """Count the present batch of a loop by steps when its validation begins.

        Raises:
            LoopError: No validation is due after this batch.
        """
        interval = self._interval
        if interval is None:
            return
        if not self.is_due(state):
            every = state.plan.validate_every
            raise LoopError(f"a validation is not due here, with validate_every={every}: {_VALIDATE}")
        interval.count()

    def is_due(self, state: RunState) -> bool:
        """Return whether the present batch is the last one before a validation.

        Raises:
            LoopError: No loop by steps has begun.
        """
        if self._interval is None:
            raise LoopError("run.validation_due belongs inside of a loop over run.steps(loader, n, validate_every=m)")
        return state.epoch_open and self._interval.is_last()


def refuse_other_unit(resumer: Resumer, plan: EpochPlan | StepPlan, step: int) -> None:
    """Refuse a loop by steps from a checkpoint of a loop over epochs, and the other way round.

    Args:
        resumer: Restores the run from its checkpoint, if it has one.
        plan: What the loop trains for.
        step: Weight updates of the checkpoint's run.

    Raises:
        SettingsError: The checkpoint is of another loop.
    """
    then, now = resumer.saved.validate_every, plan.validate_every
    if resumer.has_trained and (then is None) != (now is None):
        was, use = ("over epochs", "run.epochs(n)") if then is None else ("by steps", "run.steps(loader, n, ...)")
        raise SettingsError(
            f"resume={resumer.source!r}: the checkpoint is of a loop {was}; write {use}, or load its weights and begin "
            f"with Run(start={{'step': {step}}})"
        )


def _begin_of_interval(state: RunState, resumer: Resumer) -> int:
    """Return the step with which the next interval begins, or had begun if the run continues in the middle of one."""
    same = resumer.mid_epoch and resumer.saved.validate_every == state.plan.validate_every
    return state.last_validation if same else state.step


def check_no_epochs(callbacks: Iterable[Callback], origin: Origin) -> None:
    """Refuse options that count epochs: a loop by steps has none.

    Args:
        callbacks: The callbacks.
        origin: How far the training had come before the run.

    Raises:
        SettingsError: There are such options; the message names each, and what to write.
    """
    problems = [*epoch_problems((type(each).__name__, each) for each in callbacks)]
    if origin.epoch:
        problems.append(f"start: 'epoch': {origin.epoch}: a loop by steps has no epochs; give 'step'")
    if problems:
        raise SettingsError("\n".join(problems))


def epoch_problems(callbacks: Iterable[tuple[str, Callback]]) -> Iterator[str]:
    """Yield each option of callbacks, given with their names, that counts epochs, and what to write."""
    for name, callback in callbacks:
        for option, advice in callback.epoch_options().items():
            yield f"{name}: {option}: a loop by steps has no epochs; {advice}"


def _has_reached(state: RunState, due: int) -> bool:
    return state.step >= due


def _has_drawn_all(stream: Stream[Any]) -> bool:
    return stream.at_last


def _report_end(training: Training, plan: StepPlan) -> None:
    if plan.total is not None:
        training.group.bind("report", LOG.warning)(
            "run.steps(): the loader has no more batches after %s of %d; give one that begins again when it is "
            "iterated over again, such as a DataLoader, or a function that returns a batch",
            plural(training.state.step, "step"),
            plan.total,
        )
