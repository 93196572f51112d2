"""Lengths of time as text: what "23 hours 45 minutes" means, and how a number of seconds is written."""

from __future__ import annotations

import re
from datetime import timedelta

from ..limits import DURATION
from ..metrics.names import hint

_SECOND = 1_000_000
_UNITS = {
    "week": 604_800 * _SECOND,
    "day": 86_400 * _SECOND,
    "hour": 3_600 * _SECOND,
    "minute": 60 * _SECOND,
    "second": _SECOND,
}
"""Name of a unit to its microseconds: whole numbers, so that a text and its seconds are exactly equal."""
SHORT = {"s": "second", "sec": "second", "min": "minute", "h": "hour", "hr": "hour", "d": "day", "w": "week"}
"""Short forms, which are refused with the name that they stand for."""
_PART = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,6}))? ?([a-z]{1,20})")
_JOINED = re.compile(r"(?<=[a-z])(?:,? and |, ?)(?=[0-9])")
_CLOCK = re.compile(r"(?:(\d{1,6})[-:])?(\d{1,6}):(\d{1,6}):(\d{1,6})")
_EXAMPLES = 'give text such as "30 seconds", "10 minutes" or "23 hours 45 minutes", or a timedelta'


def seconds_in(value: object) -> float:
    """Return the number of seconds in a text or a ``timedelta``.

    A text is one or more numbers with their units: weeks, days, hours, minutes, seconds. Each unit occurs once. A
    number may have up to six decimal places, down to a microsecond.

    Args:
        value: The text or the ``timedelta``.

    Raises:
        ValueError: It is neither, or not above 0, or longer than 100 years.

    >>> seconds_in("23 hours 45 minutes"), seconds_in("1.5 hours"), seconds_in(timedelta(minutes=10))
    (85500.0, 5400.0, 600.0)
    >>> seconds_in("10 minuts")
    Traceback (most recent call last):
        ...
    ValueError: unknown unit 'minuts'; did you mean 'minutes'?
    """
    if isinstance(value, timedelta):
        total = value // timedelta(microseconds=1)
    elif isinstance(value, str):
        total = _parsed(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(f'give the number with its unit, as in "{value} seconds"')  # noqa: TRY004 - pydantic explains
    else:
        raise ValueError(_EXAMPLES)  # noqa: TRY004 - the same
    if total <= 0:
        raise ValueError("give a time above 0")
    if total > DURATION * _SECOND:
        raise ValueError(f"give a time of at most {DURATION // 86_400} days")
    return total / _SECOND


def duration_text(value: object) -> object:
    """Return a valid text itself, and a ``timedelta`` as text, which JSON and TOML can represent.

    Args:
        value: The text or the ``timedelta``.

    Raises:
        ValueError: ``seconds_in`` refuses the value.

    >>> duration_text("90 minutes"), duration_text(timedelta(minutes=90))
    ('90 minutes', '1 hour 30 minutes')
    """
    seconds = seconds_in(value)
    return value if isinstance(value, str) else duration_in_words(seconds)


def duration_in_words(seconds: float) -> str:
    """Return a number of seconds as text that ``seconds_in`` reads, from days to seconds.

    >>> duration_in_words(85500), duration_in_words(0.25), duration_in_words(0)
    ('23 hours 45 minutes', '0.25 seconds', '0 seconds')
    """
    left, parts = round(seconds * _SECOND), list[str]()
    for name, size in list(_UNITS.items())[1:-1]:
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {name}{'s' * (number != 1)}")
    if left or not parts:
        number, fraction = divmod(left, _SECOND)
        text = f"{number}.{fraction:06}".rstrip("0").rstrip(".")
        parts.append(f"{text} second{'s' * (left != _SECOND)}")
    return " ".join(parts)


def _parsed(text: str) -> int:
    """Return the microseconds in a text."""
    clock = _CLOCK.fullmatch(text.strip())
    if clock is not None:
        amounts = zip(clock.groups(default="0"), ("day", "hour", "minute", "second"), strict=True)
        total = sum(int(number) * _UNITS[unit] for number, unit in amounts)
        raise ValueError(f'give numbers with their units, as in "{duration_in_words(total / _SECOND)}"')
    found = dict[str, int]()
    words = _JOINED.sub(" ", " ".join(text.casefold().split()))
    parts = _PART.findall(words)
    if not parts or _PART.sub("", words).strip():
        raise ValueError(_EXAMPLES)
    for whole, fraction, word in parts:
        unit = _unit(word)
        if unit in found:
            raise ValueError(f"{unit}s are given twice; give each unit once")
        found[unit] = (int(whole) * _SECOND + int(fraction.ljust(6, "0"))) * (_UNITS[unit] // _SECOND)
    return sum(found.values())


def _unit(word: str) -> str:
    """Return the name of a unit, in the singular.

    Raises:
        ValueError: There is no such unit.
    """
    unit = word.removesuffix("s") or word
    if unit in _UNITS:
        return unit
    names = [f"{each}s" for each in _UNITS]
    short = SHORT.get(word) or SHORT.get(unit)
    near = f"; write {short + 's'!r}" if short else hint(word, names)
    raise ValueError(f"unknown unit {word!r}{near}")
