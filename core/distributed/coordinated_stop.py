"""End a loop over batches after the same batch on every rank, without waiting for other ranks at any batch.

A thread of each rank polls the shared store for a request to stop. If there is one, the thread stores which batch its
rank has begun; from then on the rank begins no later batch until all ranks have agreed. The highest of these batches is
the last one of all ranks: every rank reaches it, and no rank has begun a later one. So no rank waits alone in a
collective of a batch.
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

POLL_SECONDS = 0.2
"""Seconds between two polls of the store."""
PATIENCE_SECONDS = 20.0
"""Seconds after which a rank that has not stored its batch counts as lost."""


class CoordinatedStop:
    """Agrees with the other ranks on the last batch of a loop.

    Args:
        ranks: The processes.
        position: Returns the position of this rank's loop: numbers that only increase; the last one counts the trained
            batches.
        receive: Called in a thread with the request, before ``position`` is called.
    """

    def __init__(
        self, ranks: Ranks, position: Callable[[], list[int]], receive: Callable[[dict[str, str]], object]
    ) -> None:
        self._ranks = ranks
        self._position = position
        self._receive = receive
        self._number = 0
        self._request: dict[str, str] | None = None
        self._agreed = False
        self._since = 0.0
        self._last: list[int] = []
        self._last_known = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._lost = ""
        self._end: Callable[[], object] | None = None

    def start(self) -> None:
        """Start the thread that polls for requests."""
        thread = threading.Thread(target=_watch, args=(weakref.ref(self), self._closed), daemon=True)
        thread.name = "trainbus-ranks"
        thread.start()
        # a daemon thread that is inside the store when the process ends would abort it
        self._end = weakref.finalize(self, _end, thread, self._closed)

    def request(self, what: dict[str, str]) -> None:
        """Ask all ranks to stop; may be called from a signal handler, and returns at once."""
        self._request = self._request or what

    @property
    def idle(self) -> bool:
        """Whether there is no request, or all ranks have handled the request."""
        return self._request is None and not self._agreed

    def at_last_batch(self) -> bool:
        """Return whether this rank has trained on the last batch; wait until that batch is known.

        Raises:
            RankError: Another rank does not respond.
        """
        if self._agreed and not self._lost and not self._last_known.wait(2 * PATIENCE_SECONDS):
            self._lost = "rank 0 does not report which batch is the last one"
        if self._lost:
            raise RankError(self._lost)
        return self._agreed and self._position() >= self._last

    def reset(self) -> None:
        """Drop the request: all ranks have received it at a barrier."""
        with self._lock:
            if not self.idle:
                self._number += 1
                self._request, self._agreed = None, False
                self._last_known.clear()

    def close(self) -> None:
        """Stop the thread."""
        if self._end is not None:
            self._end()

    def poll(self) -> None:
        """Check for a request, and store this rank's position."""
        with self._lock:
            try:
                self._poll()
            except RankError as error:
                if self.idle:  # a process that was stopped may go on
                    return
                self._lost = str(error)
                self._last_known.set()
                self._closed.set()

    def _poll(self) -> None:
        ranks, number = self._ranks, self._number
        if not self._agreed:
            found = ranks.get(f"leave/{number}")
            if found is None and self._request is not None:
                found = ranks.put_if_absent(f"leave/{number}", json.dumps(self._request))
            if found is None:
                return
            self._agreed, self._since = True, time.monotonic()
            self._receive(json.loads(found))
            *loop, batches = self._stable_position()
            ranks.put_if_absent(f"begun/{number}/{ranks.rank}", json.dumps([*loop, batches + 1]))
        if not self._last_known.is_set():
            if ranks.rank == 0:
                self._find_last_batch(number)
            found = ranks.get(f"last/{number}")
            if found is not None:
                last: Any = json.loads(found)
                self._last, self._lost = (last, "") if isinstance(last, list) else ([], str(last))
                self._last_known.set()

    def _find_last_batch(self, number: int) -> None:
        begun = [self._ranks.get(f"begun/{number}/{rank}") for rank in range(self._ranks.size)]
        silent = [str(rank) for rank, batch in enumerate(begun) if batch is None]
        if not silent:
            self._ranks.put_if_absent(f"last/{number}", json.dumps(max(json.loads(batch) for batch in begun if batch)))
        elif time.monotonic() > self._since + PATIENCE_SECONDS:
            self._ranks.put_if_absent(
                f"last/{number}", json.dumps(f"rank {', '.join(silent)} does not report its position")
            )

    def _stable_position(self) -> list[int]:
        """Return a consistent position, although its numbers are read one after the other while they increase."""
        position = self._position()
        while (again := self._position()) != position:
            position = again
        return position


def _watch(stop: weakref.ref[CoordinatedStop], closed: threading.Event) -> None:
    while not closed.wait(POLL_SECONDS):
        watched = stop()
        if watched is None:  # its run was garbage collected
            return
        watched.poll()
        del watched


def _end(thread: threading.Thread, closed: threading.Event) -> None:
    closed.set()
    if thread is not threading.current_thread():
        thread.join(PATIENCE_SECONDS)
