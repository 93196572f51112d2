"""What is called when the process exits."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable


def call_at_exit(method: Callable[[], object]) -> Callable[[], None]:
    """Call a method when the process exits, unless its object is gone by then; not in a fork of the process.

    Args:
        method: A bound method.

    Returns:
        A function that ``atexit.unregister`` takes to revoke this.
    """
    alive, process = weakref.WeakMethod(method), os.getpid()

    def leave() -> None:
        found = alive()
        if found is not None and os.getpid() == process:
            found()

    atexit.register(leave)
    return leave
