"""A number as scripts print it."""

from __future__ import annotations

import re
from typing import Final

from ..numbers import parse_number

_GROUPED: Final = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
NUMBER: Final = r"[-+]?(?:\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?|\.\d+|nan|inf)"
"""A number in a text."""


def printed_number(text: str) -> float | None:
    """Return the number that a text is, with commas between thousands, or a full stop after it; None for other texts.

    >>> printed_number("4,000."), printed_number("x")
    (4000.0, None)
    """
    text = text.strip().rstrip(",;.:")
    return parse_number(text.replace(",", "") if _GROUPED.fullmatch(text) else text)
