"""Numbers as logs write them."""

from __future__ import annotations

from typing import Any


def parse_number(value: Any) -> float | None:
    """Return a number, also from text, as ``json.dumps(..., default=str)`` writes NumPy numbers; None for other values.

    >>> parse_number("0.5"), parse_number(True), parse_number([0.5])
    (0.5, None, None)
    """
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
