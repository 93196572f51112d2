"""What text such as "2 epochs", "500 steps", "10 minutes" or "10%" means."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final, Literal, NamedTuple, TypeAlias, cast

from trainbus.metrics.names import nearest
from trainbus.settings.durations import SHORT, duration_in_words, duration_text, seconds_in

Unit: TypeAlias = Literal["epoch", "validation", "batch", "step", "second", "percent"]
_COUNT: Final = re.compile(r"(\d{1,18}) (?:(epoch|step)s?|batch(?:es)?)")
_PERCENT: Final = re.compile(r"(\d{1,3})(?:\.(\d{1,6}))? ?%")
_DURATION: Final = re.compile(r"\d+(?:\.\d+)? ?[a-z][a-z0-9 .,]*")
_LOOSE: Final = re.compile(r"(\d{1,18})?[\s_-]*([a-z_]+)")
_FORMS: Final = (
    'give "epoch", "validation", or text such as "2 epochs", "100 batches", "500 steps", "10 minutes" or "10%"'
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
            return cls(int(counted[1]), cast("Unit", counted[2] or "batch"))
        if percent is not None and 0 < (share := float(f"{percent[1]}.{percent[2] or 0}")) <= 100:
            return cls(share, "percent")
        near, why = _nearest(text), ""
        if isinstance(value, timedelta) or (counted is None and _DURATION.fullmatch(text)):
            try:
                return cls(seconds_in(value), "second")
            except ValueError as error:
                why = str(error)
                if not why.startswith("unknown unit"):
                    raise
        if near:
            raise ValueError(f'did you mean "{near}"? {_FORMS}')
        raise ValueError(why if ";" in why else _FORMS)

    def __str__(self) -> str:
        """Return the text in its normal form, which is equal for equal frequencies.

        >>> [str(Frequency.parse(text)) for text in ("1 epoch", "500 step", "2 hours", "90 seconds", "2.50 %")]
        ['epoch', '500 steps', '120 minutes', '1 minute 30 seconds', '2.5%']
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
        return self.unit not in ("epoch", "validation")

    def includes(self, epoch: int) -> bool:
        """Return whether it is due at the end of an epoch, counted from 0, whose number is a multiple.

        >>> [epoch for epoch in range(7) if Frequency(3, "epoch").includes(epoch)]
        [2, 5]
        """
        return (epoch + 1) % int(self.every) == 0


def check_frequency(value: object) -> object:
    """Return the value itself, a ``timedelta`` as text, which JSON and TOML can represent.

    Raises:
        ValueError: The value is not a frequency.
    """
    Frequency.parse(value)
    return duration_text(value) if isinstance(value, timedelta) else value


def _counted(count: int, unit: str) -> str:
    if count == 1:
        return unit if unit in ("epoch", "validation") else f"1 {unit}"
    return f"{count}%" if unit == "percent" else f"{count} {unit}{'es' if unit == 'batch' else 's'}"


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
    if not unit or not count or (unit == "validation" and count > 1) or (not found[1] and not alone):
        return ""
    return "" if unit == "percent" and count > 100 else _counted(count, unit)
