"""Report a training that hangs, with the stacks of all threads."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

from pydantic import BeforeValidator, Field

from trainbus import Callback, RankError, Run, hookimpl, journal
from trainbus.failures import LOG
from trainbus.settings.durations import duration_in_words, duration_text, seconds_in

from .guard_thread import GuardThread
from .stacks import is_in_debugger, stacks_of_all_threads

EXIT_STATUS = 75
"""The status of a process that ends itself: EX_TEMPFAIL, a failure that a new attempt may not have."""
LOOKS = 8
"""How often it looks within the limit."""
LONGEST_LOOK = 10.0
"""Seconds between two looks at most."""


@runtime_checkable
class WritesEvents(Protocol):
    """A plugin that writes events of the journal at once, in any thread."""

    def write_event(self, run: Run, event: journal.Event) -> None:
        """Write the event."""
        ...


class Watchdog(Callback):
    """Report that a training has had no event for so long: each thread's stack, on standard error and in the journal.

    Each rank watches itself. Batches cost nothing: a thread looks at what the run has counted.

    >>> Watchdog("10 minutes").limit
    '10 minutes'
    """

    limit: Annotated[str, BeforeValidator(duration_text)] = Field(kw_only=False)
    """How long there may be no event: text such as "10 minutes", or a ``timedelta``. An event is a batch, a logged
    value, a validation, an epoch, a save or a decision; the limit must be longer than any of these takes."""
    end: bool = False
    """Whether the process then ends itself with status 75, so that a scheduler starts it again. Nothing is saved."""
    elsewhere: ClassVar[Mapping[str, str]] = {
        "timeout": 'the time first, as in Watchdog("10 minutes")',
        "seconds": 'the time first, as in Watchdog("600 seconds")',
        "minutes": 'the time first, as in Watchdog("10 minutes")',
        "exit": "end=True",
    }

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return no settings: none changes what a run decides."""
        return {}

    def plugin(self) -> object:
        """Return a new plugin for one run."""
        return _Watch(self)


class _Watch:
    """Looks in a thread whether the run goes on."""

    critical = False
    every_rank = True

    def __init__(self, settings: Watchdog) -> None:
        self.settings = settings
        self.limit = seconds_in(settings.limit)
        self.wait = min(self.limit / LOOKS, LONGEST_LOOK)
        self.position: object = None
        self.hangs = False

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        self.run = run
        self.since = self.looked = time.monotonic()
        self.wall = time.time()
        thread = GuardThread("trainbus-watchdog", self.look)
        run.at_end(thread.close)

    def look(self) -> float | None:
        """Report a hang of this rank, and those of others; return the seconds until the next look."""
        now, wall = time.monotonic(), time.time()
        paused = max(now - self.looked, wall - self.wall) > 2 * self.wait + 1  # the whole process was stopped
        self.looked, self.wall = now, wall
        position = self.where()
        if position != self.position or paused:
            if self.hangs and not paused:
                LOG.warning("Watchdog: an event came after %s", duration_in_words(round(now - self.since, 1)))
            self.position, self.since, self.hangs = position, now, self.hangs and paused
        elif now - self.since >= self.limit and not self.hangs:
            if is_in_debugger():
                self.since = now
            else:
                self.hangs = True
                self.report()
        self.read_notices()
        return self.wait

    def where(self) -> object:
        """Return what the run has counted so far; it differs after each event."""
        state = self.run.state
        try:
            counts = [(name, entry[1]) for name, entry in state.means.sums().items()]
        except RuntimeError:  # the loop has logged meanwhile
            return object()
        done = len(state.epoch_metrics), len(state.decision_log), len(state.files.log), state.validating, state.phase
        return state.epoch, state.step, state.counters.current_trained_batches, counts, done

    def report(self) -> None:
        """Report that this rank hangs, on standard error, in the journal and to the other ranks; end it if asked to."""
        run, stacks = self.run, stacks_of_all_threads()
        of = run.state.plan.interval(run.epoch)
        who = f"rank {run.rank}: " if run.world_size > 1 else ""
        reason = f"{who}no event for {self.settings.limit} since batch {run.batch + 1} of {of}"
        if sys.stderr is not None:
            with suppress(OSError, ValueError):
                sys.stderr.write(f"Watchdog: {reason}\n{stacks}\n")
                sys.stderr.flush()
        with suppress(RankError):  # the other ranks may be gone
            run.post_notice(f"{reason}\n{stacks}")
        self.record(run.rank, reason, stacks)
        if self.settings.end:
            LOG.warning("Watchdog: the process ends with status %d", EXIT_STATUS)
            os._exit(EXIT_STATUS)  # the thread that hangs may not be able to end it

    def read_notices(self) -> None:
        """Report the hangs of other ranks."""
        with suppress(RankError):
            for rank, text in self.run.read_notices():
                reason, _, stacks = text.partition("\n")
                LOG.warning("Watchdog: %s; its standard error has its stacks", reason)
                self.record(rank, reason, stacks)

    def record(self, rank: int, reason: str, stacks: str) -> None:
        """Write a hang to the journal at once, since the next event may never come."""
        event = journal.HangReported(time=time.time(), rank=rank, reason=reason, stacks=stacks)
        for plugin in list(self.run.plugins.values()):
            if isinstance(plugin, WritesEvents):
                plugin.write_event(self.run, event)
