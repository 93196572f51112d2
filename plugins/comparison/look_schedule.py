"""The batches at whose end a callback looks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from typing_extensions import TypedDict

from trainbus.resume.checks.plugin_values import Seconds, Step
from trainbus.rules import crossing_rule

from .look_frequency import LookFrequency


class SavedLookSchedule(TypedDict):
    """What a checkpoint stores of a schedule."""

    step: Step
    passed: Seconds


class LookSchedule:
    """The batches at whose end a look is due, for a frequency in steps or minutes.

    Args:
        frequency: How often to look.
        step: Weight updates before the first batch.
    """

    def __init__(self, frequency: LookFrequency, step: int) -> None:
        self.frequency, self.step = frequency, step
        self.since = time.monotonic()

    def is_due(self, step: int) -> bool:
        """Return whether to look at the end of the batch after this number of weight updates of the run."""
        if self.frequency.unit == "step":
            self.step, due = crossing_rule(self.step, step, self.frequency.every)
            return bool(due)
        now = time.monotonic()
        if now - self.since < 60 * self.frequency.every:
            return False
        self.since = now
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the schedule; for minutes, the seconds that have passed."""
        return {"step": self.step, "passed": time.monotonic() - self.since}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.step, self.since = saved["step"], time.monotonic() - saved["passed"]
