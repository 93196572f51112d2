"""Readable text: printable names, counts and durations."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta

LONGEST = 200
"""Characters of a value that a message shows."""


def printable(text: str) -> str:
    r"""Replace control characters, since names from files and directories could contain escape sequences.

    >>> printable("best\x1b[2J")
    'best?[2J'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def shown(value: object) -> str:
    """Return the text that shows a value in a message: in one line, and of a long one the beginning.

    >>> shown("a"), shown([1] * 1000)[-10:], shown(-(10**5000))
    ("'a'", '1, 1, 1...', 'an int of more than 4,300 digits')
    """
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write integers that take long
        return f"an int of more than {sys.get_int_max_str_digits():,} digits"
    text = " ".join(text.split()) if "\n" in text else text
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def plural(count: int, noun: str) -> str:
    """Return a count followed by its noun, in the plural if needed.

    >>> plural(1, "run"), plural(1200, "epoch")
    ('1 run', '1,200 epochs')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def shortened(texts: Sequence[str], most: int = 6) -> list[str]:
    """Shorten a list to ``most`` texts: the first texts, the number of omitted ones, and the last.

    >>> shortened(["1", "2", "3", "4", "5"], most=4)
    ['1', '2', '(2 more)', '5']
    """
    left_out = len(texts) - most + 1
    return [*texts[: most - 2], f"({left_out} more)", texts[-1]] if left_out > 1 else list(texts)


def format_duration(seconds: float) -> str:
    """Format a duration in the largest unit that makes it at least 1.

    >>> format_duration(5400), format_duration(42), format_duration(200000)
    ('1.5 h', '42 s', '2.3 d')
    """
    for unit, length in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        if seconds >= length.total_seconds():
            return f"{seconds / length.total_seconds():.1f} {unit}".replace(".0 ", " ")
    return f"{seconds:.0f} s" if seconds >= 1 or seconds == 0 else f"{1000 * seconds:.0f} ms"
