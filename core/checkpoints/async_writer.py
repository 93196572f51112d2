"""Writes the files of a decision, at once or in a background thread while the training continues."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from ..capabilities import Ranks
from ..errors import CheckpointError
from ..storage.atomic_file import INTERRUPTED_TWICE, abandoned_when
from ..storage.paths import Location
from .beside.files import BesideWriter
from .collective_commit import Write, commit_collectively
from .commit import Checkpoint, commit
from .newest_link import link_newest

_JOBS_OF: WeakKeyDictionary[threading.Thread, SimpleQueue[SaveJob | None]] = WeakKeyDictionary()
"""The running threads, for which the process waits before it exits."""
_ABANDONED = WeakSet[threading.Thread]()
"""Those for which it waits at most ``PATIENCE``."""

PATIENCE = 5.0
"""Seconds to wait at the exit for a thread whose file was abandoned; most end at their next write, a disk may hang."""


class Link(NamedTuple):
    """A link, and the file to which it leads."""

    path: Path
    target: Path


class PendingFile(NamedTuple):
    """One checkpoint to write."""

    path: Location
    write: Write
    """Writes the payload to the path that it is called with, in any thread."""
    metadata: dict[str, Any]
    """The fields of ``ManifestEntry`` other than ``digest``, ``size``, ``parts``, ``files``."""
    in_parts: bool = False
    """Whether the payload is a directory (see ``trainbus.storage.sharded_directory``)."""
    ranks: Ranks | None = None
    """The ranks that write it together; None if only this process writes it."""
    rank_state: str = ""
    """This rank's own state, if rank 0 has not gathered it."""
    write_history: Callable[[], object] | None = None
    """Writes the history that the manifest names; called before the manifest is written."""
    links: Sequence[Link] = ()
    """The links that lead to the newest checkpoint, that of the payload first."""
    beside: Sequence[BesideWriter] = ()
    """Write the other files of the save."""


class FailedSave(NamedTuple):
    """A checkpoint that could not be written."""

    path: Location
    step: int
    error: CheckpointError


@dataclass
class SaveJob:
    """The files of one decision, what to do after them, and the results."""

    files: list[PendingFile]
    then: Callable[[SaveJob], object] | None
    """Called after all files were tried, in the same thread."""
    leads: bool = True
    """Whether this process makes the links."""
    report: Callable[[CheckpointError], object] = lambda _: None
    """Called with the reason why a link could not be made."""
    collective: bool = False
    """Whether the files or ``then`` exchange messages with other ranks."""
    committed: list[Checkpoint] = field(default_factory=list[Checkpoint])
    failed: list[FailedSave] = field(default_factory=list[FailedSave])
    error: BaseException | None = None
    """The error that ended the job early."""
    abandoned: bool = False
    """Whether files that are not committed yet must not be committed."""
    done: threading.Event = field(default_factory=threading.Event)
    """Set when the job is finished."""

    def run(self) -> None:
        """Write each file, even if another one has failed, then call ``then``."""
        try:
            for file in self.files:
                write = partial(self._write, file)
                try:
                    with abandoned_when(lambda: self.abandoned):
                        if file.ranks is None:
                            done = commit(
                                file.path, write, directory=file.in_parts, beside=file.beside, **file.metadata
                            )
                        else:
                            done = commit_collectively(file.ranks, file.path, write, file.rank_state, **file.metadata)
                    self.committed.append(done)
                    for link in file.links if self.leads else ():
                        self.link(link, file.links)
                except CheckpointError as error:
                    self.failed.append(FailedSave(file.path, file.metadata["step"], error))
            if self.then is not None:
                self.then(self)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the training
            self.error = error
        self.then = None  # its traceback would keep an unused run alive
        self.files = []

    def link(self, link: Link, all_links: Sequence[Link]) -> None:
        """Let a link lead to a file that was written; without one the checkpoint is complete, too."""
        try:
            link_newest(link.path, link.target, [each.path for each in all_links])
        except CheckpointError as error:
            self.report(error)

    def _write(self, file: PendingFile, staged: Path) -> object:
        written = file.write(staged)
        if file.write_history is not None:  # after the payload, which ranks may write together
            file.write_history()
        if self.abandoned:
            raise InterruptedError(INTERRUPTED_TWICE)
        return written


class AsyncWriter:
    """Runs one save job at a time, at once or in the background; the next one waits until it has finished.

    So no save is skipped, files appear in the order of the decisions, and one copy of the state is enough, however slow
    the disk is.
    """

    def __init__(self) -> None:
        self._job: SaveJob | None = None
        self._thread: threading.Thread | None = None
        self._jobs: SimpleQueue[SaveJob | None] = SimpleQueue()
        self._collective = False
        """Whether the thread has exchanged messages with other ranks."""

    def submit(self, job: SaveJob, *, background: bool) -> None:
        """Run a job, now or in the background thread; the previous job must have been collected."""
        self._job = job
        if not background:
            job.done.set()  # nothing waits for it, even if an interrupt ends this
            job.run()
            return
        if self._thread is None:
            # A thread that starts with a job would compete with its starter for the GIL, so it starts without one. It
            # is a daemon, so that Ctrl-C ends the process while a large file is being written; a normal exit waits.
            self._thread = threading.Thread(target=_run_jobs, args=(self._jobs,), name="trainbus-writer", daemon=True)
            _JOBS_OF[self._thread] = self._jobs
            self._thread.start()
            weakref.finalize(self, self._jobs.put, None)
        self._collective = self._collective or job.collective
        atexit.register(self.wait)
        self._jobs.put(job)

    def wait(self) -> None:
        """Wait until the background job is done.

        Raises:
            KeyboardInterrupt: The user has interrupted the wait; files that are not committed yet will not be
                committed.
        """
        if self._job is None or self._job.abandoned:
            return
        try:
            self._job.done.wait()
        except BaseException:
            self.abandon()
            raise
        atexit.unregister(self.wait)

    def abandon(self) -> None:
        """Do not commit the file that is being written, and end its thread at the next write.

        The process waits for the thread before it exits: at most ``PATIENCE``, or until the group's timeout if other
        ranks take part.
        """
        if self._job is not None:
            self._job.abandoned = True
            if self._thread is not None and not self._collective:
                _ABANDONED.add(self._thread)
        atexit.unregister(self.wait)

    def collect(self, *, wait: bool) -> SaveJob | None:
        """Return the finished job once; None if there is none, or if it is running and ``wait`` is False.

        Raises:
            BaseException: The error that ended the job early.
        """
        job = self._job
        if not wait and job is not None and not (job.done.is_set() or job.abandoned):
            return None
        self.wait()
        self._job = None
        if job is not None and job.error is not None:
            raise job.error
        return job


def _run_jobs(jobs: SimpleQueue[SaveJob | None]) -> None:
    with suppress(AttributeError, OSError):  # on systems that have batch threads: waking one preempts no other thread
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    while (job := jobs.get()) is not None:
        job.run()
        job.done.set()
        del job  # it holds a copy of the state


@atexit.register
def _end_threads() -> None:
    """Wait until the threads have ended: one that is in torch's C++ code when the interpreter ends aborts the process.

    The interpreter ends remaining threads when they next acquire the GIL. This unwinds torch's C++ frames and
    thread-local objects, which calls ``std::terminate``. Any thread that has used collectives has such objects.
    """
    for thread, jobs in list(_JOBS_OF.items()):
        jobs.put(None)
        thread.join(PATIENCE if thread in _ABANDONED else None)
