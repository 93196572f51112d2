"""How often to save: what `save_freq` means, and when it is due."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from trainbus.rules import Intervals, crossing_rule, interval_rule

__all__ = ["BatchSchedule", "Frequency", "check_frequency"]

_WORDS = re.compile(r"(\d{1,18}) (?:(epoch|step|minute)s?|batch(?:es)?)")
Unit: TypeAlias = Literal["epoch", "batch", "step", "minute"]


class Frequency(NamedTuple):
    """Every so many of a unit."""

    every: int
    unit: Unit

    @classmethod
    def parse(cls, value: object) -> Frequency:
        """What a `save_freq` means.

        Raises:
            ValueError: it is none.

        >>> Frequency.parse("epoch"), Frequency.parse(100), Frequency.parse("10 minutes")
        (Frequency(every=1, unit='epoch'), Frequency(every=100, unit='batch'), Frequency(every=10, unit='minute'))
        """
        if value == "epoch":
            return cls(1, "epoch")
        words = _WORDS.fullmatch(value) if isinstance(value, str) else None
        if words is not None and int(words[1]) > 0:
            return cls(int(words[1]), cast("Unit", words[2] or "batch"))
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return cls(value, "batch")
        raise ValueError(
            'give "epoch", or a number of batches above 0, or such as "2 epochs", "500 steps", "10 minutes"'
        )


def check_frequency(value: object) -> object:
    """The value itself, where it is a frequency.

    Raises:
        ValueError: it is none.
    """
    Frequency.parse(value)
    return value


class BatchSchedule:
    """At the end of which batches a frequency in batches, steps or minutes is due.

    Args:
        frequency: how often.
        step: weight updates made before the first batch.
    """

    def __init__(self, frequency: Frequency, step: int) -> None:
        self.frequency = frequency
        self.interval = Intervals()
        self.step = step
        self.since = time.monotonic()

    def due(self, batch: int, step: int) -> bool:
        """Whether to act at the end of this batch, counted from 0 in its epoch, after that many weight updates.

        Steps are due whenever a multiple is reached; batches and minutes count from when they were due last.
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
        """Where it stands; of minutes, how many seconds have passed."""
        return {"interval": list(self.interval), "step": self.step, "passed": time.monotonic() - self.since}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.interval, self.step = Intervals(*saved["interval"]), saved["step"]
        self.since = time.monotonic() - saved["passed"]
