"""The values of options on the command line: ``name=value`` texts, and lists and ranges of values."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any, NamedTuple

from trainbus import SettingsError

_MOST_VALUES = 10_000
"""The maximum number of values in a range."""
_OUTSIDE_BRACKETS = re.compile(r",(?![^\[{]*[\]}])")
"""A comma between two options, not one within a list or a table."""


class Axis(NamedTuple):
    """An option of early stopping for which ``trainbus sweep`` tries several values."""

    parse: Callable[[str], Any]
    example: str
    none: bool = False
    """Whether "none" is a valid value."""
    ranges: bool = False
    """Whether the texts first:last and first:last:step are valid, and mean all values of a range."""


def parse_options(option: str, text: str) -> dict[str, Any]:
    """Return the options in a text such as ``patience=3,monitor=val_loss``.

    >>> parse_options("--early-stopping", "patience=3,min_delta=1e-3,monitor=val_loss,restore_best_weights=true")
    {'patience': 3, 'min_delta': 0.001, 'monitor': 'val_loss', 'restore_best_weights': True}
    >>> parse_options("--early-stopping", "monitor=[val_loss, val_f1],stop_when=all")
    {'monitor': ['val_loss', 'val_f1'], 'stop_when': 'all'}
    """
    found: dict[str, Any] = {}
    for part in filter(None, (each.strip() for each in _OUTSIDE_BRACKETS.split(text))):
        name, equals, value = part.partition("=")
        if not equals:
            raise SettingsError(f"{option}: {part!r} is not an option; write name=value, as in patience=3")
        if name.strip() in found:
            raise SettingsError(f"{option}: {name.strip()} is given twice; give it once")
        found[name.strip()] = _parse_value(value.strip())
    return found


def _parse_value(text: str) -> Any:
    """Return the value of a TOML or Python literal; return other text unchanged."""
    constants = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in constants:
        return constants[text.lower()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:  # no TOML, or a number that Python refuses to read since that takes long
        if text.startswith("[") and text.endswith("]"):
            return [_parse_value(each.strip()) for each in text[1:-1].split(",")]
        return text


def parse_values(text: str | None, option: str, axis: Axis) -> list[Any] | None:
    """Return the values in a comma-separated list of values and ranges; None if the option is not given."""
    if text is None:
        return None
    found: list[Any] = []
    for part in (each.strip() for each in text.split(",")):
        try:
            if axis.none and part.lower() == "none":
                found.append(None)
            elif axis.ranges and ":" in part:
                first, last, step = (*(int(each) for each in part.split(":")), 1)[:3]
                if (last - first) // step >= _MOST_VALUES:
                    raise SettingsError(f"{option}: {part!r} has more than {_MOST_VALUES:,} values; give fewer")
                found += range(first, last + 1, step)
            else:
                found.append(axis.parse(part))
        except SettingsError:
            raise
        except (ValueError, TypeError, ZeroDivisionError):
            example = "; 1:20 gives all whole numbers from 1 to 20" if axis.ranges else ""
            raise SettingsError(
                f"{option}: {part!r} is not a valid value; separate values with commas{example}"
            ) from None
    return found
