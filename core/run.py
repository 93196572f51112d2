"""One training run: what a loop holds, an adapter drives, and plugins read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from .callback import Callback
from .capabilities import HasLearningRate, has
from .checkpoints import Checkpoint
from .decision import REQUEST, Decision, stop
from .distributed.rank_group import group_for
from .engine.batch_loop import observed_batches, unobserved_batches
from .engine.bus import Bus
from .engine.execution_result import ExecutionResult
from .engine.executor import Executor
from .engine.resumer import Resumer
from .engine.run_state import RunState
from .engine.signals import DEFAULT
from .engine.state_collector import StateCollector
from .engine.stop_requests import StopRequests
from .errors import LoopError, SettingsError
from .failures import Failure, Failures, is_observer
from .metrics.history import History
from .metrics.monitor import Monitor
from .metrics.monitors import Monitors
from .metrics.names import check_name
from .metrics.running_means import Reduce
from .metrics.scalars import fetch_together
from .result import Result
from .settings.plugin_list import CallbackLike, build_plugins
from .storage.backend import existing
from .storage.paths import Source

T = TypeVar("T")


class Run:
    """One training run: a loop reports events, plugins decide, the run executes their decisions, and the loop obeys.

    ::

        with Run(subject, callbacks) as run:
            for epoch in run.epochs(10):
                for x, y in run.batches(loader):
                    run.log(loss=train_on(x, y), count=len(x))

    The life of an event: the bus calls each plugin that implements its hook and joins the answers into one decision;
    the group agrees on it, if several processes train; the executor applies it to the subject and the disk; the state
    records the result; the bus announces it.

    Args:
        subject: What is trained, as its adapter presents it; None for a loop that only has numbers.
        callbacks: Callbacks, their settings as plain data, or objects with hook implementations; called in this order.
        progress: Whether to print progress and a line for each epoch, if the callbacks' ``verbose`` asks for it;
            otherwise only decisions are printed.
        resume: The checkpoint to continue from; a directory, whose newest intact checkpoint is used; or "auto",
            the newest one that the callbacks have written; without one the run starts from the beginning. Every later
            decision is that of a run that was never interrupted.
        resume_strict: Whether to refuse to resume if the callbacks differ from those of the checkpoint. Otherwise each
            difference is logged, the new settings are used, and states that are still valid are kept.
        signals: The signals that end the run in order: it finishes the batch, saves (``ModelCheckpoint(save_on=...)``)
            and closes its files, and then the signal has its usual effect. The same signal again takes effect at once.
            An empty file named "stop" in a directory where the run saves has the effect of Ctrl-C. If a job scheduler
            sends another signal first, name it as well: ("SIGINT", "SIGTERM", "SIGUSR1").

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

    def __init__(
        self,
        subject: object = None,
        callbacks: CallbackLike | Sequence[CallbackLike] = (),
        *,
        progress: bool = True,
        resume: Source | None = None,
        resume_strict: bool = False,
        signals: Iterable[str] = DEFAULT,
    ) -> None:
        self.subject = subject
        """What is trained, as its adapter presents it."""
        self.state = state = RunState(subject)
        """The plain data of the run."""
        self._group = group_for(subject, state)
        self.rank, self.world_size = self._group.rank, self._group.size
        """The number of this process among those that train the subject together, counted from 0; how many they are."""
        self._failures = Failures()
        entries = build_plugins(callbacks, subject, progress=progress)
        self.callbacks: dict[str, Callback] = {
            each.name: each.callback for each in entries if each.callback is not None
        }
        """Name of a plugin to the callback that made it."""
        entries = [each for each in entries if self._group.leads or not is_observer(each.plugin)]
        self.plugins: dict[str, object] = {each.name: each.plugin for each in entries}
        """Name of each plugin to the plugin."""
        self._bus = Bus(self._failures, self._group.bind)
        self._bus.register(self.plugins.items())
        collector = StateCollector(state, self.plugins, self.callbacks, self._failures, self._group.size)
        self._executor = Executor(subject, collector, self._failures)
        self._stop_requests = StopRequests(signals, state, self._group)
        self.resumer = Resumer(
            resume, state, self.plugins, self.callbacks, self._executor, self._failures, strict=resume_strict
        )
        """Restores the run from its checkpoint; an adapter asks it for the epoch and batch to begin with."""
        self._monitors = Monitors(state)
        self._at_end = ExitStack()

    # --- what a loop calls

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)

    def epochs(
        self, epochs: int, *, initial_epoch: int = 0, validation_freq: int | Collection[int] = 1
    ) -> Iterator[int]:
        """Iterate over the epochs from ``initial_epoch`` to ``epochs`` - 1, or until a decision ends the training.

        Args:
            epochs: Number of the last epoch, counted from 1.
            initial_epoch: The first epoch, counted from 0.
            validation_freq: Which epochs have a validation: every n-th, or these (counted from 1). Metrics whose
                names begin with ``val_`` are expected in these only.
        """
        self._require("open", "epochs() belongs inside `with run:`")
        self.state.planned_epochs, self.state.validation_freq = epochs, validation_freq
        for epoch in range(self.resumer.first_epoch(initial_epoch, epochs), epochs):
            if self._loop_ends():
                return
            self.begin_epoch(epoch)
            if self._loop_ends():
                return
            yield epoch
            self.end_epoch()

    def batches(self, loader: Iterable[T], *, accumulate: int | None = 1) -> Iterator[T]:
        """Iterate over the batches of one epoch, or until a decision ends the training.

        Args:
            loader: Any iterable of batches.
            accumulate: Batches to one weight update, which ``step`` counts; None if the loop counts ``step`` itself.

        Raises:
            SettingsError: ``accumulate`` is below 1.
        """
        self._require("open", "batches() belongs inside `with run:`")
        if accumulate is not None and accumulate < 1:
            raise SettingsError(f"accumulate={accumulate!r}: give the number of batches to one weight update, or None")
        state = self.state
        state.planned_batches = _length(loader)
        state.learning_rates = self._learning_rates()  # a scheduler may change them before the epoch ends
        batches, first = self.resumer.begin_loop(loader)
        if self.has_batch_listeners:
            bus, execute = self._bus, self._execute_results
            return observed_batches(self, state, bus, batches, first, accumulate, execute, self._loop_ends)
        return unobserved_batches(state, batches, first, accumulate, self._loop_ends)

    def _loop_ends(self, batches: int = 0, accumulate: int | None = 1) -> bool:
        """Return whether a decision ends the loop here; a request ends it once the current gradients are used."""
        if accumulate is None or batches % accumulate == 0:
            self._stop_requests.check()
        return any(each.by != REQUEST for each in self.state.stop_actions) and self._group.may_stop()

    @contextmanager
    def validation(self) -> Generator[None]:
        """Add the prefix ``val_`` to the names of metrics that are logged in this block."""
        self.begin_validation()
        self.state.validating = True
        try:
            yield
        finally:
            self.state.validating = False
        self.end_validation()

    def log(
        self, metrics: Mapping[str, Any] | None = None, /, *, count: float = 1, reduce: Reduce = "mean", **named: Any
    ) -> None:
        """Add metrics to the running means of the epoch.

        Tensors stay on their device; nothing waits for them until a mean is read.

        Args:
            metrics: Metrics by name, for names that are not Python identifiers.
            count: Number of samples that each value is the mean of: its weight in the mean of the epoch.
            reduce: How the values of all batches and ranks are reduced: "mean", "sum", "max" or "min"; None for the
                mean over rank 0's batches, if the values are the same on every rank already.
            named: Metrics by name.

        Raises:
            SettingsError: A value is not a number, or the count is not above 0.
        """
        state = self.state
        for name, value in {**(metrics or {}), **named}.items():
            prefix = "val_" if state.validating and not name.startswith("val_") else ""
            state.means.add(prefix + name, value, count, reduce)

    def stop(self, reason: str) -> None:
        """End the training after this batch; the hooks of the epoch's end are still called."""
        self.decide(stop(reason))

    def decide(self, decision: Decision) -> None:
        """Execute a decision of the loop, as if a plugin had asked for it.

        If several processes train together, all ranks execute it at their next barrier, at the latest at the end of
        the epoch.
        """
        self._require("open", "a run decides only inside `with run:`")
        self._execute(self._group.propose(decision.signed("loop")))

    # --- the events that an adapter states

    def begin(self, loop_is_alive: Callable[[], bool] = lambda: True) -> None:
        """Begin the training.

        Args:
            loop_is_alive: Returns whether the loop is still running; called when a signal arrives, for loops that may
                end without any event. A signal that no loop would obey has its usual effect.

        Raises:
            SettingsError: A plugin refuses its options.
            CheckpointError: Another run writes into the same directory.
        """
        self._require("new", "a run cannot be used twice; make a new one with the same callbacks")
        self.state.phase = "open"
        try:
            deciding = (name for name, plugin in self.plugins.items() if not is_observer(plugin))
            settings = {name: self.callbacks[name].settings() if name in self.callbacks else {} for name in deciding}
            self._group.begin(settings, self._stop_requests)
            with self._group.shared():
                self._at_end = self._executor.lock_directories(self.callbacks.values(), lock=self._group.leads)
            self._stop_requests.listen(self._executor.writer.directories, loop_is_alive)
            self._at_end.callback(self._stop_requests.close_stop_file)
            self.resumer.restore(self._group)
            self._dispatch("on_train_begin")
            with self._group.shared():
                self._executor.collector.check_plugins()
            self._record(self.resumer.finish_last_decision(self._group))
            self.resumer.finish()
        except BaseException as error:
            self.end(error)
            raise

    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch, counted from 0.

        Raises:
            LoopError: The run has not begun, or has ended.
        """
        self._require("open", "an epoch begins only after begin() and before end()")
        self.state.start_epoch(epoch)
        self._bus.drop_disabled()
        if self.resumer.mid_epoch:
            self._bus.replay("on_epoch_begin", self, epoch)
            self.resumer.reenter_epoch()
            return
        collector = self._executor.collector
        collector.loop_rng = None
        self._dispatch("on_epoch_begin", epoch)
        collector.note_rng()

    @property
    def has_batch_listeners(self) -> bool:
        """Whether a plugin implements a hook of batches; otherwise an adapter need not report batches."""
        return self._bus.on_batch_begin is not None or self._bus.on_batch_end is not None

    def begin_batch(self, batch: int) -> None:
        """Begin a batch, counted from 0 in its epoch."""
        state = self.state
        state.counters.batch = batch
        begin = self._bus.on_batch_begin
        if begin is not None and (results := begin(self, state.epoch, batch)) is not None:
            self._execute_results("on_batch_begin", results)

    def end_batch(self, batch: int, metrics: Mapping[str, Any] | None = None, steps: int = 1) -> None:
        """End a batch.

        Args:
            batch: Its number in the epoch, counted from 0.
            metrics: The means of the epoch so far; None for what was logged.
            steps: The weight updates that were made in it.
        """
        state = self.state
        counters = state.counters
        counters.batch, counters.trained_batches = batch, batch + 1
        counters.steps += steps
        end = self._bus.on_batch_end
        if end is not None:
            results = end(self, state.epoch, batch, counters.steps, state.means if metrics is None else metrics)
            if results is not None:
                self._execute_results("on_batch_end", results)
        if state.requested:
            self._stop_requests.check()

    def count_batches(self, batches: int) -> None:
        """Report how many batches of the epoch were trained on, for an adapter that does not report each of them."""
        self.state.counters.trained_batches = batches

    def begin_validation(self) -> None:
        """Begin the validation of the epoch."""
        self._dispatch("on_validation_begin", self.state.epoch)

    def end_validation(self, metrics: Mapping[str, Any] | None = None) -> None:
        """End the validation of the epoch; the names of ``metrics``, if they are given, begin with ``val_``."""
        self.state.validated = True
        if self._bus.on_validation_end is not None:
            self._dispatch("on_validation_end", self.state.epoch, metrics or self.state.means.read("val_"))

    def end_epoch(self, metrics: Mapping[str, Any] | None = None) -> None:
        """End the epoch; ``metrics`` are added to what was logged.

        Raises:
            MissingMetric: A monitored metric is missing.
            SettingsError: The name of a metric cannot be printed.
        """
        state = self.state
        for name in metrics or ():
            check_name(name)
        rates = state.learning_rates or self._learning_rates()
        means, written = self._group.end_epoch(state.means, self._executor)
        state.finish_epoch(fetch_together(rates, means, metrics or {}))
        try:
            self._monitors.update(state.metrics, state.epoch)
        except SettingsError as error:
            self._group.defer(error)
        self._record(written)
        self._dispatch("on_epoch_end", state.epoch, state.metrics)
        self._execute(self._group.pending())
        self._stop_requests.check_stop_file()
        self._stop_requests.check()

    def at_end(self, close: Callable[[], object]) -> None:
        """Call ``close`` when the run is over, however it ended, after the plugins were called for the last time.

        Functions are called in the reverse order of their registration.
        """
        self._require("open", "at_end() needs a run that has begun and is not over")
        self._at_end.callback(close)

    def end(self, error: BaseException | None = None) -> None:
        """End the training; a second call has no effect.

        Every plugin is called, even if one raises. The first error of a plugin is raised again, unless ``error`` is
        given.

        Args:
            error: The error that ended the loop; None if it ended normally.
        """
        state = self.state
        was_open, state.phase = state.phase == "open", "ended"
        if not was_open:
            return
        errors: list[Exception] = []
        with ExitStack() as last, self._at_end:  # directories are unlocked even if this is interrupted
            last.callback(self._stop_requests.close)
            state.error = self._group.arrive(error, self._executor)
            self._record(ExecutionResult(self._stop_requests.decision()))
            if state.error is not None:
                errors += [state.error] if error is None and isinstance(state.error, Exception) else []
                errors += self._bus.call_all("on_exception", run=self, error=state.error)[1]
            decision, raised = self._bus.call_all("on_train_end", run=self)
            errors += raised
            if isinstance(error, KeyboardInterrupt) and state.requested and not state.interrupted:
                self._executor.writer.abandon()  # a second signal
            self._finalize(decision, errors)
            if errors or state.error is not None:  # a file that was being written may not exist
                state.files = existing(state.files)
        for more in errors if error is not None else errors[1:]:
            (error or errors[0]).add_note(f"at the end of the run also: {type(more).__name__}: {more}")
        self._stop_requests.exit(error, [*errors, *([error] if isinstance(error, Exception) else [])])
        if errors and error is None:
            raise errors[0]

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
        """Total weight updates of the run; a loop that counts its own updates sets it."""
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
        """The metrics of each epoch that ended: name to list of values, which can give arrays and frames, too."""
        return History(self.state.epoch_metrics)

    @property
    def resumed(self) -> Checkpoint | None:
        """The checkpoint that the run was resumed from; None if it was not."""
        return self.state.resumed

    @property
    def stopped(self) -> bool:
        """Whether a decision has asked for the end of the training."""
        return bool(self.state.stop_actions)

    @property
    def error(self) -> BaseException | None:
        """What ended the run, if an error did."""
        return self.state.error

    @property
    def failures(self) -> list[Failure]:
        """What went wrong without ending the run: errors of observers, and what could not be written."""
        return list(self._failures.all)

    @property
    def result(self) -> Result:
        """How the run ended, or how far it is."""
        state = self.state
        rates = {name: values for name, values in self.history.items() if name.split("/")[0] == "learning_rate"}
        return Result(
            len(state.epoch_metrics),
            self.stopped,
            state.reason,
            self._monitors.best(),
            tuple(state.files),
            rates,
            tuple(self._failures.all),
            tuple(state.decision_log),
        )

    def monitor(self, metric: str, mode: Literal["auto", "min", "max"] = "auto") -> Monitor:
        """Return the monitor of a metric; plugins that ask for the same one share it.

        Raises:
            UnknownDirection: ``mode`` is "auto", and the direction in which the metric improves is unknown.
        """
        return self._monitors.get(metric, mode)

    def report_failure(self, plugin: object, lost: str, error: Exception) -> None:
        """Report what a plugin continues without: one line in the log, in ``failures`` and in the journal.

        It does not count towards the failures after which an observer is disabled. A thread may call it, too.

        Args:
            plugin: The plugin that continues.
            lost: What is lost, in a few words, such as "no graph".
            error: The cause.
        """
        name = next((name for name, each in self.plugins.items() if each is plugin), type(plugin).__name__)
        self._failures.record(name, error, lost)

    def clear_stops(self) -> None:
        """Remove every stop, so that a resumed run that had stopped continues training."""
        self.state.stop_actions.clear()

    # --- the life of an event

    def _dispatch(self, name: str, *values: Any) -> None:
        hook = getattr(self._bus, name)
        if hook is not None and (results := hook(self, *values)) is not None:
            self._execute_results(name, results)

    def _execute_results(self, name: str, results: Any) -> None:
        self._execute(self._bus.join(name, results))

    def _execute(self, decision: Decision) -> None:
        if decision:
            self._record(self._group.execute(decision, self._executor))

    def _record(self, result: ExecutionResult) -> None:
        if any(result):
            self.state.record(result, self._executor.exists)
            self._bus.announce(self, result)

    # --- begin, resume, end

    def _require(self, phase: str, otherwise: str) -> None:
        if self.state.phase != phase:
            raise LoopError(otherwise)

    def _learning_rates(self) -> Mapping[str, float]:
        subject = self.state.subject
        return subject.learning_rates() if has(subject, HasLearningRate) else {}

    def _finalize(self, decision: Decision, errors: list[Exception]) -> None:
        """Execute what was decided at the very end, and wait for all files; add what fails to ``errors``."""
        failure = next((each for each in errors if each is not self.state.error), None)
        try:
            final, lost = self._group.final_decision(decision, failure)
            errors += [] if lost is None else [lost]
            if final is None:
                return
            self._execute(final)
            self._record(self._group.collect(self._executor))
            if self._group.leads:
                self._executor.prune_snapshots()
        except Exception as raised:  # noqa: BLE001 - raised when the run has ended
            errors.append(raised)
        finally:
            self._group.close(self._executor)


def _length(loader: Iterable[object]) -> int | None:
    """Return the number of batches; None if the loader has no length: that of PyTorch's may raise."""
    try:
        return len(loader)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None
