"""How often to save: what ``save_freq`` means, and when a save is due."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, NamedTuple, NotRequired, TypeAlias, cast

from typing_extensions import TypedDict

from trainbus import Run, SettingsError
from trainbus.metrics.names import hint
from trainbus.resume.checks.plugin_values import Seconds, Step
from trainbus.rules import Intervals, crossing_rule, interval_rule
from trainbus.settings.durations import duration_text, seconds_in

_TEXT = re.compile(r"(\d{1,18}) (?:(epoch|step)s?|batch(?:es)?)")
_PERCENT = re.compile(r"(\d{1,3})(?:\.(\d{1,6}))? ?%")
_EXAMPLES = (
    'give "epoch", "validation", a number of batches above 0, or text such as "2 epochs", "500 steps", "10 minutes" or '
    '"10%"'
)
_QUANTITY = re.compile(r"\d+(?:\.\d+)? ?[a-z][a-z0-9 .,]*")
_MILLIONTHS = 1_000_000
"""Percents have up to six decimal places, and are compared as whole numbers."""
Unit: TypeAlias = Literal["epoch", "validation", "batch", "step", "second", "percent"]


class SaveFrequency(NamedTuple):
    """How much lies between two saves: epochs, validations, batches, weight updates, seconds, or percents of all."""

    every: float
    """A whole number, except of seconds and percents."""
    unit: Unit

    @classmethod
    def parse(cls, value: object) -> SaveFrequency:
        """Parse ``save_freq``.

        Raises:
            ValueError: The value is not a frequency.

        >>> SaveFrequency.parse("epoch"), SaveFrequency.parse(100)
        (SaveFrequency(every=1, unit='epoch'), SaveFrequency(every=100, unit='batch'))
        >>> SaveFrequency.parse("10 minutes"), SaveFrequency.parse("2.5%")
        (SaveFrequency(every=600.0, unit='second'), SaveFrequency(every=2.5, unit='percent'))
        """
        if value in ("epoch", "validation"):
            return cls(1, value)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return cls(value, "batch")
        text = value if isinstance(value, str) else ""
        counted, percent = _TEXT.fullmatch(text), _PERCENT.fullmatch(text)
        if counted is not None and int(counted[1]) > 0:
            return cls(int(counted[1]), cast("Unit", counted[2] or "batch"))
        if percent is not None and 0 < (share := float(f"{percent[1]}.{percent[2] or 0}")) <= 100:
            return cls(share, "percent")
        if not isinstance(value, timedelta) and (counted is not None or not _QUANTITY.fullmatch(text)):
            raise ValueError(_EXAMPLES)
        try:
            return cls(seconds_in(value), "second")
        except ValueError as error:
            if not str(error).startswith("unknown unit"):
                raise
        unit = text.split()[-1].lstrip("0123456789.")
        near = hint(unit, ("epochs", "batches", "steps", "seconds", "minutes", "hours", "days"), otherwise="")
        raise ValueError(f"unknown unit {unit!r}{near}" if near else _EXAMPLES)


def check_frequency(value: object) -> object:
    """Return the value itself, a ``timedelta`` as text, which JSON and TOML can represent.

    Raises:
        ValueError: The value is not a frequency.
    """
    SaveFrequency.parse(value)
    return duration_text(value) if isinstance(value, timedelta) else value


class SavedSchedule(TypedDict):
    """What a checkpoint stores of a schedule."""

    interval: tuple[Step, Step]
    step: Step
    passed: Seconds
    share: NotRequired[Step]


class SaveSchedule:
    """The batches at whose end a save is due, for a frequency in batches, steps, seconds or percents.

    Args:
        frequency: How often to save.
        step: Weight updates before the first batch.
    """

    def __init__(self, frequency: SaveFrequency, step: int) -> None:
        self.frequency = frequency
        self.interval = Intervals()
        self.step = step
        self.share = 0
        """How many of the saves of a frequency in percents were due."""
        self.since = time.monotonic()

    def is_due(self, run: Run, batch: int) -> bool:
        """Return whether to save at the end of this batch; if so, count from here.

        With steps, a save is due at each multiple; batches and seconds count from the previous save.

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
        """Return whether to save at the end of this epoch, for what no batch has reached."""
        return self.frequency.unit == "percent" and self._reaches_share(run, 1, 1)

    def _reaches_share(self, run: Run, batches: int, planned: int) -> bool:
        """Return whether the training reaches a multiple of the percents; the planned epochs are 100 %.

        Args:
            run: The run.
            batches: Batches of the present epoch so far.
            planned: Batches of a whole epoch; 0 if unknown, when only the end of an epoch may reach one.
        """
        epochs = run.state.planned_epochs
        if epochs is None:
            raise SettingsError(
                f"save_freq='{self.frequency.every:g}%' needs the number of epochs: write run.epochs(n), or give "
                'save_freq in another unit, such as "10 minutes"'
            )
        done = (run.epoch * planned + min(batches, planned)) * 100 * _MILLIONTHS
        least = round(self.frequency.every * _MILLIONTHS) * epochs * planned
        before, self.share = self.share, max(self.share, done // least if least else 0)
        return self.share > before

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the schedule; for minutes, the seconds that have passed."""
        passed = time.monotonic() - self.since
        return {"interval": list(self.interval), "step": self.step, "passed": passed, "share": self.share}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.interval, self.step = Intervals(*saved["interval"]), saved["step"]
        self.since, self.share = time.monotonic() - saved["passed"], saved.get("share", 0)
