"""One training run: the interface for loops, adapters and plugins."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import NoneType, SimpleNamespace
from typing import Any, Never, Self, TypeVar, cast

from .callback import Callback, Mode, Verbose
from .checkpoints import Checkpoint
from .decision import Decision, stop
from .engine.stopping.signals import DEFAULT
from .errors import LoopError, SettingsError
from .failures import Failure
from .lifecycle.lifecycle import Lifecycle, report_dropped
from .lifecycle.parts import assemble
from .metrics.history import History
from .metrics.monitor import Monitor
from .metrics.names import is_validated
from .metrics.reductions import Reduce
from .result import Result
from .resume.script.rates import RateSource
from .run_record import life_of, record_of
from .settings import other_names
from .settings.arguments import check_metrics, checked, not_by_name
from .settings.plugin_list import CallbackLike
from .storage.paths import Source

T = TypeVar("T")


def _refuse(*_: object) -> Never:
    raise LoopError("report events after begin(), or inside `with run:`")


def _no_other_rank(text: str) -> None:
    """Post a notice in a single process: no other rank reads it."""


_NOT_BEGUN: Any = SimpleNamespace(on_batch_begin=_refuse, on_batch_end=_refuse)
"""The hooks of batches before the run begins, so that no batch asks whether it has."""


class Run:
    """One training run: a loop reports events, plugins decide, and the run executes their decisions.

    ::

        with Run(subject, callbacks) as run:
            for epoch in run.epochs(10):
                for x, y in run.batches(loader):
                    run.log(loss=train_on(x, y), count=len(x))

    Args:
        subject: What is trained, as its adapter presents it; None for a loop that only logs numbers.
        callbacks: Callbacks, their settings as plain data, or objects with hook implementations; called in this order.
        verbose: What to print: 0 nothing; 1 a progress bar and every decision; 2 a line for each epoch and every
            decision; "auto" is 1 in a terminal or a notebook, else 2; None follows the callbacks' ``verbose``.
        resume: The checkpoint to continue from; a directory, to use its newest intact checkpoint; "auto", to use the
            newest one that the callbacks have written, or to start from the beginning if there is none; or what
            ``state_dict`` returned, if somebody else has restored the subject. The resumed run makes the same decisions
            as a run that was never interrupted.
        resume_strict: Whether to refuse to resume if the callbacks differ from those of the checkpoint. Otherwise each
            difference is logged, the new settings are used, and states that are still valid are kept.
        resume_learning_rates: Which rates to use if the script sets other learning rates than when the checkpoint's run
            began: those of the "checkpoint", with a warning, or those of the "script", with the cuts of the
            checkpoint's run.
        start: How far a training had come that trainbus did not record, if you have loaded its weights: "epoch", how
            many epochs had ended; "step", its weight updates; "best", its best value of each metric, with which the
            callbacks begin. A run that resumes from a checkpoint does not use it.
        hparams: Hyperparameters: numbers, text, lists and mappings by name. Checkpoints hold them, and a resumed run
            has them again, except those that the script gives anew.
        run_id: The identifier of the run, which ``{run}`` in a path of a callback stands for: text that may be the name
            of a directory. None takes the environment variable TRAINBUS_RUN_ID, or else draws one.
        signals: The signals that end the run cleanly: it finishes the batch, saves (``ModelCheckpoint(save_on=...)``)
            and closes its files; then the signal has its usual effect. A second signal of the same kind takes effect at
            once. An empty file named "stop" in a directory where the run saves has the effect of Ctrl-C. If a job
            scheduler first sends another signal, name it, too: ("SIGINT", "SIGTERM", "SIGUSR1").

    A pickle or a copy of a run holds its data (``result``, ``history``, ``callbacks``), without the subject and the
    plugins, and it cannot train.

    Raises:
        SettingsError: An option is wrong or cannot work with this subject; the message names every problem.

    >>> with Run() as run:
    ...     for epoch in run.epochs(3):
    ...         run.log(reward=float(epoch))
    ...         if epoch == 1:
    ...             run.stop("reached the goal")
    >>> run.history, run.result.reason
    ({'reward': [0.0, 1.0]}, 'reached the goal')
    """

    @checked(
        "Run", "a model goes with its optimizer into one subject, as in Run(TorchSubject(model, optimizer), callbacks)"
    )
    def __init__(
        self,
        subject: object = None,
        callbacks: CallbackLike | Sequence[CallbackLike] = (),
        *,
        verbose: Verbose | None = None,
        resume: Source | Mapping[str, Any] | None = None,
        resume_strict: bool = False,
        resume_learning_rates: RateSource = "checkpoint",
        start: Mapping[str, Any] | None = None,
        hparams: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        signals: Iterable[str] = DEFAULT,
    ) -> None:
        parts = assemble(
            subject,
            callbacks,
            verbose=verbose,
            resume=resume,
            resume_strict=resume_strict,
            resume_learning_rates=resume_learning_rates,
            start=start,
            hparams=hparams,
            run_id=run_id,
            signals=signals,
        )
        self._hold(Lifecycle(parts))

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle or a copy holds: the data of the run, without the subject and the plugins."""
        return record_of(self._life)

    def __setstate__(self, record: Mapping[str, Any]) -> None:
        self._hold(life_of(record))

    def _hold(self, life: Lifecycle) -> None:
        self._life = life
        self._bus = life.bus if life.state.phase == "ended" else _NOT_BEGUN
        self._dropped: weakref.finalize[..., Run] | None = None
        self.subject = life.state.subject
        """What is trained, as its adapter presents it."""
        self.state = life.state
        """The plain data of the run."""
        self.callbacks: dict[str, Callback] = life.callbacks
        """Name of a plugin to the callback that made it."""
        self.plugins: dict[str, object] = life.plugins
        """Name of each plugin to the plugin."""
        self.rank, self.world_size = life.group.rank, life.group.size
        """The rank of this process, counted from 0, and the number of processes that train the subject together."""
        self.resumer = life.resumer
        """Restores the run from its checkpoint; an adapter asks it for the epoch and batch to begin with."""

    @property
    def hparams(self) -> Mapping[str, Any]:
        """The hyperparameters that were given to the run, or to the one that it resumes."""
        return self.state.hparams

    @property
    def run_id(self) -> str:
        """The identifier of the run, which was given or drawn; a resumed run has that of its checkpoint if none is."""
        return self.state.run_id

    # --- what a loop calls

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool | None:
        if isinstance(error, AttributeError) and error.obj is self and error.name:  # __getattr__ costs every batch
            error.add_note(other_names.no_attribute(self, error.name, other_names.RUN))
        return self.end(error)

    @checked("epochs")
    def epochs(
        self, epochs: int | None = None, *, initial_epoch: int = 0, validation_freq: int | Collection[int] = 1
    ) -> Iterator[int]:
        """Iterate over the epochs from ``initial_epoch`` to ``epochs`` - 1, or until a decision ends the training.

        A loop may leave an epoch by ``break``. If the loop has logged in it, the epoch ends at the end of the ``with``
        block or when another loop begins: its metrics are recorded, and the callbacks decide about it.

        Args:
            epochs: Number of the last epoch, counted from 1; None for no last one.
            initial_epoch: The first epoch, counted from 0.
            validation_freq: Which epochs have a validation: every n-th, or a collection of epochs, counted from 1.
                Metrics whose names begin with ``val_`` are expected only in these epochs.

        Raises:
            SettingsError: A number is not whole, or too small.
            LoopError: The loop is inside of another one.
        """
        return self._life.loops.epochs(self._life, self, epochs, initial_epoch, validation_freq)

    @checked("batches", "iterate over several loaders at once as in run.batches(zip(a, b))")
    def batches(self, loader: Iterable[T], *, accumulate: int | None = 1) -> Iterator[T]:
        """Iterate over the batches of one epoch, or until a decision ends the training.

        A batch counts at the end of its body, or when a validation in its body begins.

        Args:
            loader: Any iterable of batches.
            accumulate: Batches in one weight update, which ``step`` counts; None if the loop sets ``step`` itself.

        Raises:
            SettingsError: ``accumulate`` is below 1.
            LoopError: No epoch is open; or, at the next batch, another loop over batches has begun inside of this one.
        """
        return self._life.loops.batches(self._life, self, loader, accumulate)

    @checked("steps", "iterate over several loaders at once as in run.steps(zip(a, b), n, validate_every=m)")
    def steps(
        self,
        loader: Iterable[T] | Callable[[], T],
        steps: int | None = None,
        *,
        validate_every: int,
        accumulate: int | None = 1,
    ) -> Iterator[T]:
        """Iterate over batches by steps, without epochs, until a decision ends the training.

        The loader is iterated over again and again. History, charts and callbacks count validations and steps: in place
        of an epoch, they see the steps from one validation to the next. ``validation_due`` says when to validate::

            for x, y in run.steps(loader, 5000, validate_every=250):
                run.log(loss=train_on(x, y), count=len(x))
                if run.validation_due:
                    with run.validation():
                        run.log(loss=evaluate())

        Args:
            loader: Any iterable of batches; or a function without arguments that returns a batch.
            steps: Number of the last step, counted from 1 over the whole run; None for no last one.
            validate_every: Steps from one validation to the next. Validations are due at its multiples, and at the last
                step.
            accumulate: Batches in one step, which is one weight update; None if the loop sets ``step`` itself.

        Raises:
            SettingsError: A number is not whole, or too small; or an option of a callback counts epochs.
            LoopError: The loop is inside of another one, or the run has had a loop over epochs.

        >>> run = Run()
        >>> with run:
        ...     for batch in run.steps([1.0, 2.0, 3.0], 5, validate_every=2):
        ...         run.log(loss=batch)
        ...         if run.validation_due:
        ...             with run.validation():
        ...                 run.log(loss=0.5)
        >>> run.history
        {'step': [2, 4, 5], 'loss': [1.5, 2.0, 2.0], 'val_loss': [0.5, 0.5, 0.5]}
        """
        return self._life.loops.steps(self._life, self, loader, steps, validate_every, accumulate)

    @property
    def validation_due(self) -> bool:
        """Whether the present batch of ``steps`` is the last one before a validation.

        Raises:
            LoopError: There is no loop over ``steps``.
        """
        return self._life.loops.step_training.is_due(self.state)

    @contextmanager
    @checked("validation", "the prefix is val_; log other data under its own name, as in run.log(test_loss=...)")
    def validation(self) -> Generator[None]:
        """Add the prefix ``val_`` to the names of metrics logged in this block, and start their means again.

        If the block raises an error, its metrics are removed: the last complete validation of the epoch counts.

        In the body of a batch, put the block behind the weight update: the batch counts when the block begins, so that
        everything about the validation has the step after this update.

        Raises:
            LoopError: No epoch is open, or the block is inside another one.
        """
        self._life.require_epoch("validation()")
        if self.state.validating:
            raise LoopError("validation() was called inside another validation(); end the first `with` block before it")
        self._life.loops.count_batch()
        self.begin_validation()
        self.state.validating = True
        try:
            yield
        except BaseException:
            self.state.discard_validation()
            raise
        finally:
            self.state.validating = False
        self.end_validation()

    def log(
        self,
        metrics: Mapping[str, Any] | None = None,
        /,
        *more: Never,
        count: float = 1,
        reduce: Reduce = "mean",
        **named: Any,
    ) -> None:
        """Add metrics to the running means of the epoch; tensors stay on their device until a mean is read.

        Args:
            metrics: Metrics by name, for names that are not Python identifiers.
            more: Nothing else is given by position.
            count: Number of samples in each value: its weight in the mean of the epoch.
            reduce: How the values of all batches and ranks are reduced: "mean", "sum", "max" or "min"; None for the
                mean over rank 0's batches, if all ranks log the same values.
            named: Metrics by name. None means that the metric has no value this time.

        Raises:
            SettingsError: An argument does not fit: a name is not text, a value is not a number, or the count is not a
                finite number above 0.
            LoopError: No epoch is open.
        """
        state = self.state
        if more:  # `checked` would cost every batch
            raise SettingsError(not_by_name(metrics, *more))
        if not state.epoch_open:
            self._life.require_epoch("log()")
        try:
            for name, value in {**(metrics or {}), **named}.items():
                prefix = "val_" if state.validating and not is_validated(name) else ""
                state.means.add(prefix + name, value, count, reduce)
        except (AttributeError, RuntimeError, TypeError, ValueError):
            check_metrics({} if metrics is None else metrics)
            raise

    @checked("stop")
    def stop(self, reason: str) -> None:
        """End the training after this batch; the hooks of the epoch's end are still called."""
        self.decide(stop(reason))

    @checked("decide", "join decisions by |, as in run.decide(a | b)")
    def decide(self, decision: Decision) -> None:
        """Execute a decision of the loop, as if a plugin had returned it; with several ranks, at their next barrier."""
        self._life.decide(self, decision)

    def emit(self, event: str, /, **values: Any) -> None:
        """Call the plugins that listen to an event of this loop: those with a method marked ``trainbus.listens_to``.

        Their decision is executed like one of the loop (see ``decide``). With several ranks, emit it on all of them, or
        on rank 0 only. A run that is resumed in the middle of an epoch continues to count; what its loop emits before
        it reaches that point is not emitted again. An event that no plugin listens to has no effect.

        Args:
            event: Its name.
            values: What its listeners may take, by name.

        Raises:
            SettingsError: The event has the name of a hook, a value that of another argument, or a listener takes
                a value that is not given.
            LoopError: The run has not begun, or is over.
        """
        self._life.emit(self, event, values)

    # --- the events that an adapter reports

    def begin(self, loop_is_alive: Callable[[], bool] = lambda: True, *, keeps_state: bool = False) -> None:
        """Begin the training.

        Args:
            loop_is_alive: Returns whether the loop is still running; called when a signal arrives, for loops that may
                end without an event. If no loop is running, the signal has its usual effect.
            keeps_state: Whether ``state_dict`` may be called in the middle of an epoch, so that the states in which
                the random generators begin an epoch are kept, as they are for callbacks that save.

        Raises:
            SettingsError: A plugin refuses its options.
            CheckpointError: Another run writes into the same directory.
        """
        self._bus = self._life.bus
        self._life.begin(self, loop_is_alive, keeps_state=keeps_state)
        self._dropped = weakref.finalize(self, report_dropped, self.state.epoch_metrics, os.getpid())

    @checked("begin_epoch")
    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch, counted from 0.

        Raises:
            LoopError: The run has not begun, or has ended.
        """
        self._life.begin_epoch(self, epoch)

    @property
    def has_batch_listeners(self) -> bool:
        """Whether a plugin implements a batch hook; if not, an adapter need not report batches."""
        return self._life.bus.on_batch_begin is not None or self._life.bus.on_batch_end is not None

    def begin_batch(self, batch: int) -> None:
        """Begin a batch, counted from 0 in its epoch.

        Arguments that do not fit raise Python's own ``TypeError``: a check would cost every batch.
        """
        self.state.counters.batch = batch
        if batch == 0:  # a call for every batch would cost as much as the event
            self._life.rates.first_batch()
        begin = self._bus.on_batch_begin
        if begin is not None and (decision := begin(self, self.state.epoch, batch)) is not None:
            self._life.execute(self, decision)
        self.state.counters.in_batch = True

    def end_batch(self, batch: int, metrics: Mapping[str, Any] | None = None, steps: int = 1) -> None:
        """End a batch; arguments that do not fit raise Python's own ``TypeError``.

        Args:
            batch: Its number in the epoch, counted from 0.
            metrics: The means of the epoch so far; None for those of the logged metrics.
            steps: The number of weight updates in the batch.
        """
        state = self.state
        counters = state.counters
        counters.batch, counters.trained_batches, counters.in_batch = batch, batch + 1, False
        counters.steps += steps
        end = self._bus.on_batch_end
        if end is not None:
            state.reported = metrics
            decision = end(self, state.epoch, batch, counters.steps, state.means if metrics is None else metrics)
            if decision is not None:
                self._life.execute(self, decision)
        if state.requested:
            self._life.stop_requests.check()

    @checked("count_batches")
    def count_batches(self, batches: int) -> None:
        """Report how many batches of the epoch were trained on, for an adapter that does not report each of them."""
        self.state.counters.trained_batches = batches

    def begin_validation(self) -> None:
        """Begin a validation and start its means again: the last validation of an epoch counts."""
        self._life.require_begun("begin_validation()")
        self.state.means.restart_validation()
        self._life.dispatch(self, "on_validation_begin", self.state.epoch)

    @checked("end_validation", 'give metrics as one mapping: end_validation({"val_loss": 1.0})')
    def end_validation(self, metrics: Mapping[str, Any] | None = None) -> None:
        """End the validation; the names of ``metrics``, if they are given, begin with ``val_``."""
        self._life.require_begun("end_validation()")
        check_metrics({} if metrics is None else metrics)
        self.state.validated = True
        self.state.means.end_validation()
        if self._bus.on_validation_end is not None:
            measured = metrics or self.state.means.read_validation()
            self._life.dispatch(self, "on_validation_end", self.state.epoch, measured)

    @checked("end_epoch", 'give metrics as one mapping: end_epoch({"loss": 1.0})')
    def end_epoch(self, metrics: Mapping[str, Any] | None = None) -> None:
        """End the epoch; ``metrics`` are added to the logged ones.

        Raises:
            MissingMetric: A monitored metric is missing.
            SettingsError: The name of a metric cannot be printed.
        """
        self._life.end_epoch(self, {} if metrics is None else metrics)

    @checked("at_end")
    def at_end(self, close: Callable[[], object]) -> None:
        """Call ``close`` when the run is over, after all plugins were called; the last function is called first."""
        if not callable(close):
            raise SettingsError(f"at_end({close!r}): give a function without arguments")
        self._life.require("open", "at_end() needs a run that has begun and is not over")
        self._life.ending.closed.callback(close)

    def end(self, error: BaseException | None = None) -> bool:
        """End the training; a second call has no effect. ``error`` is the error that ended the loop, or None.

        Without an error, an epoch that is still open and has logged is ended first.

        Every plugin is called, even if one raises; the first error is raised again, unless ``error`` is given. Returns
        whether ``error`` need not be raised: a signal ended the loop, and the user's own handler for it was called; or
        ``interrupt`` did.
        """
        if not isinstance(cast("object", error), (BaseException, NoneType)):
            raise SettingsError(f"end({error!r}): give the exception that ended the loop, or nothing")
        if self._dropped is not None:
            self._dropped.detach()
        return self._life.leave(self, error)

    # --- what plugins read

    @property
    def epoch(self) -> int:
        """The current epoch, or the last one, counted from 0."""
        return self.state.epoch

    @property
    def batch(self) -> int:
        """The current batch of the epoch, or its last, counted from 0."""
        return self.state.batch

    @property
    def step(self) -> int:
        """Total weight updates of the run; a loop that counts its updates itself sets it."""
        return self.state.step

    @step.setter
    def step(self, step: int) -> None:
        self.state.step = step

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The metrics of the last epoch that ended."""
        return self.state.metrics

    @property
    def history(self) -> History:
        """The metrics of each epoch that ended, as a dict of lists, which also converts to arrays and data frames."""
        return History(self.state.epoch_metrics)

    @property
    def resumed(self) -> Checkpoint | None:
        """The checkpoint that the run was resumed from; None if it was not."""
        return self.state.resumed

    @property
    def stopped(self) -> bool:
        """Whether a decision has stopped the training."""
        return bool(self.state.stop_actions)

    @property
    def error(self) -> BaseException | None:
        """The error that ended the run, or None."""
        return self.state.error

    @property
    def failures(self) -> list[Failure]:
        """The failures that did not end the run: errors of observers, and files that could not be written."""
        return list(self._life.failures.all)

    @property
    def result(self) -> Result:
        """How the run ended, or how far it is."""
        return Result.of(self.state, self._life.monitors.best(), self._life.failures.all)

    def state_dict(self) -> dict[str, Any]:
        """Return the state with which ``Run(resume=state)`` makes the same decisions as this run, without the subject.

        A framework's own checkpoint carries it, beside the weights that the framework saves and restores. It is plain
        JSON data, except for what is under "snapshots": name of each slot to what the subject's ``snapshot`` returned,
        such as the best weights of ``EarlyStopping(restore_best_weights=True)``; empty if no plugin keeps any. With
        several ranks, all of them call it at the same point, and the state that rank 0 gets is complete.

        Raises:
            LoopError: The run has not begun, or the body of a batch of ``batches`` or ``steps`` is running.

        >>> from trainbus.plugins import EarlyStopping
        >>> with Run(callbacks=EarlyStopping(monitor="loss", patience=1)) as run:
        ...     for epoch in run.epochs(2):
        ...         run.log(loss=1.0)
        ...         if epoch == 0:
        ...             state = run.state_dict()
        >>> with Run(callbacks=EarlyStopping(monitor="loss", patience=1), resume=state) as again:
        ...     for epoch in again.epochs(2):
        ...         again.log(loss=1.0)
        >>> again.history == run.history, again.result.reason == run.result.reason
        (True, True)
        """
        return self._life.state_dict(self)

    @checked("monitor")
    def monitor(self, metric: str, mode: Mode = "auto", *, start_from_epoch: int = 0) -> Monitor:
        """Return the monitor of a metric, which must be logged from that epoch on; equal calls share one.

        Raises:
            UnknownDirection: ``mode`` is "auto", and the direction in which the metric improves is unknown.
        """
        return self._life.monitors.get(metric, mode, start_from_epoch=start_from_epoch)

    def learning_rates_without_cuts(self) -> Mapping[str, float]:
        """Return the present learning rates as they would be if the run had made no cut; none without a subject.

        A schedule that multiplies these by a factor does not compound the cuts.
        """
        return self._life.rates.without_cuts()

    @checked("report_failure")
    def report_failure(self, plugin: object, lost: str, error: Exception) -> None:
        """Report a part that a plugin has lost: one line in the log, in ``failures`` and in the journal.

        It does not count towards the failures that disable an observer. It may be called in any thread. ``lost`` says
        what is missing, such as "no graph"; ``error`` is the cause.
        """
        name = next((name for name, each in self.plugins.items() if each is plugin), type(plugin).__name__)
        self._life.failures.record(name, error, lost)

    @checked("interrupt")
    def interrupt(self, name: str) -> None:
        """Ask the run to end as a signal does, but without an exception; may be called in any thread.

        The run finishes the batch on all ranks, saves (``ModelCheckpoint(save_on="signal")``) and closes its files. The
        epoch stays open: its end is not reached, and ``resume="auto"`` continues with its next batch. The program
        continues after the ``with`` block. A run without batches ends at the end of the epoch.

        Args:
            name: What asks for it, for the log and ``run.result``.

        Raises:
            SettingsError: ``name`` is not text.
            LoopError: The run has not begun.

        >>> with Run() as run:
        ...     for epoch in run.epochs(3):
        ...         run.log(loss=0.5)
        ...         run.interrupt("the power plan")
        >>> run.result.reason, run.history
        ('the power plan asked for it', {'loss': [0.5]})
        """
        if not isinstance(cast("object", name), str) or not name:
            raise SettingsError(f"interrupt({name!r}): give text that says what asks for it")
        self._life.require_begun("interrupt()")
        if self.state.phase == "open":  # a thread may call it while the run ends
            self._life.stop_requests.request(name, quiet=True)

    @checked("add_stats")
    def add_stats(self, source: Callable[[], Mapping[str, float]]) -> None:
        """Add measurements to each epoch, for charts, the journal and the printed line; no rule can monitor them.

        Args:
            source: Called at the end of each epoch; returns the measurements by name.
        """
        if not callable(source):
            raise SettingsError(f"add_stats({source!r}): give a function that returns numbers by name")
        self.state.stat_sources.append(source)

    @checked("post_notice")
    def post_notice(self, text: str) -> None:
        """Post a short text for all other ranks; any thread may call it, and no rank waits.

        Raises:
            RankError: The other ranks cannot be reached.
        """
        self._life.group.bind("post_notice", _no_other_rank)(text)

    def read_notices(self) -> list[tuple[int, str]]:
        """Return the notices of other ranks since the last call, each with its rank; any thread may call it.

        Raises:
            RankError: The other ranks cannot be reached.
        """
        return self._life.group.bind("read_notices", list[tuple[int, str]])()

    @checked("go_on")
    def go_on(self) -> None:
        """Let a resumed run that had finished continue to train; call this before the loop."""
        self.state.stop_actions.clear()
        self.resumer.go_on()
