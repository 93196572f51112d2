"""When a callback looks at its metric."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Literal, NamedTuple, TypeAlias, cast, get_args

_TEXT = re.compile(r"(\d{1,18}) (epoch|step|minute)s?")
_LOOSE = re.compile(r"(\d{1,18})?[\s_-]*([a-z_]+)")
_FORMS = 'give "epoch", "validation", or text such as "2 epochs", "500 steps", "10 minutes"'
LookUnit: TypeAlias = Literal["epoch", "validation", "step", "minute"]


class LookFrequency(NamedTuple):
    """A number of epochs, validations, weight updates or minutes between two looks."""

    every: int
    unit: LookUnit

    @classmethod
    def parse(cls, text: str) -> LookFrequency:
        """Parse an option ``every``.

        Raises:
            ValueError: The text is not a frequency.

        >>> LookFrequency.parse("validation"), LookFrequency.parse("500 steps")
        (LookFrequency(every=1, unit='validation'), LookFrequency(every=500, unit='step'))
        """
        if text in ("epoch", "validation"):
            return cls(1, cast("LookUnit", text))
        found = _TEXT.fullmatch(text)
        if found is None or not int(found[1]):
            raise ValueError(f"{_hint(text)}{_FORMS}")
        return cls(int(found[1]), cast("LookUnit", found[2]))

    def __str__(self) -> str:
        """Return the text in its normal form.

        >>> str(LookFrequency.parse("1 epoch")), str(LookFrequency.parse("500 step"))
        ('epoch', '500 steps')
        """
        if self.every == 1 and self.unit in ("epoch", "validation"):
            return self.unit
        return f"{self.every} {self.unit}{'s' if self.every > 1 else ''}"

    @property
    def in_batches(self) -> bool:
        """Whether the callback looks at the end of batches."""
        return self.unit in ("step", "minute")


_NEAREST: dict[str, LookUnit] = {
    **dict.fromkeys(("batch", "iteration", "update", "global_step"), "step"),
    **dict.fromkeys(("eval", "evaluation", "val"), "validation"),
    **dict.fromkeys(("ep",), "epoch"),
    **dict.fromkeys(("min",), "minute"),
}
"""Other words for the units."""
_UNITS: dict[str, LookUnit | int] = {
    **{unit: unit for unit in get_args(LookUnit)},
    **_NEAREST,
    "h": 60,
    "hr": 60,
    "hour": 60,
    "day": 1440,
}
"""What a word means: a unit, or a number of minutes."""


def _hint(text: str) -> str:
    """Return the nearest text that is a frequency, as a question; "" if there is none.

    >>> _hint("100 batches"), _hint("validations"), _hint("2 hours"), _hint("often")
    ('did you mean "100 steps"? ', 'did you mean "validation"? ', 'did you mean "120 minutes"? ', '')
    """
    found = _LOOSE.fullmatch(text.strip().lower())
    if found is None:
        return ""
    count, word = int(found[1] or 1), found[2]
    word = next((each for each in (word, word.removesuffix("s"), word.removesuffix("es")) if each in _UNITS), word)
    near = _UNITS.get(word) or _UNITS.get(next(iter(get_close_matches(word, _UNITS, 1)), ""))
    if near is None or not count or (near == "validation" and count > 1):
        return ""
    unit, factor = (near, 1) if isinstance(near, str) else ("minute", near)
    if not found[1] and unit not in ("epoch", "validation"):
        return ""
    return f'did you mean "{LookFrequency(count * factor, unit)}"? '


def check_every(text: str) -> str:
    """Return the text in its normal form.

    Raises:
        ValueError: The text is not a frequency.

    >>> check_every("1 epochs")
    'epoch'
    """
    return str(LookFrequency.parse(text))
