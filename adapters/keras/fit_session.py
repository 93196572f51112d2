"""One call of Keras's ``fit`` and its run."""

# Keras declares no types and has no public way to replace a training step
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import trainbus
from trainbus import Decision, LoopError, Run, SettingsError
from trainbus.capabilities import HasLearningRate
from trainbus.engine.plan import EpochPlan
from trainbus.metrics.missing_metric import MetricAdvice
from trainbus.metrics.running_means import RunningMeans

from .call_stack import fit_locals, is_in_use
from .subject import KerasSubject


class _StopFit:
    """A plugin that makes Keras stop when a decision stops the training."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @trainbus.hookimpl
    def on_decision(self, decision: Decision) -> None:
        if decision.stops:
            self.model.stop_training = True


JAX_STATE = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
"""The parts of the state that a training step on JAX takes, in this order."""

OPEN_FITS: weakref.WeakSet[FitSession] = weakref.WeakSet()
"""Every call of ``fit`` whose run may be open."""


class FitSession:
    """One call of ``fit`` and its run.

    Args:
        callbacks: As in ``trainbus.Run``.
        model: The model that is fitted.
        params: Keras's parameters of the fit: its numbers of epochs and of steps.
        callback_list: Keras's list of callbacks that this fit runs, or None.
        enable_batch_hooks: Makes Keras call batch hooks from now on.
        validation_data: Data for activations; None for the validation data of ``fit``.
        timeout: Seconds that one of several processes waits for the others.
        options: Further arguments of ``trainbus.Run``.
    """

    def __init__(
        self,
        callbacks: Sequence[Any],
        model: Any,
        params: Mapping[str, Any],
        callback_list: Any,
        enable_batch_hooks: Callable[[], object],
        validation_data: Any = None,
        timeout: float = 1800,
        **options: Any,
    ) -> None:
        variables = fit_locals(callback_list)
        steps = variables.get("validation_steps") if validation_data is None else None
        data = variables.get("validation_data") if validation_data is None else validation_data
        self.subject = KerasSubject(model, validation_data=data, validation_steps=steps, timeout=timeout)
        # Keras on TensorFlow builds a model in its first step, after a resume
        self.subject.batch = getattr(
            getattr(variables.get("epoch_iterator"), "_distributed_dataset", None), "element_spec", None
        )
        self.subject.in_fit = True
        self.run = Run(self.subject, [*callbacks, _StopFit(model)], **options)
        self.run.state.plan, self.run.state.planned_batches = EpochPlan(params.get("epochs")), params.get("steps")
        self.run.state.validation_freq = _validation_freq(variables)
        self.run.state.metric_advice = _ADVICE
        self.changes_rates = any(HasLearningRate in each.requires() for each in self.run.callbacks.values())
        self.enable_batch_hooks = enable_batch_hooks
        self.open = True
        self.calls = self.batches = self.skip = 0
        self.samples = 0.0
        self.skipping = self.first_update = False
        self.first_epoch = True
        self.initial_epoch: int | None = None
        """The initial epoch that this run has set in the model and not reset."""
        self.first_iteration = self.iteration = self.subject.iterations()
        # a weak reference: when Keras's list of callbacks is collected, fit is over, however it ended
        self.callback_list: Callable[[], Any] = lambda: None
        if callback_list is not None:
            self.callback_list = weakref.ref(callback_list)
            self.finalizer = weakref.finalize(callback_list, self.abandon)
            self.subject.rates.callbacks = lambda: getattr(self.callback_list(), "callbacks", ())
        # a hand-written loop around a list of callbacks has no frame of fit
        self.is_loop_alive = functools.partial(is_in_use, self.callback_list) if variables else (lambda: True)
        self.wrap_train_function(model)
        OPEN_FITS.add(self)

    def has_exited(self) -> bool:
        """Return whether the run is open although no thread is inside this call of ``fit``."""
        return self.open and not is_in_use(self.callback_list)

    def wrap_train_function(self, model: Any) -> None:
        """Count the training steps of an epoch, and let an error in one end the run."""
        step = model.train_function

        def train_function(*args: Any) -> Any:
            try:
                if self.skip:
                    logs = self.skip_step(*args)
                else:
                    self.note_rates(args)
                    logs = step(*args)
            except BaseException as error:
                # JAX and TensorFlow fetch the data in the step; the end of the data is not an error
                if not isinstance(error, StopIteration) and type(error).__name__ != "OutOfRangeError":
                    self.end(error)
                raise
            self.calls += 1
            self.run.count_batches(self.calls * model.steps_per_execution)
            if self.run.state.requested:
                self.enable_batch_hooks()  # so that the run ends at the end of this batch
            return logs

        self.keras_train_function, self.train_function = step, train_function
        if step is not None:
            model.train_function = train_function

    def note_rates(self, arguments: Sequence[Any]) -> None:
        """Store the learning rates of the epoch's first update, right before it: callbacks may have changed them."""
        if self.first_update:
            self.first_update = False
            on_jax = len(arguments) > 1  # a step on JAX takes the variables' values
            values = dict(zip(JAX_STATE, arguments[0], strict=True))["optimizer_variables"] if on_jax else ()
            self.subject.rates.before_update(values)

    def check_optimizer(self) -> None:
        """In the first epoch, report that the compiled optimizer makes no update, if a callback would cut its rate."""
        if self.first_update:  # the epoch had no step
            return
        self.subject.sync()
        rates = self.subject.rates
        before = rates.unused
        rates.check_updates()
        if not rates.unused:
            return
        self.run.state.learning_rates = {}  # nothing is trained with them
        if self.changes_rates and not before:
            name = next(name for name, each in self.run.callbacks.items() if HasLearningRate in each.requires())
            error = SettingsError(
                f"{self.subject.refusal(HasLearningRate)}; compile the model with the optimizers that it trains with "
                "(several as a keras.optimizers.MultiOptimizer)"
            )
            self.run.report_failure(self.run.plugins[name], "learning rates cannot be changed", error)

    def begin(self) -> None:
        """Begin the run; let ``fit`` begin with the epoch that a resume continues with."""
        self.run.begin(self.is_loop_alive)
        epochs = self.run.state.plan.total or 0
        first = self.run.resumer.first_epoch()
        if self.run.resumed is not None or first:
            self.first_iteration = self.iteration = self.subject.iterations()
            self.initial_epoch = epochs if self.run.stopped else min(first, epochs)
            self.subject.model._initial_epoch = self.initial_epoch

    def drop_initial_epoch(self) -> None:
        """Reset the initial epoch of a resume, so that a later ``fit`` does not begin with it.

        If another callback, such as Keras's BackupAndRestore, has set another one since, it is kept.
        """
        model = self.subject.model
        if self.initial_epoch is not None and model._initial_epoch == self.initial_epoch:
            model._initial_epoch = None
        self.initial_epoch = None

    def begin_epoch(self, epoch: int) -> None:
        """Begin the epoch, or continue it after the batches to skip."""
        self.calls, self.samples = 0, 0.0
        self.drop_initial_epoch()  # fit has read it
        self.subject.rates.epoch, self.first_update = epoch, True
        if self.first_epoch:
            self.first_epoch = False
            self.subject.sync()
            self.subject.rates.check_updates()
        self.run.begin_epoch(epoch)
        self.batches = self.skip = self.run.resumer.batches_to_skip

    def skip_step(self, *args: Any) -> Any:
        """Skip a training step that was made before the interruption; return the result that Keras expects."""
        model, data = self.subject.model, args[-1]
        on_jax = len(args) > 1  # a step on JAX takes the variables' values and returns new ones
        if on_jax:
            model._jax_state = dict(zip(JAX_STATE, args[0], strict=True))
            model.jax_state_sync()
        steps = min(model.steps_per_execution, self.skip)
        batches = [next(data) for _ in range(steps)] if hasattr(data, "__next__") else data  # JAX fetches in the step
        self.skip -= steps
        self.subject.build(batches[0])  # Keras on TensorFlow builds the metrics in its first step
        if not self.skip:
            self.run.resumer.batches_skipped()
        logs: Mapping[str, Any] = model.get_metrics_result()
        return (logs, model._get_jax_state(**dict.fromkeys(JAX_STATE, True))) if on_jax else logs

    def count_updates(self, batch: int | None = None) -> int:
        """Count the batches trained on so far; return the number of weight updates since the last call.

        Args:
            batch: The number of the last batch in the epoch; None if batches are not reported one by one.
        """
        done = self.calls * self.subject.model.steps_per_execution if batch is None else batch + 1
        done = min(done, self.run.state.planned_batches or sys.maxsize)  # the last execution may have fewer steps
        done = max(done, self.batches)
        batches, self.batches = done - self.batches, done
        iteration = self.subject.iterations()
        if iteration is None or (iteration == self.first_iteration and not self.subject.skips_updates):
            return batches  # a custom train_step uses other optimizers
        updates, self.iteration = iteration - (self.iteration or 0), iteration
        return updates

    def to_run_metrics(self, logs: Mapping[str, Any], samples: float) -> Mapping[str, Any] | None:
        """Return Keras's metrics for the run; None if other processes have other values.

        In that case they replace this process's running means, from which the run computes the means over all
        processes.

        Args:
            logs: Keras's metrics.
            samples: The number of samples in these means.
        """
        if self.run.world_size == 1:
            return logs
        mine = RunningMeans()
        for name, value in logs.items():
            mine.add(name, value, samples or max(self.batches, 1), None if self.subject.has_global_metrics else "mean")
        self.run.state.means.load_sums({**self.run.state.means.sums(), **mine.sums()})
        return None

    def metric_samples(self) -> float:
        """Return the number of samples in Keras's running metrics if processes have different metrics, else 0."""
        same = self.run.world_size == 1 or self.subject.has_global_metrics
        return 0.0 if same else self.subject.samples()

    def report_unreported_batches(self) -> None:
        """Report to the run the batches that were not reported one by one."""
        self.samples = self.samples or self.metric_samples()  # a validation is about to reset the count
        steps = self.count_updates()
        if self.run.has_batch_listeners:
            self.run.step += steps
        else:
            self.run.end_batch(max(self.batches - 1, 0), steps=steps)

    def abandon(self) -> None:
        """End the run of a ``fit`` that exited without notifying its callbacks."""
        self.end(LoopError("fit() ended with an error or an interrupt, and Keras did not notify its callbacks"))

    def end(self, error: BaseException | None = None) -> bool:
        """End the run if it is still open; return whether ``error`` need not be raised, as ``Run.end`` does."""
        if not self.open:
            return False
        self.open = False
        model = self.subject.model
        if model.train_function is self.train_function:
            model.train_function = self.keras_train_function
        self.drop_initial_epoch()
        if self.callback_list() is not None:
            self.finalizer.detach()
        return self.run.end(error)


_ADVICE = MetricAdvice(
    "give fit validation_data=, and validation_freq= if not every epoch has one",
    "compile the model with this metric, or put it into the logs in a callback that is listed before this one",
)


def _validation_freq(variables: Mapping[str, Any]) -> int | Collection[int] | None:
    """Return which epochs ``fit`` validates: none without validation data; None if that is unknown."""
    if "validation_freq" not in variables:
        return None
    return () if variables["validation_data"] is None else variables["validation_freq"]
