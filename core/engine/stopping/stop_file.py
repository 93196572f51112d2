"""A file in a run's directory that ends the run."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from itertools import count

from ...failures import LOG
from ...storage.backend import Backend, backend_for
from ...storage.paths import Location

NAME = "stop"
"""``touch DIR/stop`` ends the run that saves in DIR."""

SECONDS = 0.5
"""Seconds between two checks on this machine's disk."""

REMOTE_INTERVAL = 20
"""Number of these intervals between two checks of a remote store, where a check is slow and costs money."""


class StopFile:
    """Watches directories for an empty file named "stop", removes it and requests the end of the run, until ``close``.

    A file that already exists is removed without effect, since it was created for an earlier run.

    Args:
        directories: The directories to watch.
        ask: Called with the path of the file, in the watching thread or in the thread that calls ``look``.
    """

    def __init__(self, directories: Iterable[Location], ask: Callable[[str], object]) -> None:
        self._files = {path: backend_for(path) for path in (directory / NAME for directory in directories)}
        self._closed = threading.Event()
        for path, backend in self._files.items():
            if _removed(backend):
                LOG.warning("%s existed before the run began; it is removed and does not stop the run", path)
        self._ask = ask
        if self._files:
            watch = threading.Thread(target=_watch, args=(weakref.ref(self), self._closed), daemon=True)
            watch.name = "trainbus-stop-file"
            watch.start()

    def look(self, *, remote: bool = False) -> None:
        """Request the end of the run if the file exists; check remote stores only with ``remote``."""
        for path, backend in self._files.items():
            if (remote or backend.is_local) and _removed(backend):
                self._ask(str(path))

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()


def _watch(file: weakref.ref[StopFile], closed: threading.Event) -> None:
    looks = count(1)
    while not closed.wait(SECONDS):
        watched = file()
        if watched is None:  # its run was garbage collected
            return
        watched.look(remote=next(looks) % REMOTE_INTERVAL == 0)
        del watched


def _removed(backend: Backend) -> bool:
    """Remove an empty file; return whether there was one and it could be removed."""
    try:
        if backend.size() != 0:
            return False
        backend.remove()
    except OSError:  # it is gone, or cannot be removed: a file that stays would end every later run
        return False
    return True
