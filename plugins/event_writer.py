"""A thread that writes TensorBoard's event files, so that training only hands over what is to be written.

What is handed over is bounded: who is faster than the disk waits for it. When a file can be written no more, or making
a message fails, that is said once, by a RuntimeWarning in the thread that hands over; nothing is ever waited for that
cannot come.
"""

# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import atexit
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from tensorboardX.proto import event_pb2, summary_pb2  # type: ignore[import-untyped]

from .event_file import EventFile
from .summaries import Value, scalars

__all__ = ["FLUSH_SECONDS", "MOST_BYTES", "MOST_EVENTS", "SYNC_SECONDS", "EventWriter", "Made"]

FLUSH_SECONDS = 1.0
"""How long after it was handed over an event is in its file, at most: what the end of the process cannot take away."""

SYNC_SECONDS = 10.0
"""How long after that it is on the disk, at most: what the end of the machine cannot take away."""

MOST_EVENTS = 10_000
"""So many events may wait to be written."""

MOST_BYTES = 512 << 20
"""So many bytes of arrays may wait to be made into messages, and one array more."""

_MANY = 500  # events that wake the thread before its time

Made: TypeAlias = "list[Value] | bytes"
"""What an event shows: values of tags, or a graph."""


class EventWriter:
    """The event files of one training run: one a TensorBoard run, opened at its first event.

    A process that was forked from the one that made it writes nothing.

    Args:
        log_dir: the directory that holds the TensorBoard runs.
        line: what all files have at the end of their names.
        start: the first step of a run that was resumed: TensorBoard drops what it holds from there on.
    """

    def __init__(self, log_dir: Path, line: str, start: int | None = None) -> None:
        self.log_dir, self.line, self.start = log_dir, line, start
        self._files: dict[str, EventFile] = {}
        self._queue: deque[tuple[float, str, int, Callable[[Any], Made], Any, int]] = deque()
        self._bytes = 0
        self._wake = threading.Condition()
        self._awake = self._closing = self._ended = False
        self._wanted = self._served = 0  # numbers of flushes
        self._flushed = self._synced = time.monotonic()
        self._troubles: list[str] = []
        self._told: set[str] = set()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._work, name="trainbus-tensorboard", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    # --- what the training calls

    def scalars(self, run: str, step: int, values: Mapping[str, float]) -> None:
        """Write numbers by tag, all in one event; nothing where there are none."""
        if values:
            self.put(run, step, scalars, values)

    def put(self, run: str, step: int, make: Callable[[Any], Made], material: Any, size: int = 0) -> None:
        """Write what `make(material)` returns, which is called in the thread; nothing where that is empty.

        Args:
            run: the TensorBoard run, as a path below the directory.
            step: its place on the axis.
            make: makes the message; what it raises is reported, once a kind.
            material: what nobody else changes any more, such as a copy of an array.
            size: its size in bytes, where that is worth counting.
        """
        if self._ended or self._closing or os.getpid() != self._pid:
            self._report()
            return
        self._queue.append((time.time(), run, step, make, material, size))
        if size or len(self._queue) >= _MANY:
            self._press(size)
        if self._troubles:
            self._report()

    def flush(self) -> None:
        """Wait until everything that was handed over is in its file."""
        if os.getpid() != self._pid:
            return
        with self._wake:
            self._wanted += 1
            ticket = self._wanted
            self._wake.notify_all()
            self._wait(lambda: self._served >= ticket)
        self._report()

    def sizes(self) -> dict[Path, int]:
        """How many bytes were flushed into each file."""
        return {file.path: file.size for file in list(self._files.values())}

    def close(self) -> None:
        """Write everything, wait for the disk and end the thread; may be called again, without effect."""
        if os.getpid() != self._pid:
            return
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join()
        atexit.unregister(self.close)
        self._report()

    # --- inner workings

    def _press(self, size: int) -> None:
        if self._awake and not size and len(self._queue) < MOST_EVENTS:
            return
        with self._wake:
            self._bytes += size
            self._awake = True
            self._wake.notify_all()
            self._wait(lambda: len(self._queue) < MOST_EVENTS and self._bytes <= MOST_BYTES)

    def _wait(self, done: Callable[[], bool]) -> None:
        """Wait for the thread, unless it has ended."""
        while not (done() or self._ended or not self._thread.is_alive()):
            self._wake.wait(1.0)

    def _report(self) -> None:
        while self._troubles:
            warnings.warn(self._troubles.pop(0), RuntimeWarning, stacklevel=4)

    def _trouble(self, kind: str, message: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._troubles.append(f"TensorBoard: {message}")

    # --- in the thread

    def _work(self) -> None:
        try:
            while not self._ended:
                with self._wake:
                    if not (self._awake or self._closing or self._wanted > self._served):
                        self._wake.wait(FLUSH_SECONDS)
                    self._awake, wanted, closing = False, self._wanted, self._closing
                self._drain()
                self._flush()
                with self._wake:
                    self._served = wanted
                    self._ended = closing
                    self._wake.notify_all()
            for file in self._files.values():
                file.close()
        except BaseException as error:  # noqa: BLE001 - training is worth more than its pictures
            self._trouble("end", f"{self.log_dir} gets nothing more from this run, which goes on: {error}")
            for file in self._files.values():
                with suppress(OSError):
                    file.close()
        finally:
            with self._wake:
                self._ended = True
                self._queue.clear()
                self._wake.notify_all()

    def _drain(self) -> None:
        for _ in range(len(self._queue)):
            wall_time, run, step, make, material, size = self._queue.popleft()
            try:
                made = make(material)
            except Exception as error:  # noqa: BLE001 - one picture less
                self._trouble(f"{make}{type(error)}", f"something is not shown: {type(error).__name__}: {error}")
                made = []
            del material
            if isinstance(made, bytes):
                self._file(run).write(wall_time, graph_def=made)
            elif made:
                self._file(run).write(wall_time, step=step, summary=summary_pb2.Summary(value=made))
            if size:
                with self._wake:
                    self._bytes -= size
                    self._wake.notify_all()
                if time.monotonic() - self._flushed > FLUSH_SECONDS:
                    self._flush()

    def _file(self, run: str) -> EventFile:
        if run not in self._files:
            file = EventFile(self.log_dir / run, self.line)
            if self.start is not None:
                log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
                for _ in range(2):  # TensorBoard takes the first one that it sees for no restart
                    file.write(time.time(), step=self.start, session_log=log)
            self._files[run] = file
        return self._files[run]

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        for file in self._files.values():
            file.flush()
        if self._flushed - self._synced > SYNC_SECONDS:
            self._synced = self._flushed
            for file in self._files.values():
                file.sync()
