"""How often to save: what ``save_freq`` means, and when a save is due."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from typing_extensions import TypedDict

from trainbus.resume.checks.plugin_values import Seconds, Step
from trainbus.rules import Intervals, crossing_rule, interval_rule

_TEXT = re.compile(r"(\d{1,18}) (?:(epoch|step|minute)s?|batch(?:es)?)")
Unit: TypeAlias = Literal["epoch", "batch", "step", "minute"]


class SaveFrequency(NamedTuple):
    """A number of epochs, batches, weight updates or minutes between two saves."""

    every: int
    unit: Unit

    @classmethod
    def parse(cls, value: object) -> SaveFrequency:
        """Parse ``save_freq``.

        Raises:
            ValueError: The value is not a frequency.

        >>> SaveFrequency.parse("epoch"), SaveFrequency.parse(100)
        (SaveFrequency(every=1, unit='epoch'), SaveFrequency(every=100, unit='batch'))
        >>> SaveFrequency.parse("10 minutes")
        SaveFrequency(every=10, unit='minute')
        """
        if value == "epoch":
            return cls(1, "epoch")
        found = _TEXT.fullmatch(value) if isinstance(value, str) else None
        if found is not None and int(found[1]) > 0:
            return cls(int(found[1]), cast("Unit", found[2] or "batch"))
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return cls(value, "batch")
        raise ValueError(
            'give "epoch", a number of batches above 0, or text such as "2 epochs", "500 steps", "10 minutes"'
        )


def check_frequency(value: object) -> object:
    """Return the value itself.

    Raises:
        ValueError: The value is not a frequency.
    """
    SaveFrequency.parse(value)
    return value


class SavedSchedule(TypedDict):
    """What a checkpoint stores of a schedule."""

    interval: tuple[Step, Step]
    step: Step
    passed: Seconds


class SaveSchedule:
    """The batches at whose end a save is due, for a frequency in batches, steps or minutes.

    Args:
        frequency: How often to save.
        step: Weight updates before the first batch.
    """

    def __init__(self, frequency: SaveFrequency, step: int) -> None:
        self.frequency = frequency
        self.interval = Intervals()
        self.step = step
        self.since = time.monotonic()

    def is_due(self, batch: int, step: int) -> bool:
        """Return whether to save at the end of this batch; if so, count from here.

        With steps, a save is due at each multiple; batches and minutes count from the previous save.

        Args:
            batch: The batch, counted from 0 in its epoch.
            step: Weight updates so far in the run.
        """
        every, unit = self.frequency
        if unit == "batch":
            self.interval, due = interval_rule(self.interval, batch, every)
        elif unit == "step":
            self.step, due = crossing_rule(self.step, step, every)
        else:
            now = time.monotonic()
            due = now - self.since >= 60 * every
            self.since = now if due else self.since
        return bool(due)

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the schedule; for minutes, the seconds that have passed."""
        return {"interval": list(self.interval), "step": self.step, "passed": time.monotonic() - self.since}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.interval, self.step = Intervals(*saved["interval"]), saved["step"]
        self.since = time.monotonic() - saved["passed"]
