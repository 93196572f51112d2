"""A thread that writes TensorBoard's event files, so that the training only queues events.

The queue is bounded. A training that is faster than the disk waits, as long as the thread makes progress. If it makes
none, because the disk is full, missing or does not respond, events that do not fit are dropped and counted, and the
thread tries again. Each problem is reported once.
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
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from tensorboardX.proto import summary_pb2  # type: ignore[import-untyped]

from .event_file import EventFile
from .summaries import Value, scalars

FLUSH_SECONDS = 1.0
"""Maximum seconds until a queued event is in its file, where it survives the end of the process."""

SYNC_SECONDS = 10.0
"""Maximum time from then until it is on the disk, where it survives a crash of the machine."""

MAX_EVENTS = 10_000
"""Maximum number of queued events."""

MAX_BYTES = 512 << 20
"""Maximum bytes of queued arrays, plus one array."""

PATIENCE_SECONDS = 10.0
"""Maximum seconds for which the training waits for a thread that makes no progress."""

_WAKE_EVENTS, _WAKE_BYTES = MAX_EVENTS // 2, 8 << 20
"""Queued events and bytes that wake the thread before ``FLUSH_SECONDS`` are over."""

_YIELD_EVENTS = 64
"""Number of events after which the thread yields to the training."""

Summary: TypeAlias = "list[Value] | bytes"
"""The content of an event: values of tags, or a graph."""

Note: TypeAlias = Callable[[str, Exception], object]
"""Reports, from any thread, what is lost and why."""


class EventWriter:
    """Writes the event files of one training run: one for each TensorBoard run, created at its first event.

    In a forked process it writes nothing.

    Args:
        log_dir: The directory of the TensorBoard runs.
        file_id: The end of all file names.
        note: Reports failures.
        first_step: The first step of a resumed run: TensorBoard drops the events that it has read from there on.
    """

    def __init__(self, log_dir: Path, file_id: str, note: Note, first_step: int | None = None) -> None:
        self.log_dir, self.file_id, self.note, self.first_step = log_dir, file_id, note, first_step
        self.dropped = 0
        """Number of events that did not fit into the queue."""
        self._files: dict[str, EventFile] = {}
        self._queue: deque[tuple[float, str, int, Callable[[Any], Summary], Any, int]] = deque()
        self._bytes = 0
        self._wake = threading.Condition()
        self._requested = self._done = 0  # number of requests to write, and of those that are served
        self._closing = self._ended = False
        self._flushed = self._synced = time.monotonic()
        self._progress = 0  # grows whenever the thread makes progress
        self._write_failed = False  # whether the last attempt to write a file failed
        self._blocked = False  # whether the thread makes no progress
        self._reason: Exception = RuntimeError("the run is over")  # why events are lost
        self._reported: set[object] = set()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="trainbus-tensorboard", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    # --- called by the training

    def scalars(self, run: str, step: int, values: Mapping[str, float]) -> None:
        """Write numbers by tag, all in one event; nothing if there are none."""
        if values:
            self.put(run, step, scalars, values)

    def put(self, run: str, step: int, make: Callable[[Any], Summary], material: Any, size: int = 0) -> bool:
        """Queue an event; the thread writes what ``make(material)`` returns, or nothing if that is empty.

        Args:
            run: The TensorBoard run, as a path relative to the directory.
            step: The step of the event.
            make: Creates the content, in the thread; its exceptions are reported, each kind once.
            material: The argument of ``make``; nothing may change it later, so give a copy of an array.
            size: Bytes of an array, for ``MAX_BYTES``; 0 for small material.

        Returns:
            Whether there was room for the event.
        """
        if (size or self._ended or len(self._queue) >= _WAKE_EVENTS) and not self._admits(size):
            return False
        self._queue.append((time.time(), run, step, make, material, size))
        return True

    def flush(self) -> None:
        """Wait until all queued events are in their files, or cannot be written."""
        if os.getpid() != self._pid:
            return
        with self._wake:
            number = self._request()
            self._wait(lambda: self._done >= number)

    def sizes(self) -> dict[Path, int]:
        """Return the flushed bytes of each file."""
        return {file.path: file.size for file in list(self._files.values())}

    def close(self) -> None:
        """Write everything, sync it and end the thread; a second call has no effect."""
        if os.getpid() != self._pid or self._closing:
            return
        with self._wake:
            self._closing = True
            self._wake.notify_all()
            self._wait(lambda: self._ended)
            ended, self._ended = self._ended, True  # a thread that still runs stops at the next event
            lost = self.dropped + len(self._queue) + sum(file.waiting for file in list(self._files.values()))
        if ended:
            self._thread.join()
        atexit.unregister(self.close)
        if lost:
            self.note(f"{lost:,} event{'s' * (lost != 1)} of this run are not in {self.log_dir}", self._reason)

    # --- inner workings

    def _admits(self, size: int) -> bool:
        """Return whether there is room; wait for it as long as the thread makes progress."""
        if os.getpid() != self._pid or self._closing:
            return False

        def has_room() -> bool:
            return len(self._queue) < MAX_EVENTS and self._bytes <= MAX_BYTES

        with self._wake:
            wanted = self._bytes + size >= _WAKE_BYTES or len(self._queue) >= _WAKE_EVENTS or not has_room()
            if wanted and not self._write_failed:
                self._request()
            self._wait(lambda: has_room() or self._write_failed)
            admitted = has_room() and not self._ended
            if admitted:
                self._bytes += size
            else:
                self.dropped += 1
            return admitted

    def _request(self) -> int:
        """Ask the thread to write, and return the number of this request."""
        self._requested += 1
        self._wake.notify_all()
        return self._requested

    def _wait(self, done: Callable[[], bool]) -> None:
        """Wait until ``done``, as long as the thread makes progress."""
        notified, before = True, self._progress
        while not (done() or self._ended or self._blocked):
            if not notified and before == self._progress:
                self._blocked = True
                self._fail(TimeoutError(f"nothing could be written for {PATIENCE_SECONDS:g} seconds"))
            else:
                before = self._progress
                notified = self._wake.wait(PATIENCE_SECONDS)

    def _fail(self, error: Exception) -> None:
        """Report that nothing can be written at present; ``close`` reports how much was lost."""
        self._reason = error
        self._report("fail", f"cannot write to {self.log_dir}", error)

    def _report(self, kind: object, lost: str, error: Exception) -> None:
        if kind not in self._reported:
            self._reported.add(kind)
            self.note(lost, error)

    # --- in the thread

    def _run(self) -> None:
        closing = False
        try:
            while not (closing or self._ended):
                with self._wake:
                    self._wake.wait_for(lambda: self._closing or self._requested > self._done, FLUSH_SECONDS)
                    requested, closing = self._requested, self._closing
                try:
                    self._drain()
                    self._flush()
                    self._write_failed = False
                except Exception as error:  # noqa: BLE001 - missing events must not end the training
                    self._write_failed = True
                    self._fail(error)
                with self._wake:
                    self._done = requested
                    self._wake.notify_all()
        except BaseException as error:  # noqa: BLE001 - as above
            self._fail(RuntimeError(f"the writing thread has ended: {error!r}"))
        finally:
            for file in self._files.values():
                with suppress(OSError):
                    file.close()
            with self._wake:
                self._ended = True
                self._wake.notify_all()

    def _drain(self) -> None:
        for number in range(1, len(self._queue) + 1):
            if self._ended:
                return
            self._write(*self._queue[0])
            *_, size = self._queue.popleft()
            self._progress += 1
            self._blocked = False
            if size:
                with self._wake:
                    self._bytes -= size
                    self._wake.notify_all()
                if time.monotonic() - self._flushed > FLUSH_SECONDS:
                    self._flush()
            elif number % _YIELD_EVENTS == 0:
                time.sleep(0)  # else the training would wait 5 ms for the interpreter lock

    def _write(
        self, wall_time: float, run: str, step: int, make: Callable[[Any], Summary], material: Any, _: int
    ) -> None:
        file = self._file(run)
        try:
            content = make(material)
            if isinstance(content, bytes):
                file.write(wall_time, graph_def=content)
            elif content:
                file.write(wall_time, step=step, summary=summary_pb2.Summary(value=content))
        except Exception as error:  # noqa: BLE001 - one event less
            self._report((getattr(make, "func", make), type(error)), f"no {_tag_of(make)}", error)

    def _file(self, run: str) -> EventFile:
        if run not in self._files:
            self._files[run] = EventFile(self.log_dir / run, self.file_id, self.first_step, partial(self.note, ""))
        return self._files[run]

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        for file in self._files.values():
            file.flush()
        if self._flushed - self._synced > SYNC_SECONDS:
            self._synced = self._flushed
            for file in self._files.values():
                file.sync()
        self._progress += 1
        self._blocked = False


def _tag_of(make: Callable[[Any], Summary]) -> str:
    """Return the tag to which ``make`` is bound, or else its name."""
    bound: tuple[object, ...] = getattr(make, "args", ())
    return bound[0] if bound and isinstance(bound[0], str) else getattr(make, "__name__", "event").strip("_")
