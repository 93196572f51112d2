"""When a callback looks at its metric."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias, cast

_TEXT = re.compile(r"(\d{1,18}) (epoch|step|minute)s?")
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
            raise ValueError('give "epoch", "validation", or text such as "2 epochs", "500 steps", "10 minutes"')
        return cls(int(found[1]), cast("LookUnit", found[2]))

    @property
    def in_batches(self) -> bool:
        """Whether the callback looks at the end of batches."""
        return self.unit in ("step", "minute")


def check_every(text: str) -> str:
    """Return the text.

    Raises:
        ValueError: The text is not a frequency.
    """
    LookFrequency.parse(text)
    return text
