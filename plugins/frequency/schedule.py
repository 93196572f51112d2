"""When a frequency is due inside of epochs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NotRequired

from typing_extensions import TypedDict

from trainbus import Run, SettingsError
from trainbus.resume.checks.plugin_values import Seconds, Step
from trainbus.rules import Intervals, crossing_rule, interval_rule

from .frequency import MILLIONTHS, Frequency


class SavedSchedule(TypedDict):
    """What a checkpoint stores of a schedule."""

    step: Step
    passed: Seconds
    interval: NotRequired[tuple[Step, Step]]
    share: NotRequired[Step]


class Schedule:
    """The batches at whose end a frequency in batches, steps, seconds or percents is due.

    Args:
        frequency: How often it is due.
        step: Weight updates before the first batch.
        option: The name of the option that gives the frequency, for messages.
        callback: The name of its callback.
    """

    def __init__(self, frequency: Frequency, step: int, option: str, callback: str) -> None:
        self.frequency, self.option, self.callback = frequency, option, callback
        self.interval = Intervals()
        self.step = step
        self.share = 0
        """How many times a frequency in percents was due."""
        self.since = time.monotonic()

    def is_due(self, run: Run, batch: int) -> bool:
        """Return whether it is due at the end of this batch; if so, count from here.

        With steps, it is due at each multiple; batches and seconds count from the previous time.

        Args:
            run: The run.
            batch: The batch, counted from 0 in its epoch.
        """
        every, unit = self.frequency
        if unit == "batch":
            self.interval, due = interval_rule(self.interval, batch, every)
        elif unit == "step":
            self.step, due = crossing_rule(self.step, run.step, every)
        elif unit == "percent":
            due = self._reaches_share(run, batch + 1, run.state.planned_batches or 0)
        elif unit == "second":
            now = time.monotonic()
            due = now - self.since >= every
            self.since = now if due else self.since
        else:
            due = False
        return bool(due)

    def is_due_after(self, run: Run) -> bool:
        """Return whether it is due at the end of this epoch, by a share that no batch has reached."""
        return self.frequency.unit == "percent" and self._reaches_share(run, 1, 1)

    def _reaches_share(self, run: Run, batches: int, planned: int) -> bool:
        """Return whether the training reaches a multiple of the percents; the planned epochs or steps are 100 %.

        Args:
            run: The run.
            batches: Batches of the present epoch so far.
            planned: Batches of a whole epoch; 0 if unknown, when only the end of an epoch may reach one.
        """
        plan = run.state.plan
        share = plan.share(run.epoch, batches, planned, run.step)
        if share is None:
            what, call = ("epochs", "run.epochs(n)") if plan.unit == "epoch" else ("steps", "run.steps(loader, n, ...)")
            raise SettingsError(
                f"{self.callback}: {self.option}='{self.frequency}' needs the number of {what}: write {call}, or give "
                f'{self.option} in another unit, such as "10 minutes"'
            )
        done, least = share[0] * 100 * MILLIONTHS, round(self.frequency.every * MILLIONTHS) * share[1]
        before, self.share = self.share, max(self.share, done // least if least else 0)
        return self.share > before

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the schedule; for a length of time, the seconds that have passed."""
        passed = time.monotonic() - self.since
        return {"interval": list(self.interval), "step": self.step, "passed": passed, "share": self.share}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned; an earlier one may have no interval and no share."""
        self.interval, self.step = Intervals(*saved.get("interval", self.interval)), saved["step"]
        self.since, self.share = time.monotonic() - saved["passed"], saved.get("share", 0)
