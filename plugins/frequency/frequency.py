"""What text such as "2 epochs", "500 steps", "10 minutes" or "10%" means."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

from trainbus.callback.planned_training import PlannedTraining
from trainbus.metrics.names import nearest
from trainbus.settings.durations import SHORT, duration_in_words, duration_text, seconds_in

Unit: TypeAlias = Literal["epoch", "epoch from 0", "validation", "batch", "step", "second", "percent"]
MILLIONTHS: Final = 1_000_000
"""Percents have up to six decimal places, and are compared as whole numbers."""
_COUNT: Final = re.compile(r"(\d{1,18}) (?:(epoch)s?( from 0)?|(step|validation)s?|batch(?:es)?)")
_PERCENT: Final = re.compile(r"(\d{1,3})(?:\.(\d{1,6}))? ?%")
_DURATION: Final = re.compile(r"\d+(?:\.\d+)? ?[a-z][a-z0-9 .,]*")
_LOOSE: Final = re.compile(r"(\d{1,18})?[\s_-]*([a-z_]+)(?: from ([01]))?")
_FORMS: Final = (
    'give "epoch", "validation", or text such as "2 epochs", "3 validations", "100 batches", "500 steps", "10 minutes" '
    'or "10%"'
)
_WORDS: Final[dict[str, str]] = {
    **{unit: unit for unit in ("epoch", "validation", "batch", "step", "second", "minute", "hour", "day", "week")},
    **dict.fromkeys(("iteration", "update", "global_step"), "step"),
    **dict.fromkeys(("eval", "evaluation", "val"), "validation"),
    "ep": "epoch",
    **dict.fromkeys(("percent", "pct"), "percent"),
    **SHORT,
}
"""Words that people write for a unit."""


class Frequency(NamedTuple):
    """How much lies between two acts: epochs, validations, batches, weight updates, seconds, or percents of all."""

    every: float
    """A whole number, except of seconds and percents."""
    unit: Unit

    @classmethod
    def parse(cls, value: object) -> Frequency:
        """Parse an option such as ``save_freq`` or ``every``; a bare number counts batches.

        Raises:
            ValueError: The value is not a frequency.

        >>> Frequency.parse("epoch"), Frequency.parse(100)
        (Frequency(every=1, unit='epoch'), Frequency(every=100, unit='batch'))
        >>> Frequency.parse("10 minutes"), Frequency.parse("2.5%")
        (Frequency(every=600.0, unit='second'), Frequency(every=2.5, unit='percent'))
        """
        if value in ("epoch", "validation"):
            return cls(1, value)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return cls(value, "batch")
        text = value if isinstance(value, str) else ""
        counted, percent = _COUNT.fullmatch(text), _PERCENT.fullmatch(text)
        if counted is not None and int(counted[1]) > 0:
            every = int(counted[1])
            from_0 = counted[3] if every > 1 else None  # every single epoch is the same from 0 and from 1
            return cls(every, cast("Unit", f"{counted[2] or counted[4] or 'batch'}{from_0 or ''}"))
        if percent is not None and 0 < (share := float(f"{percent[1]}.{percent[2] or 0}")) <= 100:
            return cls(share, "percent")
        near, why = _nearest(text), ""
        if isinstance(value, timedelta) or (counted is None and _DURATION.fullmatch(text)):
            try:
                return cls(seconds_in(value), "second")
            except ValueError as error:
                why = str(error)
                if isinstance(value, timedelta) or not why.startswith(("unknown unit", "give text")):
                    raise
        if near:
            raise ValueError(f'did you mean "{near}"? {_FORMS}')
        raise ValueError(why if ";" in why else _FORMS)

    def __str__(self) -> str:
        """Return the text in its normal form, which is equal for equal frequencies.

        >>> [str(Frequency.parse(text)) for text in ("1 epoch", "3 validation", "2 hours", "90 seconds", "2.50 %")]
        ['epoch', '3 validations', '120 minutes', '1 minute 30 seconds', '2.5%']
        """
        if self.unit == "percent":
            return f"{self.every:.6f}".rstrip("0").rstrip(".") + "%"
        if self.unit == "second":
            minutes, rest = divmod(self.every, 60)
            return duration_in_words(self.every) if rest else _counted(int(minutes), "minute")
        return _counted(int(self.every), self.unit)

    @property
    def in_batches(self) -> bool:
        """Whether it is due at the end of batches."""
        return not self.in_epochs and self.unit != "validation"

    @property
    def in_epochs(self) -> bool:
        """Whether it is due at the end of epochs."""
        return self.unit in ("epoch", "epoch from 0")

    @property
    def skips_values(self) -> bool:
        """Whether a metric may get several values between two times at which it is due; the last of them waits."""
        return self.in_batches or self.every > 1

    def share_of(self, total: int) -> Fraction:
        """Return how much of a planned total lies between two times at which a frequency in percents is due.

        Args:
            total: The planned epochs or steps.

        >>> Frequency.parse("2.5%").share_of(100)
        Fraction(5, 2)
        """
        return Fraction(round(self.every * MILLIONTHS) * total, 100 * MILLIONTHS)

    def includes(self, epoch: Any) -> Any:
        """Return whether a frequency in epochs is due at the end of an epoch.

        Args:
            epoch: The epoch, counted from 0, or an array of epochs.

        >>> [epoch for epoch in range(7) if Frequency.parse("3 epochs").includes(epoch)]
        [2, 5]
        >>> [epoch for epoch in range(7) if Frequency.parse("3 epochs from 0").includes(epoch)]
        [0, 3, 6]
        """
        return (epoch + (self.unit == "epoch")) % int(self.every) == 0

    def times_due(self, planned: PlannedTraining, first_epoch: int = 0) -> int | None:
        """Return how often it is due in the planned training, at most; None if that is unknown.

        Args:
            planned: What the loop will train.
            first_epoch: The first epoch that counts.

        >>> planned = PlannedTraining(range(7), steps=range(700))
        >>> [Frequency.parse(text).times_due(planned) for text in ("3 epochs", "3 epochs from 0", "500 steps", "10%")]
        [2, 3, 1, None]
        """
        every, unit = int(self.every), self.unit
        if unit == "step":
            steps = planned.steps
            return None if steps is None else steps.stop // every - steps.start // every
        if unit == "batch":
            return None if planned.batches is None or planned.resumed else planned.batches // every
        if not (self.in_epochs or (unit == "validation" and planned.unit == "validation")):
            return None
        shift = 0 if unit == "epoch from 0" else 1
        first = max(planned.epochs.start, min(first_epoch, planned.epochs.stop))
        return (planned.epochs.stop - 1 + shift) // every - (first - 1 + shift) // every

    def planned_in_words(self, planned: PlannedTraining) -> str:
        """Return how much is planned of what it counts."""
        if self.unit == "step" and planned.steps is not None:
            return planned.in_words(planned.steps.stop, "step")
        if self.unit == "batch" and planned.batches is not None:
            return planned.in_words(planned.batches, "batch")
        return planned.in_words()


EVERY_EPOCH: Final = Frequency(1, "epoch")


def check_frequency(value: object) -> object:
    """Return the value itself, a ``timedelta`` as text, which JSON and TOML can represent.

    Raises:
        ValueError: The value is not a frequency.
    """
    Frequency.parse(value)
    return duration_text(value) if isinstance(value, timedelta) else value


def frequency_text(value: object) -> object:
    """Return the value itself, a ``timedelta`` as text; a bare number does not say what it counts.

    Raises:
        ValueError: The value is not a frequency, or a number.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        raise ValueError(f'give what it counts, as in "{value} steps", "{value} batches" or "{value} epochs"')
    return check_frequency(value)


def _counted(count: int, unit: str) -> str:
    if count == 1:
        return unit if unit in ("epoch", "validation") else f"1 {unit}"
    word, from_0, _ = unit.partition(" from 0")
    return f"{count}%" if unit == "percent" else f"{count} {word}{'es' if word == 'batch' else 's'}{from_0}"


def _nearest(text: str) -> str:
    """Return the nearest text that is a frequency; "" if there is none.

    >>> _nearest("100 batchs"), _nearest("validations"), _nearest("2 hrs"), _nearest("often")
    ('100 batches', 'validation', '2 hours', '')
    """
    found = _LOOSE.fullmatch(text.strip().lower())
    if found is None:
        return ""
    count, word = int(found[1] or 1), found[2]
    unit = _WORDS.get(nearest(word, _WORDS) or "", "")
    alone = unit in ("epoch", "validation")
    if not unit or not count or (not found[1] and not alone):
        return ""
    if (unit == "percent" and count > 100) or (found[3] and unit != "epoch"):
        return ""
    return _counted(count, f"{unit} from 0" if found[3] == "0" and count > 1 else unit)
