"""A training that gets a SIGINT, in a process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from trainbus import hookimpl


class Interrupts:
    """Sends SIGINT to its own process in the fourth epoch."""

    @hookimpl
    def on_batch_begin(self, epoch: int) -> None:
        if epoch == 3:
            os.kill(os.getpid(), signal.SIGINT)


def interrupted(binding: Any, train: Callable[[], object]) -> int:
    """Train in a fork; return 0 if the training ends by KeyboardInterrupt, and its run in order.

    Args:
        binding: The callback of the framework, with ``Interrupts`` among its callbacks.
        train: Trains with it.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            try:
                train()
            except KeyboardInterrupt:
                status = 0 if binding.run.state.phase == "ended" else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
