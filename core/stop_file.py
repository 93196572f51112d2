"""A file that somebody puts into a run's directory to end the run."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path

from .failures import LOG

__all__ = ["NAME", "SECONDS", "StopFile"]

NAME = "stop"
"""`touch DIR/stop` ends the run that saves in DIR."""

SECONDS = 0.5
"""How long such a file may stay unseen."""


class StopFile:
    """Watches directories for an empty file named "stop", takes it away and asks for the end, until it is closed.

    One that was there before is taken away unheeded: it was meant for an earlier run.

    Args:
        directories: where to look.
        ask: called with the path of the file, in a thread of its own.
    """

    def __init__(self, directories: Iterable[Path], ask: Callable[[str], object]) -> None:
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

    def look(self) -> None:
        """Ask for the end, if the file is there now."""
        for path in self._paths:
            if _taken(path):
                self._ask(str(path))

    def close(self) -> None:
        """Look no more."""
        self._closed.set()


def _watch(file: weakref.ref[StopFile], closed: threading.Event) -> None:
    while not closed.wait(SECONDS):
        watched = file()
        if watched is None:  # its run was lost
            return
        watched.look()


def _taken(path: Path) -> bool:
    """Whether an empty file is there and could be taken away."""
    try:
        if not path.is_file() or path.stat().st_size:
            return False
        path.unlink()
    except OSError:  # no longer there, or not ours to take: then it would end every run that comes
        return False
    return True
