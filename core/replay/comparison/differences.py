"""The settings in which runs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

MISSING: Final = "-"
"""In place of a setting that a run does not have."""


def differing(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the names of the settings in which runs differ, the most telling first.

    A run without any settings differs in none: its settings are unknown. First come settings that several runs share,
    such as a learning rate that was tried with several seeds; last those that are different text in each run, such as a
    path.

    Args:
        settings: The settings of each run by name.

    >>> differing([{"lr": 0.1, "seed": 1, "out": "a"}, {"lr": 0.1, "seed": 2, "out": "b"},
    ...            {"lr": 0.2, "seed": 3, "out": "c"}, {}])
    ['lr', 'seed', 'out']
    """
    known = [each for each in settings if each]
    names = dict.fromkeys(name for each in known for name in each)
    if len(known) < 2:
        return []
    found = {name: [shown(each.get(name, MISSING)) for each in known] for name in names}
    varied = {name: values for name, values in found.items() if len(set(values)) > 1}
    return sorted(varied, key=lambda name: _rank(name, varied[name], known))


def _rank(name: str, values: Sequence[str], known: Sequence[Mapping[str, object]]) -> tuple[bool, bool]:
    unique = len(set(values)) == len(values)
    text = any(isinstance(each.get(name), str) for each in known)
    return unique and text, unique


def shown(value: object) -> str:
    """Return a setting as text: numbers and truth values as JSON has them, text as it is.

    >>> shown(0.1), shown("adam"), shown([64, 8]), shown(None)
    ('0.1', 'adam', '[64, 8]', 'null')
    """
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        return f"<{type(value).__name__}>"
