"""The life of a run: its parts put together, and what happens at each event."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Any, TypeVar, cast

from .callback import Callback, Verbose
from .capabilities import HasLearningRate
from .decision import REQUEST, Decision
from .distributed.rank_group import group_for
from .engine.batch_loop import length_of, observed_batches, unobserved_batches
from .engine.bus import Bus
from .engine.execution_result import ExecutionResult
from .engine.executor import Executor
from .engine.learning_rates import LearningRates
from .engine.resumer import Resumer
from .engine.run_state import RunState
from .engine.state_collector import StateCollector
from .engine.stop_requests import StopRequests
from .errors import LoopError, SettingsError
from .failures import ENGINE, LOG, Failures, is_observer
from .hooks import hookimpl
from .metrics.history import History
from .metrics.monitor import Monitors
from .metrics.names import check_name
from .metrics.scalars import fetch_together
from .result import Result
from .resume.end_record import EndRecord, EndRecords
from .resume.locate import locate
from .resume.resumption import Resumption
from .resume.script_rates import check_source, rates_of
from .settings.arguments import check_metrics, check_validation_freq, whole_number
from .settings.plugin_list import CallbackLike, build_plugins
from .settings.subjects import check_subject
from .storage.paths import Location, Source
from .storage.sharded_directory import VerificationShare
from .terminal import plural

T = TypeVar("T")

_IN_EPOCH = "loop over run.epochs(n), or call run.begin_epoch(epoch) and run.end_epoch() in a loop of your own"


class Lifecycle:
    """The parts of a run, put together, and the order in which they act at each event.

    An event: the bus calls each plugin that implements its hook and joins the answers into one decision; the group
    agrees on it, if several processes train; the executor applies it to the subject and the disk; the state records
    the result; the bus announces it.

    It does not hold the run: each method whose hooks receive the run is called with it. ``Run`` documents the arguments
    and errors.
    """

    def __init__(
        self,
        subject: object,
        callbacks: CallbackLike | Sequence[CallbackLike],
        *,
        verbose: Verbose | None,
        resume: Source | None,
        resume_strict: bool,
        resume_learning_rates: str,
        signals: Iterable[str],
    ) -> None:
        check_subject(subject)
        check_source(resume_learning_rates)
        self.state = state = RunState(subject)
        self.group = group = group_for(subject, state)
        self.failures = failures = Failures()
        entries = build_plugins(callbacks, subject, verbose=verbose)
        self.callbacks: dict[str, Callback] = {
            each.name: each.callback for each in entries if each.callback is not None
        }
        self.plugins: dict[str, object] = {each.name: each.plugin for each in entries if group.calls(each.plugin)}
        self.monitors = Monitors(state)
        self.bus = Bus(failures, group.bind)
        self.bus.register(self.plugins.items())
        self.bus.register([(ENGINE, _MonitorUpdates(self.monitors))])
        self.collector = StateCollector(state, self.plugins, self.callbacks, failures, group.size)
        cutting = (name for name, each in self.callbacks.items() if HasLearningRate in each.requires())
        self.rates = LearningRates(state, group.bind("report_undone", failures.record), cutting)
        self.executor = executor = Executor(subject, self.collector, self.rates, failures)
        self.stop_requests = StopRequests(signals, state, group)
        self.ends, self._trains = EndRecords(), False
        self._removed = False
        """Whether a directory of the run was removed while it trained."""
        self.resumer = Resumer(
            resume,
            partial(
                locate,
                callbacks=self.callbacks.values(),
                share=VerificationShare(group.rank, group.size),
                subject=subject,
            ),
            partial(
                Resumption,
                plugins=self.plugins,
                callbacks=self.callbacks,
                subject=subject,
                rates=resume_learning_rates,
                rank=group.rank,
                world_size=group.size,
            ),
            state,
            executor.snapshots,
            self.collector,
            failures,
            group.bind,
            partial(group.execute, executor=executor),
            self.ends,
            partial(EndRecord.valid_stops, plugins=self.plugins, callbacks=self.callbacks),
            self.monitors.update,
            strict=resume_strict,
        )
        self._epoch_results = group.bind("epoch_results", lambda: (state.means, executor.collect(wait=False)))
        self.at_end = ExitStack()
        """What is closed when the run is over."""

    def require(self, phase: str, otherwise: str) -> None:
        """Raise a ``LoopError`` unless the run is in this phase."""
        if self.state.phase != phase:
            raise LoopError(otherwise)

    def require_epoch(self, call: str) -> None:
        """Raise a ``LoopError`` unless an epoch is open: no callback would see what is logged or trained."""
        over = "; this run is over" if self.state.phase == "ended" else ""
        self.require("open", f"{call} belongs inside `with run:`{over}")
        if not self.state.epoch_open:
            raise LoopError(f"{call} belongs inside an epoch, or no callback sees it: {_IN_EPOCH}")

    # --- one event

    def dispatch(self, run: object, name: str, *values: Any) -> None:
        """State an event, and execute what the plugins decide."""
        hook = getattr(self.bus, name)
        if hook is not None and (decision := hook(run, *values)) is not None:
            self.execute(run, decision)

    def decide(self, run: object, decision: Decision) -> None:
        """Execute a decision of the loop."""
        self.require("open", "a run decides only inside `with run:`")
        if not isinstance(cast("object", decision), Decision):
            raise SettingsError(
                f"decide({decision!r}): give a decision of trainbus.decision, such as stop('reached the goal')"
            )
        self.execute(run, decision.signed("loop"))

    def execute(self, run: object, decision: Decision) -> None:
        """Execute a decision on all ranks, record it and announce it."""
        if decision:
            self.record(run, self.group.execute(decision, self.executor))

    def record(self, run: object, result: ExecutionResult) -> None:
        """Record and announce what was executed, written, and not written."""
        if any(result):
            self.state.record(result, lambda path: bool(self.executor.existing([path])))
            self.bus.announce(run, result)

    # --- the run and its epochs

    def begin(self, run: object, loop_is_alive: Callable[[], bool]) -> None:
        """Begin the training, from a checkpoint if the run is resumed."""
        self.require("new", "a run cannot be used twice; make a new one with the same callbacks")
        self.state.phase = "open"
        bind, executor = self.group.bind, self.executor
        try:
            deciding = (name for name, plugin in self.plugins.items() if not is_observer(plugin))
            settings = {name: self.callbacks[name].settings() if name in self.callbacks else {} for name in deciding}
            self.group.begin(settings, self.stop_requests)
            directories = executor.note_directories(self.callbacks.values())
            self.collector.enabled = bool(directories)
            self.ends.directories = directories
            bind("lock_directories", executor.lock_directories)(self.at_end, self._report_removed)
            self.stop_requests.listen(directories, loop_is_alive)
            self.at_end.callback(self.stop_requests.close_stop_file)
            self.state.script_learning_rates = rates_of(self.state.subject)
            self.resumer.restore()
            self.dispatch(run, "on_train_begin")
            bind("check_plugins", self.collector.check_plugins)()
            self.record(run, self.resumer.finish_last_decision())
            self.resumer.finish()
        except BaseException as error:
            self.end(run, error)
            raise

    def epochs(
        self, run: object, epochs: int | None, initial_epoch: int, validation_freq: int | Collection[int]
    ) -> Iterator[int]:
        """Iterate over the epochs, or until a decision ends the training."""
        self.require("open", "epochs() belongs inside `with run:`")
        first = whole_number("initial_epoch", initial_epoch, 0)
        if epochs is not None:
            epochs = whole_number("epochs", epochs, 0)
        check_validation_freq(validation_freq)
        self.finish_left_epoch(run)
        self.state.planned_epochs, self.state.validation_freq = epochs, validation_freq
        first = self.resumer.first_epoch(first, epochs)
        return self._epochs(run, count(first) if epochs is None else range(first, epochs))

    def _epochs(self, run: object, epochs: Iterable[int]) -> Iterator[int]:
        for epoch in epochs:
            if self.loop_ends():
                return
            self.begin_epoch(run, epoch)
            if self.loop_ends():
                return
            yield epoch
            self.end_epoch(run, {})

    def begin_epoch(self, run: object, epoch: int) -> None:
        """Begin an epoch, or continue the one in which the run was interrupted."""
        self.require("open", "an epoch begins only after begin() and before end()")
        if not self._trains:
            self._trains = True
            self.group.bind("remove_ends", self.ends.remove)()
        self.state.start_epoch(epoch)
        self.bus.drop_disabled()
        if self.resumer.mid_epoch:
            self.bus.replay("on_epoch_begin", run, epoch)
            self.resumer.reenter_epoch()
            self.rates.resume_epoch()
            return
        self.collector.leave_epoch()
        self.dispatch(run, "on_epoch_begin", epoch)
        self.rates.begin_epoch()
        self.collector.enter_epoch()

    def batches(self, run: object, loader: Iterable[T], accumulate: int | None) -> Iterator[T]:
        """Iterate over the batches of one epoch, or until a decision ends the training."""
        if accumulate is not None:
            advice = "give the number of batches to one weight update, or None"
            accumulate = whole_number("accumulate", accumulate, 1, advice)
        if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):  # a sequence may have that only
            raise SettingsError(f"batches({loader!r}): give an iterable of batches, such as a DataLoader, or range(n)")
        self.require_epoch("batches()")
        state, bus = self.state, self.bus
        state.planned_batches = length_of(loader)
        self.rates.first_batch()
        batches, first = self.resumer.begin_loop(loader)
        if bus.on_batch_begin is None and bus.on_batch_end is None:
            return unobserved_batches(state, batches, first, accumulate, self.loop_ends)
        execute = partial(self.execute, run)
        return observed_batches(run, state, bus, batches, first, accumulate, execute, self.loop_ends)

    def loop_ends(self, batches: int = 0, accumulate: int | None = 1) -> bool:
        """Return whether a decision ends the loop here; a request ends it once the current gradients are used."""
        if accumulate is None or batches % accumulate == 0:
            self.stop_requests.check()
        if self.state.interrupted:  # the loop has caught that
            return True
        return any(each.by != REQUEST for each in self.state.stop_actions) and self.group.may_stop()

    def end_epoch(self, run: object, metrics: Mapping[str, Any]) -> None:
        """End the epoch with the metrics of all ranks; end the run if it was asked to end."""
        state = self.state
        check_metrics(metrics)
        for name in metrics:
            check_name(name)
        rates = self.rates.end_epoch()
        means, written = self._epoch_results()
        state.finish_epoch(fetch_together(rates, means, means.without_value, metrics))
        self.rates.check(rates)
        self.record(run, written)
        self.dispatch(run, "on_epoch_end", state.epoch, state.metrics)
        self.stop_requests.check_stop_file()
        self.stop_requests.check()

    def finish_left_epoch(self, run: object) -> None:
        """End an epoch that has logged and whose loop was left, as by ``break``: its metrics and decisions count."""
        state = self.state
        if state.epoch_open and not state.interrupted:
            self.stop_requests.check()
            if state.means:
                if not state.validated:  # it may have been left before its validation
                    state.validation_freq = None
                self.end_epoch(run, {})

    def leave(self, run: object, error: BaseException | None) -> bool:
        """End the training and, if there is no error, the epoch in which the loop was left; report an unused run.

        Returns:
            As ``end`` does.
        """
        state = self.state
        if error is None and state.phase == "open":
            state.left = state.epoch_open
            try:
                self.finish_left_epoch(run)
            except BaseException as raised:
                if self.end(run, raised):
                    return True
                raise
            if self.plugins and not state.epochs_started and state.planned_epochs is None:
                self.group.bind("report", LOG.warning)(f"no epoch has begun, so no callback was used: {_IN_EPOCH}")
        return self.end(run, error)

    def end(self, run: object, error: BaseException | None) -> bool:
        """End the training: call every plugin, execute their last decision, wait for all files, close everything.

        Returns:
            Whether ``error`` is the interruption by a signal that the user's own handler has dealt with.
        """
        state = self.state
        was_open, state.phase, state.epoch_open = state.phase == "open", "ended", False
        if not was_open:
            return False
        bind, executor = self.group.bind, self.executor
        with ExitStack() as last, self.at_end:  # directories are unlocked even if this is interrupted
            last.callback(self.stop_requests.close)
            with self.group.end(error, executor) as state.error:
                self.record(run, ExecutionResult(self.stop_requests.decision()))
                if isinstance(error, KeyboardInterrupt) and state.requested and not state.interrupted:
                    executor.writer.abandon()  # a second signal
                decision, errors = bind("last_decision", self.bus.end)(run, state.error, state.errors_at_end.append)
                if error is None and isinstance(state.error, Exception):
                    errors.insert(0, state.error)
                try:
                    self.execute(run, decision)
                    self.record(run, bind("last_files", partial(executor.collect, wait=True))())
                    bind("prune_snapshots", executor.prune_snapshots)()
                    if self._is_over(errors):
                        bind("write_ends", self._write_ends)()
                except Exception as raised:  # noqa: BLE001 - raised when the run has ended
                    errors.append(raised)
            if errors or state.error is not None or self._removed:  # a file that was being written may not exist
                state.files = executor.existing(state.files)
        self.rates.end_epoch()  # of an epoch that was left
        for more in errors if error is not None else errors[1:]:
            (error or errors[0]).add_note(f"at the end of the run also: {type(more).__name__}: {more}")
        handled = self.stop_requests.exit(error, [*errors, *([error] if isinstance(error, Exception) else [])])
        if errors and (error is None or handled):
            raise errors[0]
        return handled

    def _report_removed(self, directory: Location) -> None:
        self._removed = True
        self.executor.report_removed(directory, self.state.files)

    def _is_over(self, errors: Sequence[Exception]) -> bool:
        """Return whether the run has ended as planned or by a decision, so that it stays over when it is resumed."""
        state = self.state
        if errors or state.error is not None or state.interrupted or state.left:
            return False
        done = 0 < (state.planned_epochs or 0) <= state.epochs_finished
        return done or any(each.by != REQUEST for each in state.stop_actions)

    def _write_ends(self) -> None:
        if self._trains or not self.resumer.end_is_recorded:
            self.ends.write(self.collector.end_record(), map(self.executor.writer.start.fixed, self.state.files))

    def result(self) -> Result:
        """Return how the run ended, or how far it is."""
        state = self.state
        rates = {
            name: values
            for name, values in History(state.epoch_metrics).items()
            if name.split("/")[0] == "learning_rate"
        }
        return Result(
            epochs=len(state.epoch_metrics),
            stopped=bool(state.stop_actions),
            reason=state.reason,
            best=self.monitors.best(),
            checkpoints=tuple(state.files),
            learning_rates=rates,
            failures=tuple(self.failures.all),
            decisions=tuple(state.decision_log),
        )


def report_dropped(epochs: Sequence[object], process: int) -> None:
    """Report that a run was collected before it had ended; a forked process leaves that to the one that began it."""
    if os.getpid() == process:
        LOG.warning(
            "a run was dropped after %s without its end: its callbacks are not called, and its last files may be "
            "missing; use `with run:`, or call run.end() in a finally block",
            plural(len(epochs), "epoch"),
        )


class _MonitorUpdates:
    """The first listener at the end of an epoch: it updates the monitors, which the plugins read."""

    def __init__(self, monitors: Monitors) -> None:
        self._monitors = monitors

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        self._monitors.update(metrics, epoch)
