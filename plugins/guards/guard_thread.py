"""A daemon thread that calls a method at the times that the method asks for."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable

LONGEST_WAIT = 60.0
"""Seconds after which a waiting thread calls again in any case: a clock may have been set meanwhile."""
JOIN_SECONDS = 5.0
"""Seconds that ``close`` waits for a call that is in progress."""


class GuardThread:
    """Calls a method in a daemon thread until ``close``; the reference is weak, so that a run can be collected.

    Args:
        name: Name of the thread.
        look: A method that returns the seconds until its next call; None if there is none.
    """

    def __init__(self, name: str, look: Callable[[], float | None]) -> None:
        self._closed = threading.Event()
        self._process = os.getpid()
        self._thread = threading.Thread(
            target=_call, args=(weakref.WeakMethod(look), self._closed), name=name, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the thread, and wait for it; a second call has no effect."""
        self._closed.set()
        # a forked process has no such thread
        if self._process == os.getpid() and self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)


def _call(look: weakref.WeakMethod[Callable[[], float | None]], closed: threading.Event) -> None:
    wait: float | None = 0.0
    while wait is not None and not closed.wait(min(max(wait, 0.0), LONGEST_WAIT)):
        call = look()
        if call is None:
            return
        wait = call()
        del call
