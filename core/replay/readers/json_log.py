"""Files of JSON, whatever they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...errors import SettingsError

__all__ = ["json_of", "number_of"]

LARGEST = 1 << 28
"""Bytes of a file that is read; it is read as a whole."""


def json_of(path: Path) -> Any:
    """What a file of JSON holds.

    Raises:
        SettingsError: it holds none, or too much.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise SettingsError(f"{str(path)!r} has {size:,} bytes, more than any history of a training")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{str(path)!r} is no JSON, or not whole: {error}") from None


def number_of(value: Any) -> float | None:
    """A number, also one that was written as text, as NumPy's are with `default=str`; None for anything else.

    >>> number_of("0.5"), number_of(True), number_of([0.5])
    (0.5, None, None)
    """
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
