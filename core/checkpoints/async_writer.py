"""What a decision writes and removes, carried out at once or in a thread of its own while the training goes on."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from ..capabilities import Ranks
from ..errors import CheckpointError
from ..storage.paths import Location
from .collective_commit import commit_collectively
from .discovery import Checkpoint, commit

__all__ = ["AsyncWriter", "FailedSave", "PendingFile", "SaveJob"]


class PendingFile(NamedTuple):
    """One checkpoint to be written."""

    path: Location
    write: Callable[[Path], object]
    """Writes the payload to the path that it is given, in whatever thread."""
    moment: dict[str, Any]
    """The fields of its `Content`."""
    in_parts: bool = False
    """Whether it is a directory, laid out as `parts` says."""
    sharing: Ranks | None = None
    """The ranks that write it together; None where this process writes it alone."""
    own: str = ""
    """What this rank remembers by itself, where rank 0 has not gathered it."""

    def commit(self, write: Callable[[Path], object]) -> Checkpoint:
        """Put it where it shall stand."""
        if self.sharing is not None:
            return commit_collectively(self.sharing, self.path, write, self.own, **self.moment)
        return commit(self.path, write, directory=self.in_parts, **self.moment)


class FailedSave(NamedTuple):
    """A checkpoint that could not be written."""

    path: Location
    step: int
    error: CheckpointError


@dataclass
class SaveJob:
    """The files of one decision, what comes after them, and what became of it all."""

    files: list[PendingFile]
    then: Callable[[SaveJob], object] | None
    """Called when the files were tried, in the same thread."""
    committed: list[Checkpoint] = field(default_factory=list[Checkpoint])
    unwritten: list[FailedSave] = field(default_factory=list[FailedSave])
    error: BaseException | None = None
    """What ended the job early."""
    abandoned: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    """Set when a thread has done it."""

    def run(self) -> None:
        """Write each file, a failed one beside the others, and do what comes then."""
        try:
            for file in self.files:
                try:
                    self.committed.append(file.commit(partial(self._write, file.write)))
                except CheckpointError as error:
                    self.unwritten.append(FailedSave(file.path, file.moment["step"], error))
            if self.then is not None:
                self.then(self)
        except BaseException as error:  # noqa: BLE001 - raised where the training waits for it
            self.error = error
        self.then = None  # a run that is lost, and never takes this, is not kept alive by it
        self.files = []

    def _write(self, write: Callable[[Path], object], staged: Path) -> object:
        told = write(staged)
        if self.abandoned:
            raise CheckpointError("the run was interrupted twice")
        return told


class AsyncWriter:
    """Does one job at a time; whoever brings the next waits until it is done.

    So nothing is left out, files appear in the order of the decisions, and one copy of the state is all the memory
    that is needed, however slow the disk.
    """

    def __init__(self) -> None:
        self._job: SaveJob | None = None
        self._waits = False
        self._jobs: SimpleQueue[SaveJob | None] | None = None

    def do(self, job: SaveJob, *, background: bool) -> None:
        """Do a job when the one before is done and was taken: before this returns, or in a thread of its own."""
        self._job = job
        if not background:
            job.run()
            return
        if self._jobs is None:
            # it waits for its jobs: one that begins with a job would take the interpreter from whoever starts it
            self._jobs = SimpleQueue()
            # a daemon, so that Ctrl-C ends the process while a large file is being written; a plain exit waits
            thread = threading.Thread(target=_work, args=(self._jobs,), name="trainbus-writer", daemon=True)
            thread.start()
            weakref.finalize(self, _end, thread, self._jobs)
        self._waits = True
        atexit.register(self.wait)
        self._jobs.put(job)

    def wait(self) -> None:
        """Wait until the job is done.

        Raises:
            KeyboardInterrupt: the waiting was interrupted; what has not been published will not be.
        """
        if not self._waits or self._job is None:
            return
        try:
            self._job.done.wait()
        except BaseException:
            self.abandon()
            raise
        self._waits = False
        atexit.unregister(self.wait)

    def abandon(self) -> None:
        """Let the file that is being written not take its place, and wait no more."""
        if self._job is not None:
            self._job.abandoned = True
        self._waits = False
        atexit.unregister(self.wait)

    def take(self, *, wait: bool) -> SaveJob | None:
        """The job that is done, once; None where there is none, or where it goes on and this does not wait.

        Raises:
            BaseException: what ended it early.
        """
        if not wait and self._waits and self._job is not None and not self._job.done.is_set():
            return None
        self.wait()
        job, self._job = self._job, None
        if job is not None and job.error is not None:
            raise job.error
        return job


def _work(jobs: SimpleQueue[SaveJob | None]) -> None:
    with suppress(AttributeError, OSError):  # where the system has it: waking this thread then halts no other
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    while (job := jobs.get()) is not None:
        job.run()
        job.done.set()
        del job  # it holds a copy of the state


def _end(thread: threading.Thread, jobs: SimpleQueue[SaveJob | None]) -> None:
    """Let an idle thread end: one that the end of the process overtakes would abort it where it has exchanged."""
    jobs.put(None)
    if thread is not threading.current_thread():
        thread.join(0.2)
