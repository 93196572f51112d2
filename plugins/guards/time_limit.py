"""End the training when its time is up, so that a later run continues from there."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from typing_extensions import TypedDict

from trainbus import Callback, Run, SettingsError, hookimpl
from trainbus.failures import LOG
from trainbus.resume.checks.plugin_values import Seconds, parsed
from trainbus.settings.durations import duration_in_words, duration_text, seconds_in

from .guard_thread import GuardThread

SLURM = "SLURM_JOB_END_TIME"
"""The variable in which Slurm gives a job the time of its end, in seconds since 1970."""


class _Saved(TypedDict):
    """What a checkpoint stores: the seconds that the run has taken so far, over all resumes."""

    used: Seconds


class TimeLimit(Callback):
    """End the run when its time is up: after the batch, on all ranks, as a signal does but without an exception.

    ``ModelCheckpoint(save_on="signal")``, its default, saves the file "signal" there, and ``resume="auto"`` continues
    with the next batch. The program continues after the training. The clock is that of rank 0.

    >>> TimeLimit("23 hours 45 minutes").limit
    '23 hours 45 minutes'
    >>> TimeLimit()
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: TimeLimit: until=None: give a time: TimeLimit("10 minutes") or TimeLimit(until=...)
    """

    limit: Annotated[str | None, BeforeValidator(lambda value: value if value is None else duration_text(value))] = (
        Field(default=None, kw_only=False)
    )
    """How long the run may train, from its beginning or its resume: text such as "23 hours 45 minutes", or a
    ``timedelta``."""
    until: datetime | None = Field(default=None, validate_default=True)
    """When the run ends, in place of ``limit``; without a time zone it is local time."""
    over_resumes: bool = False
    """Whether ``limit`` counts the time before a resume, too, up to the checkpoint."""
    elsewhere: ClassVar[Mapping[str, str]] = {
        "duration": 'the time first, as in TimeLimit("12 hours")',
        "hours": 'the time first, as in TimeLimit("12 hours")',
        "interval": "nothing: the run ends after a batch, and resumes with the next",
        "limit_sec": 'the time first, as in TimeLimit("600 seconds")',
        "margin": 'TimeLimit.slurm(margin="10 minutes")',
        "max_time": 'the time first, as in TimeLimit("12 hours")',
        "minutes": 'the time first, as in TimeLimit("10 minutes")',
        "seconds": 'the time first, as in TimeLimit("600 seconds")',
        "verbose": "nothing: run.result.reason says why the run ended",
    }

    @field_validator("until")
    @classmethod
    def _check_one_time(cls, until: datetime | None, info: ValidationInfo) -> datetime | None:
        if "limit" in info.data and until is None and info.data["limit"] is None:
            raise ValueError('give a time: TimeLimit("10 minutes") or TimeLimit(until=...)')
        if until is not None and info.data.get("limit") is not None:
            raise ValueError(f"limit={info.data['limit']!r} is given too; give one, or list TimeLimit twice")
        return until

    @field_validator("over_resumes")
    @classmethod
    def _check_counts(cls, over_resumes: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic calls it
        if over_resumes and info.data.get("until") is not None:
            raise ValueError("until= is a time of day, which no resume changes; leave over_resumes out, or give limit")
        return over_resumes

    @classmethod
    def slurm(cls, margin: str | timedelta = "10 minutes") -> Self:
        """Return the limit that ends the run this long before Slurm ends the job.

        Args:
            margin: The time for the last batch and the last save.

        Raises:
            SettingsError: The margin is none, or ``SLURM_JOB_END_TIME`` is not set to a time.
        """
        try:
            seconds = seconds_in(margin)
        except ValueError as error:
            raise SettingsError(f"TimeLimit.slurm: margin={margin!r}: {error}") from None
        given = os.environ.get(SLURM)
        try:
            if given is None:
                raise ValueError("is not set, so this is no job of Slurm 22.05 or later")
            return cls(until=datetime.fromtimestamp(int(given) - seconds).astimezone())
        except (ValueError, OverflowError, OSError) as error:
            why = f"{error}" if given is None else f"is {given!r}, not a time in seconds"
            raise SettingsError(
                f'TimeLimit.slurm: {SLURM} {why}; give the time itself: TimeLimit("10 minutes") or '
                "TimeLimit(until=datetime(...))"
            ) from None

    def effective_settings(self, subject: object = None) -> dict[str, Any]:
        """Return the limit in seconds; any time of day counts as the same, since each job has another one."""
        if self.limit is None:
            return {"until": True}
        return {"limit": seconds_in(self.limit), "over_resumes": self.over_resumes}

    def plugin(self) -> object:
        """Return a new plugin for one run."""
        return _Timer(self)


class _Timer:
    """Asks the run to end when the time is up; only rank 0 has one, since it decides nothing."""

    critical = False

    def __init__(self, settings: TimeLimit) -> None:
        self.settings = settings
        self.name = f"TimeLimit({settings.limit!r})" if settings.limit else f"TimeLimit(until={settings.until})"
        self.seconds = seconds_in(settings.limit) if settings.limit else 0.0
        self.used = 0.0
        self.thread: GuardThread | None = None

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        until = self.settings.until
        if until is not None and time.time() >= until.timestamp():
            ago = duration_in_words(round(time.time() - until.timestamp()))
            raise SettingsError(
                f"TimeLimit: until={str(until)!r} was {ago} ago, before the training; give a later time"
            )
        self.began, self.run = time.monotonic(), run
        self._report_unsaved(run)
        run.at_end(self._close)

    @hookimpl
    def on_epoch_begin(self) -> None:
        # not before: a resume restores the time used, and a finished run that is resumed does not train
        if self.thread is None:
            if self.look() is None:
                LOG.warning("%s is used up: the run ends after at most one batch; give more time", self.name)
            self.thread = GuardThread("trainbus-time-limit", self.look)

    def left(self) -> float:
        """Return the seconds that are left."""
        until = self.settings.until
        return self.seconds - self.passed() if until is None else until.timestamp() - time.time()

    def passed(self) -> float:
        """Return the seconds that count: since the beginning, and before a resume if they count too."""
        return self.used + time.monotonic() - self.began

    def look(self) -> float | None:
        """Ask the run to end if the time is up; return the seconds until then."""
        left = self.left()
        if left > 0:
            return left
        self.run.interrupt(self.name)
        return None

    def state_dict(self) -> dict[str, Any]:
        return {"used": self.passed() if self.settings.over_resumes else 0.0}

    def check_state_dict(self, saved: object) -> None:
        parsed(_Saved, saved)

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.used = saved["used"] if self.settings.over_resumes else 0.0

    def _report_unsaved(self, run: Run) -> None:
        """Report that the files of this run do not include the one that a resume would continue from."""
        saved_on = [getattr(each, "save_on", ()) for each in run.callbacks.values() if each.checkpoint_patterns()]
        if saved_on and not any("signal" in each for each in saved_on):
            LOG.warning(
                'TimeLimit: nothing is saved when the time is up; let ModelCheckpoint(save_on=...) include "signal"'
            )

    def _close(self) -> None:
        if self.thread is not None:
            self.thread.close()
