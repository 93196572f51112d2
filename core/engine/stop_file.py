"""A file that somebody puts into a run's directory to end the run."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from itertools import count

from ..failures import LOG
from ..storage.backend import backend_for
from ..storage.paths import Location

__all__ = ["NAME", "SECONDS", "StopFile"]

NAME = "stop"
"""`touch DIR/stop` ends the run that saves in DIR."""

SECONDS = 0.5
"""How long such a file may stay unseen."""

FAR = 20
"""How many of these times it may stay unseen in a store, which lies far away and charges for each look."""


class StopFile:
    """Watches directories for an empty file named "stop", takes it away and asks for the end, until it is closed.

    One that was there before is taken away unheeded: it was meant for an earlier run.

    Args:
        directories: where to look.
        ask: called with the path of the file, in a thread of its own.
    """

    def __init__(self, directories: Iterable[Location], ask: Callable[[str], object]) -> None:
        self._paths = [directory / NAME for directory in directories]
        self._closed = threading.Event()
        for path in self._paths:
            if _taken(path):
                LOG.warning("%s was there before the run began, and is removed", path)
        self._ask = ask
        if self._paths:
            watch = threading.Thread(target=_watch, args=(weakref.ref(self), self._closed), daemon=True)
            watch.name = "trainbus-stop-file"
            watch.start()

    def look(self, *, far: bool = False) -> None:
        """Ask for the end, if the file is there now; with `far` also where looking takes its time."""
        for path in self._paths:
            if (far or backend_for(path).is_local) and _taken(path):
                self._ask(str(path))

    def close(self) -> None:
        """Look no more."""
        self._closed.set()


def _watch(file: weakref.ref[StopFile], closed: threading.Event) -> None:
    looks = count(1)
    while not closed.wait(SECONDS):
        watched = file()
        if watched is None:  # its run was lost
            return
        watched.look(far=next(looks) % FAR == 0)
        del watched


def _taken(path: Location) -> bool:
    """Whether an empty file is there and could be taken away."""
    try:
        if backend_for(path).size() != 0:
            return False
        backend_for(path).remove()
    except OSError:  # no longer there, or not ours to take: then it would end every run that comes
        return False
    return True
