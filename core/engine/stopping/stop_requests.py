"""Requests to end a run: by a signal, by a stop file, or by another rank."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import ParamSpec, Protocol, TypeVar, cast

from ...checkpoints.run_files import RunFiles
from ...decision import REQUEST, Decision, Stop
from ...errors import SettingsError
from ...failures import LOG
from ...storage.paths import Location
from ..plan import EpochPlan, StepPlan
from .signals import Signals, answer, hide_traceback
from .stop_file import StopFile

P = ParamSpec("P")
T = TypeVar("T")


class RequestedState(Protocol):
    """The part of ``RunState`` in which requests are recorded."""

    requested: str
    quiet: bool
    interrupted: bool
    stop_actions: list[Stop]
    epoch: int
    plan: EpochPlan | StepPlan
    files: RunFiles

    @property
    def step(self) -> int:
        """Total weight updates of the run."""
        ...


class StopGroup(Protocol):
    """The part of ``Group`` that stop requests use."""

    def bind(self, name: str, step: Callable[P, T]) -> Callable[P, T]:
        """Return the function to call for a step that one process executes for all."""
        ...

    def request_stop(self, what: Mapping[str, str]) -> None:
        """Ask all ranks to end; may be called from a signal handler, so it must return at once."""
        ...

    def may_stop(self) -> bool:
        """Return whether the loop may end here: all ranks are at the same batch."""
        ...


class StopRequests:
    """The requests to end the run, and the points at which it may end.

    Args:
        names: The signals to handle, such as "SIGTERM".
        state: The plain data of the run, in which requests are recorded.
        group: The processes that decide as one.
    """

    def __init__(self, names: Iterable[str], state: RequestedState, group: StopGroup) -> None:
        if not isinstance(cast("object", names), Iterable):
            raise SettingsError(f"signals={names!r}: give the names of signals, such as ('SIGTERM',), or () for none")
        self._names = (names,) if isinstance(names, str) else tuple(names)
        self._state = state
        self._group = group
        self._signals: Signals | None = None
        self._stop_file: StopFile | None = None

    def listen(self, directories: Iterable[Location], loop_is_alive: Callable[[], bool]) -> None:
        """Start to handle signals and stop files.

        Args:
            directories: Where a stop file may be created.
            loop_is_alive: Called when a signal arrives; returns whether a loop is still running that can end. If not,
                the signal has the effect that it would have without the run.
        """
        self._signals = Signals(self._names, _weak(self._answer), loop_is_alive)
        self._group.bind("watch_stop_file", self._watch)(directories)

    def request(self, name: str, *, quiet: bool = False) -> None:
        """Record that ``name`` asks the run to end; may be called from a signal handler or another thread.

        Args:
            name: What asks for it.
            quiet: Whether the run ends without an exception.
        """
        if not self._state.requested:
            self._state.quiet = quiet
            self._group.request_stop({"request": name, **({"quiet": "yes"} if quiet else {})})
            self._state.requested = name
            self._state.stop_actions.append(Stop(reason=f"{name} asked for it", by=REQUEST))

    def _answer(self, name: str) -> None:
        """Record the request of a signal that has just arrived, and print a line on rank 0's terminal."""
        self.request(name)
        self._group.bind("report", answer)(name)

    def receive(self, what: Mapping[str, str]) -> None:
        """Record a request of another rank; may be called in any thread."""
        if "request" in what:
            if self._signals is not None:
                self._signals.record_elsewhere(what["request"])
            self.request(what["request"], quiet="quiet" in what)
        elif (stop := Stop(reason=what["stop"], by="loop")) not in self._state.stop_actions:
            self._state.stop_actions.append(stop)

    def check(self) -> None:
        """End the run here, between two batches or epochs, if a signal or a stop file has asked for it.

        Raises:
            KeyboardInterrupt: The run was asked to end.
        """
        state = self._state
        if state.requested and not state.interrupted and self._group.may_stop():
            state.interrupted = True
            raise KeyboardInterrupt(state.requested)

    def check_stop_file(self) -> None:
        """Look for a stop file on this machine's disk now; a thread also looks twice a second."""
        if self._stop_file is not None:
            self._stop_file.look()

    def ends_quietly(self, error: BaseException | None) -> bool:
        """Return whether the error is that of a request to end without an exception, and no signal came as well."""
        raised = isinstance(error, KeyboardInterrupt) and self._state.interrupted
        return raised and self._state.quiet and self._signals is not None and not self._signals.any

    def decision(self) -> Decision:
        """Return the decision by which a request has ended the run; empty if none did."""
        stops = self._state.stop_actions if self._state.interrupted else ()
        return Decision(frozenset(each for each in stops if each.by == REQUEST))

    def close_stop_file(self) -> None:
        """Stop watching for a stop file."""
        if self._stop_file is not None:
            self._stop_file.close()

    def close(self) -> None:
        """Restore the previous signal handlers."""
        if self._signals is not None:
            self._signals.close()

    def exit(self, error: BaseException | None, errors: Iterable[Exception]) -> bool:
        """Log how the requested end was reached, and send the signal again, without the run's handlers.

        Args:
            error: What ends the loop.
            errors: What was raised at the end of the run.

        Returns:
            Whether ``error``, with which the run ended its loop, need not be raised: a handler of the user was called
            for the signal and the process continues, or the request was a quiet one and no signal came as well.
        """
        if self._signals is None:
            return False
        if self._state.requested:
            self._group.bind("log_end", self._log_end)(errors)
        handled = self._signals.exit(error, interrupted=self._state.interrupted)
        if not (isinstance(error, KeyboardInterrupt) and self._state.interrupted):
            return handled
        hide_traceback(error)
        return handled or self.ends_quietly(error)

    def _watch(self, directories: Iterable[Location]) -> None:
        self._stop_file = StopFile(directories, _weak(self.request))

    def _log_end(self, errors: Iterable[Exception]) -> None:
        state = self._state
        for each in errors:  # most signals end the process before an exception is shown
            LOG.warning("%s: %s: %s", state.requested, type(each).__name__, each)
        if state.interrupted:
            newest = "nothing was saved"
            if state.files.newest is not None:
                newest = f"resume='auto' continues from {state.files.start.shown(state.files.newest)}"
            where = f" in {state.plan.interval(state.epoch)}" if state.plan.unit == "epoch" else ""
            LOG.warning("%s: the run ended%s after %d steps; %s", state.requested, where, state.step, newest)


def _weak(method: Callable[[str], object]) -> Callable[[str], None]:
    """Call the method only while its object is alive: a garbage-collected run must not handle signals."""
    reference = weakref.WeakMethod(method)

    def call(name: str) -> None:
        alive = reference()
        if alive is not None:
            alive(name)

    return call
