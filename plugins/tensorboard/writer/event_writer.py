"""A thread that writes TensorBoard's event files, so that training only hands over what is to be written.

What is handed over is bounded: who is faster than the disk waits for it, as long as it gets on. While it does not, be
it full, gone or silent, what finds no room is dropped, and counted; the thread goes on trying. Each is told once.
"""

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from tensorboardX.proto import summary_pb2  # type: ignore[import-untyped]

from .event_file import EventFile
from .summaries import Value, scalars

FLUSH_SECONDS = 1.0
"""How long after it was handed over an event is in its file, at most: what the end of the process cannot take away."""

SYNC_SECONDS = 10.0
"""How long after that it is on the disk, at most: what the end of the machine cannot take away."""

MOST_EVENTS = 10_000
"""So many events may wait to be written."""

MOST_BYTES = 512 << 20
"""So many bytes of arrays may wait to be made into messages, and one array more."""

PATIENCE_SECONDS = 10.0
"""How long the training waits for a thread that does not get on, before it goes on without it."""

_MANY, _MUCH = MOST_EVENTS // 2, 8 << 20  # events, and bytes, that wake the thread before its time
_SOME = 64  # events after which the thread lets the training go first

Made: TypeAlias = "list[Value] | bytes"
"""What an event shows: values of tags, or a graph."""

Note: TypeAlias = Callable[[str, Exception], object]
"""Hears, from whatever thread, what is lost and why."""


class EventWriter:
    """The event files of one training run: one a TensorBoard run, opened at its first event.

    A process that was forked from the one that made it writes nothing.

    Args:
        log_dir: the directory that holds the TensorBoard runs.
        line: what all files have at the end of their names.
        note: hears of failures.
        start: the first step of a run that was resumed: TensorBoard drops what it holds from there on.
    """

    def __init__(self, log_dir: Path, line: str, note: Note, start: int | None = None) -> None:
        self.log_dir, self.line, self.note, self.start = log_dir, line, note, start
        self.dropped = 0
        """How many events had found no room."""
        self._files: dict[str, EventFile] = {}
        self._queue: deque[tuple[float, str, int, Callable[[Any], Made], Any, int]] = deque()
        self._bytes = 0
        self._wake = threading.Condition()
        self._awake = self._closing = self._ended = False
        self._wanted = self._served = 0  # numbers of flushes
        self._flushed = self._synced = time.monotonic()
        self._done = 0  # grows whenever the thread gets on
        self._refused = False  # whether a file could not be written when that was last tried
        self._blocked = False  # whether the thread does not get on
        self._why: Exception = RuntimeError("the run is over")  # why something is lost
        self._told: set[object] = set()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._work, name="trainbus-tensorboard", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    # --- what the training calls

    def scalars(self, run: str, step: int, values: Mapping[str, float]) -> None:
        """Write numbers by tag, all in one event; nothing where there are none."""
        if values:
            self.put(run, step, scalars, values)

    def put(self, run: str, step: int, make: Callable[[Any], Made], material: Any, size: int = 0) -> bool:
        """Write what `make(material)` returns, which is called in the thread; nothing where that is empty.

        Returns whether there was room for it.

        Args:
            run: the TensorBoard run, as a path below the directory.
            step: its place on the axis.
            make: makes the message; what it raises is told, once a kind.
            material: what nobody else changes any more, such as a copy of an array.
            size: its size in bytes, where that is worth counting.
        """
        if (size or self._ended or len(self._queue) >= _MANY) and not self._admits(size):
            return False
        self._queue.append((time.time(), run, step, make, material, size))
        return True

    def flush(self) -> None:
        """Wait until everything that was handed over is in its file, as far as it can be written."""
        if os.getpid() != self._pid:
            return
        with self._wake:
            self._wanted += 1
            ticket = self._wanted
            self._wake.notify_all()
            self._wait(lambda: self._served >= ticket)

    def sizes(self) -> dict[Path, int]:
        """How many bytes were flushed into each file."""
        return {file.path: file.size for file in list(self._files.values())}

    def close(self) -> None:
        """Write everything, wait for the disk and end the thread; may be called again, without effect."""
        if os.getpid() != self._pid or self._closing:
            return
        with self._wake:
            self._closing = True
            self._wake.notify_all()
            self._wait(lambda: self._ended)
            over, self._ended = self._ended, True  # also where the thread still has to learn so
            lost = self.dropped + len(self._queue) + sum(file.waiting for file in list(self._files.values()))
        if over:
            self._thread.join()
        atexit.unregister(self.close)
        if lost:
            self.note(f"{lost:,} event{'s' * (lost != 1)} of this run are not in {self.log_dir}", self._why)

    # --- inner workings

    def _admits(self, size: int) -> bool:
        """Whether there is room, which is waited for while the thread gets on."""
        if os.getpid() != self._pid or self._closing:
            return False
        if self._awake and not (size or self._ended) and len(self._queue) < MOST_EVENTS:
            return True

        def room() -> bool:
            return len(self._queue) < MOST_EVENTS and self._bytes <= MOST_BYTES

        with self._wake:
            if not self._awake and (self._bytes + size >= _MUCH or len(self._queue) >= _MANY or not room()):
                self._awake = True
                self._wake.notify_all()
            self._wait(lambda: room() or self._refused)
            admitted = room() and not self._ended
            if admitted:
                self._bytes += size
            else:
                self.dropped += 1
            return admitted

    def _wait(self, done: Callable[[], bool]) -> None:
        """Wait for the thread, as long as it gets on."""
        notified, before = True, self._done
        while not (done() or self._ended or self._blocked):
            if not notified and before == self._done:
                self._blocked = True
                self._fail(TimeoutError(f"nothing could be written for {PATIENCE_SECONDS:g} seconds"))
            else:
                before = self._done
                notified = self._wake.wait(PATIENCE_SECONDS)

    def _fail(self, error: Exception) -> None:
        """Nothing is written for now; how much is lost by that the end tells."""
        self._why = error
        self._tell("fail", f"{self.log_dir} is not written to", error)

    def _tell(self, kind: object, lost: str, error: Exception) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self.note(lost, error)

    # --- in the thread

    def _work(self) -> None:
        closing = False
        try:
            while not (closing or self._ended):
                with self._wake:
                    self._wake.wait_for(self._is_called, FLUSH_SECONDS)
                    self._awake, wanted, closing = False, self._wanted, self._closing
                try:
                    self._drain()
                    self._flush()
                    self._refused = False
                except Exception as error:  # noqa: BLE001 - training is worth more than its pictures
                    self._refused = True
                    self._fail(error)
                with self._wake:
                    self._served = wanted
                    self._wake.notify_all()
        except BaseException as error:  # noqa: BLE001 - as above
            self._fail(RuntimeError(f"the thread that writes has ended: {error!r}"))
        finally:
            for file in self._files.values():
                with suppress(OSError):
                    file.close()
            with self._wake:
                self._ended = True
                self._wake.notify_all()

    def _is_called(self) -> bool:
        return self._closing or self._wanted > self._served or (self._awake and not self._refused)

    def _drain(self) -> None:
        for number in range(len(self._queue)):
            if self._ended:
                return
            self._write(*self._queue[0])
            *_, size = self._queue.popleft()
            self._done += 1
            self._blocked = False
            if size:
                with self._wake:
                    self._bytes -= size
                    self._wake.notify_all()
                if time.monotonic() - self._flushed > FLUSH_SECONDS:
                    self._flush()
            elif number % _SOME == 0:
                time.sleep(0)  # else the training would wait for the interpreter, 5 ms at a time

    def _write(self, wall_time: float, run: str, step: int, make: Callable[[Any], Made], material: Any, _: int) -> None:
        file = self._file(run)
        try:
            made = make(material)
            if isinstance(made, bytes):
                file.write(wall_time, graph_def=made)
            elif made:
                file.write(wall_time, step=step, summary=summary_pb2.Summary(value=made))
        except Exception as error:  # noqa: BLE001 - one picture less
            self._tell((getattr(make, "func", make), type(error)), f"no {_shown_by(make)}", error)

    def _file(self, run: str) -> EventFile:
        if run not in self._files:
            self._files[run] = EventFile(self.log_dir / run, self.line, self.start)
        return self._files[run]

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        for file in self._files.values():
            file.flush()
        if self._flushed - self._synced > SYNC_SECONDS:
            self._synced = self._flushed
            for file in self._files.values():
                file.sync()
        self._done += 1
        self._blocked = False


def _shown_by(make: Callable[[Any], Made]) -> str:
    """The tag that is made, where one is given."""
    given: tuple[object, ...] = getattr(make, "args", ())
    return given[0] if given and isinstance(given[0], str) else getattr(make, "__name__", "event").strip("_")
