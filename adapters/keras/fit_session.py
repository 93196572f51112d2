"""One call of Keras's `fit`, and the run that it is."""

# Keras declares no types, and tells nobody but its own classes of calls between layers and of what fit was given
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import trainbus
from trainbus import Decision, LoopError, Run
from trainbus.capabilities import HasLearningRate
from trainbus.metrics.running_means import RunningMeans

from .call_stack import used
from .subject import KerasSubject

__all__ = ["OPEN", "Fit"]


class _StopFit:
    """Tells Keras that a decision ends the training."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @trainbus.hookimpl
    def on_decision(self, decision: Decision) -> None:
        if decision.stops:
            self.model.stop_training = True


JAX_STATE = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
"""What a training step of JAX's is given, in this order."""

OPEN: weakref.WeakSet[Fit] = weakref.WeakSet()
"""Every call of `fit` whose run may be open."""


class Fit:
    """One call of `fit`, and its run."""

    def __init__(
        self,
        callbacks: Sequence[Any],
        model: Any,
        params: Mapping[str, Any],
        events: Any,
        given: Mapping[str, Any],
        hear_batches: Callable[[], object],
        validation_data: Any = None,
        timeout: float = 1800,
        **options: Any,
    ) -> None:
        steps = given.get("validation_steps") if validation_data is None else None
        data = given.get("validation_data") if validation_data is None else validation_data
        self.subject = KerasSubject(model, validation_data=data, validation_steps=steps, timeout=timeout)
        self.run = Run(self.subject, [*callbacks, _StopFit(model)], progress=False, **options)
        self.run.state.planned_epochs, self.run.state.planned_batches = params.get("epochs"), params.get("steps")
        self.run.state.validation_freq = _validation_freq(given)
        self.steers_rates = any(HasLearningRate in each.requires() for each in self.run.callbacks.values())
        self.hear_batches = hear_batches
        self.open = True
        self.calls = self.batches = self.skip = 0
        self.samples = 0.0
        self.skipping = False
        self.first_iteration = self.iteration = self.subject.iterations()
        # held weakly: once Keras's list of callbacks is gone, fit is over, whatever ended it
        self.events: Callable[[], Any] = lambda: None
        if events is not None:
            self.events = weakref.ref(events)
            self.net = weakref.finalize(events, self.lose)
        # in a loop that a person writes round a list of callbacks, no frame is known
        self.goes_on = functools.partial(used, self.events) if given else (lambda: True)
        self.watch_steps(model)
        OPEN.add(self)

    def gone(self) -> bool:
        """Whether no thread is inside this call of `fit` any more."""
        return self.open and not used(self.events)

    def watch_steps(self, model: Any) -> None:
        """Count the training steps of an epoch, and let what one raises end the run."""
        step = model.train_function

        def train_function(*args: Any) -> Any:
            try:
                logs = self.pass_over(*args) if self.skip else step(*args)
            except BaseException as error:
                # JAX and TensorFlow fetch the data in the step, and its end is no error
                if not isinstance(error, StopIteration) and type(error).__name__ != "OutOfRangeError":
                    self.end(error)
                raise
            self.calls += 1
            self.run.count_batches(self.calls * model.steps_per_execution)
            if self.run.state.requested:
                self.hear_batches()  # so that the end of this one ends the run
            return logs

        self.unwatch: Callable[[], None] = lambda: None
        if step is not None:
            model.train_function = train_function

            def unwatch() -> None:
                if model.train_function is train_function:
                    model.train_function = step

            self.unwatch = unwatch

    def begin(self) -> None:
        """The run begins, and `fit` with the epoch that it goes on with."""
        self.run.begin(self.goes_on)
        if self.run.resumed is not None:
            self.first_iteration = self.iteration = self.subject.iterations()
            epochs = self.run.state.planned_epochs or 0
            first = self.run.resumer.first_epoch(0, epochs)
            self.subject.model._initial_epoch = epochs if self.run.stopped else min(first, epochs)

    def begin_epoch(self, epoch: int) -> None:
        """The epoch begins, or goes on after the batches that are to be passed over."""
        self.calls, self.samples = 0, 0.0
        self.run.begin_epoch(epoch)
        self.batches = self.skip = self.run.resumer.batches_to_skip

    def pass_over(self, *args: Any) -> Any:
        """Leave out a training step that was made before the run was interrupted; what Keras expects of one."""
        model, data = self.subject.model, args[-1]
        of_jax = len(args) > 1  # there a step is given the variables' values, and returns them
        if of_jax:
            model._jax_state = dict(zip(JAX_STATE, args[0], strict=True))
            model.jax_state_sync()
        steps = min(model.steps_per_execution, self.skip)
        given = [next(data) for _ in range(steps)] if hasattr(data, "__next__") else data  # JAX fetches in the step
        self.skip -= steps
        if not self.skip:
            self.subject.build(given[0])
            self.run.resumer.batches_skipped()
        logs: Mapping[str, Any] = model.get_metrics_result()
        return (logs, model._get_jax_state(**dict.fromkeys(JAX_STATE, True))) if of_jax else logs

    def count(self, batch: int | None = None) -> int:
        """Take note of the batches trained on, the last one being `batch`, where batches are told.

        Returns the weight updates made since this was last asked.
        """
        done = self.calls * self.subject.model.steps_per_execution if batch is None else batch + 1
        done = min(
            done, self.run.state.planned_batches or sys.maxsize
        )  # the last of several steps in one need not be full
        done = max(done, self.batches)
        batches, self.batches = done - self.batches, done
        now = self.subject.iterations()
        if now is None or (now == self.first_iteration and not self.subject.skips_updates):
            return batches  # this train_step has optimizers of its own
        made, self.iteration = now - (self.iteration or 0), now
        return made

    def told(self, logs: Mapping[str, Any], samples: float) -> Mapping[str, Any] | None:
        """What to give the run of Keras's metrics of so many samples: nothing where other processes have others.

        They are then what this process has logged, in the place of what it had before.
        """
        if self.run.world_size == 1:
            return logs
        mine = RunningMeans()
        for name, value in logs.items():
            mine.add(name, value, samples or max(self.batches, 1), None if self.subject.same_on_all else "mean")
        self.run.state.means.load_sums({**self.run.state.means.sums(), **mine.sums()})
        return None

    def present_samples(self) -> float:
        """How many samples Keras's running metrics are those of, where that matters; else 0."""
        alike = self.run.world_size == 1 or self.subject.same_on_all
        return 0.0 if alike else self.subject.samples()

    def catch_up(self) -> None:
        """Tell the run of the batches that were not told one by one."""
        self.samples = self.samples or self.present_samples()  # a validation is about to count anew
        steps = self.count()
        if self.run.has_batch_listeners:
            self.run.step += steps
        else:
            self.run.end_batch(max(self.batches - 1, 0), steps=steps)

    def lose(self) -> None:
        """Fit has gone without a word."""
        self.end(LoopError("fit() was left by an error or an interrupt that no callback was told of"))

    def end(self, error: BaseException | None = None) -> None:
        """End the run, if it is open still."""
        if self.open:
            self.open = False
            self.unwatch()
            self.subject.model._initial_epoch = None
            if self.events() is not None:
                self.net.detach()
            self.run.end(error)


def _validation_freq(given: Mapping[str, Any]) -> int | Collection[int] | None:
    """Which epochs `fit` validates: none without validation data, None where it cannot be known."""
    if "validation_freq" not in given:
        return None
    return () if given["validation_data"] is None else given["validation_freq"]
