"""How all ranks leave a loop over batches after the same batch, where no batch waits for another rank.

A thread of each rank looks for a note that asks all to leave. Where there is one, it notes the batch that its rank has
begun, beyond which the rank goes only with leave; the furthest of these is the last batch of all. Every rank reaches
it, since for none of them anybody has begun a later one; so nobody is left in a batch alone.
"""

from __future__ import annotations

import json
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from ..capabilities import Ranks
from ..errors import RankError

__all__ = ["CoordinatedStop"]

SECONDS = 0.2
"""How long a note may stay unseen."""
PATIENCE = 20.0
"""Seconds after which a rank that says nothing is taken for lost."""


class CoordinatedStop:
    """Watches for notes that ask all ranks to leave their loop, until it is closed.

    Args:
        ranks: the processes.
        place: tells where this rank's loop stands: numbers that only grow, batches that were trained on last.
        hear: called, in a thread, with what is asked for, before the loop is asked where it stands.
    """

    def __init__(self, ranks: Ranks, place: Callable[[], list[int]], hear: Callable[[dict[str, str]], object]) -> None:
        self._ranks = ranks
        self._place = place
        self._hear = hear
        self._number = 0
        self._wanted: dict[str, str] | None = None
        self._asked = False
        self._since = 0.0
        self._last: list[int] = []
        self._known = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._lost = ""
        self._end: Callable[[], object] | None = None

    def begin(self) -> None:
        """Begin to watch."""
        watch = threading.Thread(target=_watch, args=(weakref.ref(self), self._closed), daemon=True)
        watch.name = "trainbus-ranks"
        watch.start()
        # a thread that the end of the process meets inside of a store would abort it
        self._end = weakref.finalize(self, _end, watch, self._closed)

    def ask(self, what: dict[str, str]) -> None:
        """Ask all ranks to leave; may be called between any two instructions, and returns at once."""
        self._wanted = self._wanted or what

    @property
    def idle(self) -> bool:
        """Whether nobody asks, or all have agreed already."""
        return self._wanted is None and not self._asked

    def reached(self) -> bool:
        """Whether this rank has trained the last batch of all; waits until that is known.

        Raises:
            RankError: another rank does not say where it stands.
        """
        if self._asked and not self._lost and not self._known.wait(2 * PATIENCE):
            self._lost = "rank 0 does not say after which batch to leave"
        if self._lost:
            raise RankError(self._lost)
        return self._asked and self._place() >= self._last

    def settle(self) -> None:
        """All ranks have met, and know what was asked for."""
        with self._lock:
            if not self.idle:
                self._number += 1
                self._wanted, self._asked = None, False
                self._known.clear()

    def close(self) -> None:
        """Look no more."""
        if self._end is not None:
            self._end()

    def look(self) -> None:
        """Look for notes, and answer them."""
        with self._lock:
            try:
                self._look()
            except RankError as error:
                self._lost = str(error)
                self._known.set()
                self._closed.set()

    def _look(self) -> None:
        ranks, number = self._ranks, self._number
        if not self._asked:
            found = ranks.get(f"leave/{number}")
            if found is None and self._wanted is not None:
                found = ranks.put_if_absent(f"leave/{number}", json.dumps(self._wanted))
            if found is None:
                return
            self._asked, self._since = True, time.monotonic()
            self._hear(json.loads(found))
            *loop, batches = self._stable_place()
            ranks.put_if_absent(f"begun/{number}/{ranks.rank}", json.dumps([*loop, batches + 1]))
        if not self._known.is_set():
            if ranks.rank == 0:
                self._find_last(number)
            found = ranks.get(f"last/{number}")
            if found is not None:
                last: Any = json.loads(found)
                self._last, self._lost = (last, "") if isinstance(last, list) else ([], str(last))
                self._known.set()

    def _find_last(self, number: int) -> None:
        begun = [self._ranks.get(f"begun/{number}/{rank}") for rank in range(self._ranks.size)]
        silent = [str(rank) for rank, note in enumerate(begun) if note is None]
        if not silent:
            self._ranks.put_if_absent(f"last/{number}", json.dumps(max(json.loads(note) for note in begun if note)))
        elif time.monotonic() > self._since + PATIENCE:
            self._ranks.put_if_absent(
                f"last/{number}", json.dumps(f"rank {', '.join(silent)} does not say where it stands")
            )

    def _stable_place(self) -> list[int]:
        """Where the loop stands, at one moment: its numbers are read one after the other, and only grow."""
        place = self._place()
        while (again := self._place()) != place:
            place = again
        return place


def _watch(departure: weakref.ref[CoordinatedStop], closed: threading.Event) -> None:
    while not closed.wait(SECONDS):
        watched = departure()
        if watched is None:  # its run was lost
            return
        watched.look()
        del watched


def _end(watch: threading.Thread, closed: threading.Event) -> None:
    closed.set()
    if watch is not threading.current_thread():
        watch.join()
