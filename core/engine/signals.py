"""Signals that ask a run to end: noted when they come, obeyed between two batches."""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from ..errors import SettingsError
from ..metrics.names import hint

__all__ = ["DEFAULT", "Signals"]

DEFAULT = ("SIGINT", "SIGTERM")
"""The signals that a run listens to unless it is told otherwise."""

_AGAIN = b"\ntrainbus: ends after this batch; Ctrl-C again ends at once\n"


class Signals:
    """Lets signals only take note of themselves, until it is closed.

    The same signal once more does at once what it would have done without this. A signal that is ignored stays so.
    Only the main thread can listen; elsewhere nothing changes. Processes forked from this one leave a Ctrl-C, which
    the terminal sends to all of them, to this one.

    Args:
        names: of the signals, as "SIGTERM".
        ask: called with the name of a signal when it comes, inside the handler; called again only for another one.
        goes_on: whether there is still a loop that will obey; without one, a signal does what it would have done.

    Raises:
        SettingsError: there is no such signal here.
    """

    def __init__(
        self, names: Iterable[str], ask: Callable[[str], object], goes_on: Callable[[], bool] = lambda: True
    ) -> None:
        self.came: list[signal.Signals] = []
        """Those that came, in order."""
        self._elsewhere: signal.Signals | None = None
        self._ask, self._goes_on = ask, goes_on
        self._owner = os.getpid()
        self._before: dict[signal.Signals, Any] = {}
        numbers = [_number(name) for name in names]
        if threading.current_thread() is not threading.main_thread():
            return
        handler = _Handler(weakref.ref(self))
        for number in numbers:
            before = signal.getsignal(number)
            while isinstance(before, _Handler) and before.signals() is None:  # of a run that was lost
                before = before.before[number]
            if before not in (signal.SIG_IGN, None):  # None is a handler that only C knows
                handler.before[number] = self._before[number] = before
                signal.signal(number, handler)
        self._handler = handler

    def close(self) -> None:
        """Let signals do what they did before."""
        before, self._before = self._before, {}
        if os.getpid() != self._owner or threading.current_thread() is not threading.main_thread():
            return  # a handler that stays passes on what it hears
        for number, handler in before.items():
            if signal.getsignal(number) is self._handler:
                signal.signal(number, handler)

    def came_elsewhere(self, name: str) -> None:
        """Another process that this one goes with has heard a signal; this one's own may still come, as the first."""
        if name in signal.Signals.__members__:
            self._elsewhere = signal.Signals[name]

    def exit(self, error: BaseException | None) -> None:
        """After closing: do what the first signal would have done, had nobody listened.

        Args:
            error: what is on its way already; a KeyboardInterrupt is all that Ctrl-C would have done.
        """
        number = self.came[0] if self.came else self._elsewhere
        if number is None:
            return
        default = signal.getsignal(number) is signal.default_int_handler
        if not (default and isinstance(error, KeyboardInterrupt)):
            os.kill(os.getpid(), number)

    def hears(self, number: signal.Signals) -> bool:
        """Take note of a signal; False where it is to do at once what it would have done."""
        if number in self.came or number not in self._before or not self._goes_on():
            return False
        self.came.append(number)
        self._ask(number.name)
        if number == signal.SIGINT and sys.stderr is not None and sys.stderr.isatty():
            os.write(2, _AGAIN)  # what print does is not safe here
        return True

    @property
    def elsewhere(self) -> bool:
        """Whether this is a process forked from the one that listens."""
        return os.getpid() != self._owner


class _Handler:
    """What is installed: it must not keep alive a run that was lost."""

    def __init__(self, signals: weakref.ref[Signals]) -> None:
        self.signals = signals
        self.before: dict[signal.Signals, Any] = {}

    def __call__(self, number: int, frame: FrameType | None) -> None:
        which, signals = signal.Signals(number), self.signals()
        if signals is not None and signals.elsewhere and which == signal.SIGINT:
            return
        if signals is not None and not signals.elsewhere and signals.hears(which):
            return
        before = self.before[which]
        if callable(before):
            before(number, frame)
        else:
            signal.signal(which, before)
            os.kill(os.getpid(), number)


def _number(name: str) -> signal.Signals:
    if name in ("SIGKILL", "SIGSTOP"):
        raise SettingsError(f"signals={name!r}: the system lets no process hear it; name another one")
    try:
        return signal.Signals[name]
    except KeyError:
        known = [each.name for each in signal.Signals]
        raise SettingsError(f"signals={name!r}: no such signal here{hint(name, known, otherwise='')}") from None
