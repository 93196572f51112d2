"""Signals that end a run: recorded when they arrive, handled between two batches."""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, cast

from ...errors import SettingsError
from ...metrics.names import hint

__all__ = ["DEFAULT", "Signals", "answer", "hide_traceback"]

DEFAULT = ("SIGINT", "SIGTERM")
"""The signals that a run handles by default."""

_HIDDEN = "_trainbus_reported"
"""The attribute of an exception whose traceback is not printed, because the log already says why it was raised."""


class Signals:
    """Handlers that record signals instead of ending the process, until ``close``.

    A second signal of the same kind calls the previous handler at once. Ignored signals stay ignored. Python can
    install handlers only in the main thread; in other threads, no signal is handled. A terminal also sends Ctrl-C to
    forked processes; they ignore it, and only this process handles it.

    Args:
        names: Names of the signals, such as "SIGTERM".
        ask: Called inside the handler with the signal's name, once for each kind of signal.
        loop_is_alive: Returns whether a loop is still running that can end. If not, a signal calls the previous
            handler.

    Raises:
        SettingsError: This system has no signal with this name, or processes cannot handle it.
    """

    def __init__(
        self, names: Iterable[str], ask: Callable[[str], object], loop_is_alive: Callable[[], bool] = lambda: True
    ) -> None:
        self.received: list[signal.Signals] = []
        """The recorded signals, in order."""
        self._received_elsewhere: signal.Signals | None = None
        self._ask, self._loop_is_alive = ask, loop_is_alive
        self._owner = os.getpid()
        self._before: dict[signal.Signals, Any] = {}
        numbers = [_number(name) for name in names]
        if threading.current_thread() is not threading.main_thread():
            return
        handler = _Handler(weakref.ref(self))
        for number in numbers:
            before = signal.getsignal(number)
            while isinstance(before, _Handler) and before.signals() is None:  # of a run that was garbage collected
                before = before.before[number]
            if before not in (signal.SIG_IGN, None):  # None: a handler that was not installed from Python
                handler.before[number] = self._before[number] = before
                signal.signal(number, handler)
        self._handler = handler

    def close(self) -> None:
        """Restore the earlier handlers."""
        before, self._before = self._before, {}
        if os.getpid() != self._owner or threading.current_thread() is not threading.main_thread():
            return  # handlers that stay installed call the earlier ones
        for number, handler in before.items():
            if signal.getsignal(number) is self._handler:
                signal.signal(number, handler)

    def record_elsewhere(self, name: str) -> None:
        """Record that another rank has received a signal; ignore names of other requests."""
        if name in signal.Signals.__members__:
            self._received_elsewhere = signal.Signals[name]

    def exit(self, error: BaseException | None, *, interrupted: bool = False) -> bool:
        """Send this process the first recorded signal again; call this after ``close``.

        Args:
            error: The exception that is being raised. A ``KeyboardInterrupt`` already has the effect of Ctrl-C.
            interrupted: Whether a ``KeyboardInterrupt`` has ended the loop because of the signal. If it is no longer
                being raised, the loop's own code has caught it, so a Ctrl-C is handled.

        Returns:
            Whether a handler of the user was called and the process continues, so that ``error`` must not be raised.
        """
        number = self.received[0] if self.received else self._received_elsewhere
        if number is None:
            return False
        raised, before = isinstance(error, KeyboardInterrupt), signal.getsignal(number)
        if before is not signal.default_int_handler:
            os.kill(os.getpid(), number)
            return callable(before) and raised and interrupted
        if not raised and not interrupted:
            os.kill(os.getpid(), number)
        return False

    def record(self, number: signal.Signals) -> bool:
        """Record a signal and return True; return False if the previous handler must be called at once."""
        if number in self.received or number not in self._before or not self._loop_is_alive():
            return False
        self.received.append(number)
        self._ask(number.name)
        return True

    @property
    def any(self) -> bool:
        """Whether a signal was recorded, here or on another rank."""
        return bool(self.received) or self._received_elsewhere is not None

    @property
    def is_forked(self) -> bool:
        """Whether this process was forked from the one that installed the handlers."""
        return os.getpid() != self._owner


class _Handler:
    """The installed handler; its reference is weak, so that the run can be garbage collected."""

    def __init__(self, signals: weakref.ref[Signals]) -> None:
        self.signals = signals
        self.before: dict[signal.Signals, Any] = {}

    def __call__(self, number: int, frame: FrameType | None) -> None:
        which, signals = signal.Signals(number), self.signals()
        if signals is not None and signals.is_forked and which == signal.SIGINT:
            return
        if signals is not None and not signals.is_forked and signals.record(which):
            return
        before = self.before[which]
        if callable(before):
            before(number, frame)
        else:
            signal.signal(which, before)
            os.kill(os.getpid(), number)


def answer(name: str) -> None:
    """Print one line that a signal ends the run; may be called in a signal handler."""
    if (stderr := sys.stderr) is None:
        return
    line = f"{name}: finishing the batch; again to stop now\n"
    try:
        stderr.write(f"\n{line}" if stderr.isatty() else line)  # a terminal shows ^C at the end of the present line
        stderr.flush()
    except Exception:  # noqa: BLE001 - the signal came during another write to the same file, which may not be nested
        with suppress(OSError):
            os.write(2, line.encode())


def hide_traceback(error: BaseException) -> None:
    """Let Python exit with this exception as usual, but without a traceback: the log already gives the reason.

    If ``sys.excepthook`` is not Python's own, it gets the exception as usual.
    """
    setattr(error, _HIDDEN, True)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_unless_hidden


def _print_unless_hidden(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not hasattr(error, _HIDDEN):
        sys.__excepthook__(kind, error, trace)


def _number(name: str) -> signal.Signals:
    if not isinstance(cast("object", name), str):
        raise SettingsError(f"signals={name!r}: give names, such as 'SIGTERM'")
    if name in ("SIGKILL", "SIGSTOP"):
        raise SettingsError(f"signals={name!r}: no process can handle this signal; name another one")
    try:
        return signal.Signals[name]
    except KeyError:
        known = [each.name for each in signal.Signals]
        raise SettingsError(f"signals={name!r}: no such signal here{hint(name, known, otherwise='')}") from None
