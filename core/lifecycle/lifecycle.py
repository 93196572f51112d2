"""The life of a run: the order in which its parts act at each event."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from ..callback import Callback
from ..capabilities import ChecksTraining, supports
from ..decision import NOTHING, Decision
from ..engine.execution_result import ExecutionResult
from ..engine.plan import EpochPlan
from ..errors import LoopError, SettingsError
from ..failures import LOG, is_observer
from ..hooks import EVENT_ARGUMENTS, check_event
from ..metrics.names import check_name
from ..metrics.origin import Origin
from ..metrics.scalars import fetch_together
from ..resume.script.given_state import PATH, state_dict_of
from ..resume.script.options import options_of
from ..resume.script.rates import rates_of
from ..resume.script.start import check_best
from ..settings.arguments import check_metrics, whole_number
from ..terminal import plural
from .ending import Ending
from .loops import Loops
from .parts import Parts

T = TypeVar("T")

_IN_EPOCH = (
    "loop over run.epochs(n) or run.steps(loader, n, validate_every=m), or call run.begin_epoch(epoch) and "
    "run.end_epoch() in a loop of your own"
)


@runtime_checkable
class HasContent(Protocol):
    """A callback whose files may hold content of the user's own."""

    def file_content(self) -> Callable[[Any], Any] | None:
        """Return a function of the run that returns this content; None if the files hold the training state."""
        ...


class Lifecycle:
    """The order in which the parts of a run act at each event.

    An event: the bus calls each plugin that implements its hook and joins their decisions into one; if several
    processes train, the group agrees on it; the executor applies it to the subject and the disk; the state records
    the result; the bus announces it.

    It does not hold the run: methods that call hooks receive it as an argument. ``Run`` documents the arguments
    and errors.
    """

    def __init__(self, parts: Parts) -> None:
        self.state, self.group, self.bus, self.executor = parts.state, parts.group, parts.bus, parts.executor
        self.failures, self.callbacks, self.plugins = parts.failures, parts.callbacks, parts.plugins
        self.monitors, self.collector, self.rates = parts.monitors, parts.collector, parts.rates
        self.events = parts.events
        self.stop_requests, self.resumer, self.ends = parts.stop_requests, parts.resumer, parts.ends
        self.origin, self.ending = parts.origin, Ending(parts)
        state, executor = parts.state, parts.executor  # not self: a run that was dropped is freed at once
        self._epoch_results = self.group.bind("epoch_results", lambda: (state.means, executor.collect(wait=False)))
        self._start_epoch = self.group.bind("start_epoch", state.start_epoch)
        self.loops = Loops(parts)
        self._awaits_training = True

    def require(self, phase: str, otherwise: str) -> None:
        """Raise a ``LoopError`` unless the run is in this phase."""
        if self.state.phase != phase:
            raise LoopError(otherwise)

    def require_begun(self, call: str) -> None:
        """Raise a ``LoopError`` if the run has not begun."""
        if self.state.phase == "new":
            raise LoopError(f"call {call} after begin(), or inside `with run:`")

    def require_epoch(self, call: str) -> None:
        """Raise a ``LoopError`` unless an epoch is open: no callback would see what is logged or trained."""
        over = "; this run is over" if self.state.phase == "ended" else ""
        self.require("open", f"{call} belongs inside `with run:`{over}")
        if not self.state.epoch_open:
            raise LoopError(f"call {call} inside an epoch, where callbacks see it: {_IN_EPOCH}")

    # --- one event

    def dispatch(self, run: object, name: str, *values: Any) -> None:
        """Call the hook of an event, and execute the decision of the plugins."""
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
        self.execute(run, self.bus.allowed(decision.signed("loop")))

    def emit(self, run: object, event: str, values: Mapping[str, Any]) -> None:
        """Call the plugins that listen to an event of the loop, and execute their decision like one of the loop."""
        self.require("open", f"emit({event!r}) belongs inside `with run:`")
        check_event(event)
        for name in values:
            if name in EVENT_ARGUMENTS:
                raise SettingsError(f"emit({event!r}): {name} is an argument of every listener; give another name")
        if self.resumer.mid_epoch and self.state.epoch_open:  # the interrupted run has emitted it
            return
        self.execute(run, self.events.emit(run, event, values))

    def execute(self, run: object, decision: Decision) -> None:
        """Execute a decision on all ranks, record it and announce it."""
        if decision:
            record = partial(self.record, run)
            record(self.group.execute(decision, self.executor, record))

    def record(self, run: object, result: ExecutionResult) -> None:
        """Record and announce executed decisions, written files and failed saves."""
        if any(result):
            self.state.record(result, lambda path: bool(self.executor.existing([path])))
            self.bus.announce(run, result)

    def state_dict(self, run: object) -> dict[str, Any]:
        """Return the state of the run without a checkpoint; every rank calls it, and that of rank 0 is complete."""
        self.require_begun("state_dict()")
        if self.state.epoch_open and (self.loops.in_batch() or self.state.counters.in_batch):
            raise LoopError(
                "state_dict() inside of a batch, which a resumed run would not know whether to train on; call it, or "
                "save the framework's checkpoint that calls it, when the batch or the epoch has ended"
            )
        executor, collector, start = self.executor, self.collector, self.executor.writer.start
        if self.state.phase == "open":  # what is being written belongs to the state
            self.record(run, self.group.bind("last_files", partial(executor.collect, wait=True))())
        states = self.group.bind("gather_states", lambda: [collector.rank_state()])()
        state = collector.checkpoint_state(NOTHING, states[1:])
        history = collector.history.whole(start.fixed(PATH).parent)
        return state_dict_of(state, collector.progress(), history, executor.snapshots, start)

    # --- the run and its epochs

    def begin(self, run: object, loop_is_alive: Callable[[], bool], *, keeps_state: bool = False) -> None:
        """Begin the training, from a checkpoint if the run is resumed."""
        self.require("new", "a run cannot be used twice; make a new one with the same callbacks")
        self.state.phase = "open"
        bind, executor, state = self.group.bind, self.executor, self.state
        try:
            deciding = (name for name, plugin in self.plugins.items() if not is_observer(plugin))
            settings = {name: self.callbacks[name].settings() if name in self.callbacks else {} for name in deciding}
            self.group.begin(settings, self.stop_requests)
            directories = executor.note_directories(self.callbacks.values())
            executor.writer.contents = _contents_of(self.callbacks, run)
            self.collector.enabled = bool(directories) or keeps_state
            self.ends.directories = self.collector.history.directories = directories
            state.files.start = executor.writer.start
            removed = partial(executor.report_removed, state.files)
            bind("lock_directories", executor.lock_directories)(self.ending.locks, removed)
            self.stop_requests.listen(directories, loop_is_alive)
            self.ending.closed.callback(self.stop_requests.close_stop_file)
            state.script_learning_rates, state.script_options = rates_of(state.subject), options_of(state.subject)
            self.resumer.restore()
            self._start()
            if state.resumed is not None:  # a resume that was killed leaves files that no checkpoint names
                bind("prune_snapshots", partial(executor.prune_snapshots, [state.resumed.path], over=False))()
            resumer, saved = self.resumer, self.resumer.saved
            self.rates.resume(saved.rate_changes, saved.undone_rates, saved.uncut_rates, mid_epoch=resumer.had_update)
            self.events.resume(saved.event_counts)
            self._dispatch_train_begin(run)
            if state.resumed is None and not self.resumer.end_is_recorded:
                check_best(self.origin.best, self.monitors.names(), bind("report", LOG.warning))
            bind("check_plugins", self.collector.check_plugins)()
            self.record(run, self.resumer.finish_last_decision(partial(self.record, run)))
            self.resumer.finish()
        except BaseException as error:
            self.end(run, error)
            raise

    def _start(self) -> None:
        """Begin where ``start`` says, unless the run is resumed."""
        if self.origin == Origin():
            return
        if self.state.resumed is None and not self.resumer.end_is_recorded:
            self.state.begin_at(self.origin)
        else:
            self.group.bind("report", LOG.warning)("start= is not used, since the run is resumed")

    def _dispatch_train_begin(self, run: object) -> None:
        """Call the hook; what the run that is resumed has decided in it is not executed again."""
        if self.state.resumed is None or self.bus.on_train_begin is None:
            self.dispatch(run, "on_train_begin")
            return
        new = self.resumer.without_earlier(self.bus.on_train_begin(run) or NOTHING)
        self.execute(run, self.group.bind("remaining_actions", lambda: ExecutionResult(new))().done)

    def begin_epoch(self, run: object, epoch: int) -> None:
        """Begin an epoch, or continue the one in which the run was interrupted."""
        self.require("open", "an epoch begins only after begin() and before end()")
        epoch = whole_number("epoch", epoch, 0)
        self.ending.train(partial(self.record, run))
        self._start_epoch(epoch)
        self.bus.drop_disabled()
        self.loops.idle_callbacks.begin_epoch(epoch)
        if self.resumer.mid_epoch:
            self.bus.replay("on_epoch_begin", run, epoch)
            self.resumer.reenter_epoch()
            self.rates.resume_epoch()
            return
        self.collector.leave_epoch()
        self.dispatch(run, "on_epoch_begin", epoch)
        self.rates.begin_epoch()
        self.collector.enter_epoch()

    def end_epoch(self, run: object, metrics: Mapping[str, Any]) -> None:
        """End the epoch with the metrics of all ranks; end the run if there is a stop request."""
        state = self.state
        self.require_begun("end_epoch()")
        check_metrics(metrics)
        for name in metrics:
            check_name(name)
        self._check_training()
        rates = self.rates.end_epoch()
        means, written = self._epoch_results()
        state.measure()
        state.finish_epoch(fetch_together(rates, means, means.without_value, metrics))
        self.rates.check(rates)
        self.record(run, written)
        self.dispatch(run, "on_epoch_end", state.epoch, state.metrics)
        self.stop_requests.check_stop_file()
        self.stop_requests.check()

    def _check_training(self) -> None:
        """Let the subject check, once, that the loop has trained it."""
        state = self.state
        if self._awaits_training and state.counters.current_trained_batches:
            self._awaits_training = False
            if supports(state.subject, ChecksTraining) and not self.resumer.has_trained:
                state.subject.check_training()

    def finish_left_epoch(self, run: object) -> None:
        """End an epoch whose loop has logged and was left, as by ``break``: its metrics and decisions count."""
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
            The same as ``end``.
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
            if self.plugins and not state.epochs_started and state.plan == EpochPlan():
                self.group.bind("report", LOG.warning)(f"no epoch has begun, so no callback was used: {_IN_EPOCH}")
        return self.end(run, error)

    def end(self, run: object, error: BaseException | None) -> bool:
        """End the training.

        Returns:
            Whether ``error`` need not be raised: a handler of the user was called for a signal, or the run was asked to
            end without an exception.
        """
        state = self.state
        was_open, state.phase, state.epoch_open = state.phase == "open", "ended", False
        return was_open and self.ending.end(run, error, partial(self.record, run), self.loops.close)


def _contents_of(callbacks: Mapping[str, Callback], run: object) -> dict[str, Callable[[], Any]]:
    """Return a function for each callback that returns the content of its files; it does not keep the run alive."""
    own = {name: each.file_content() for name, each in callbacks.items() if isinstance(each, HasContent)}
    functions = {name: function for name, function in own.items() if function is not None}
    present = weakref.ref(run) if functions else None
    return {name: partial(_content, function, present) for name, function in functions.items()}


def _content(function: Callable[[Any], Any], present: Callable[[], object] | None) -> Any:
    return function(present and present())


def report_dropped(epochs: Sequence[object], process: int) -> None:
    """Report that a run was garbage-collected before its end, but only in the process that began it."""
    if os.getpid() == process:
        LOG.warning(
            "a run was dropped after %s without its end: its callbacks are not called, and its last files may be "
            "missing; use `with run:`, or call run.end() in a finally block",
            plural(len(epochs), "epoch"),
        )
