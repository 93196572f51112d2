"""Data of unknown form, as a JSON file holds it, narrowed to what is expected there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return an object with its keys; anything else as an empty one.

    >>> as_mapping({"a": 1}), as_mapping([1])
    ({'a': 1}, {})
    """
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    """Return a list; anything else as an empty one.

    >>> as_list([1]), as_list(None)
    ([1], [])
    """
    found: list[Any] = cast("Any", value) if isinstance(value, list) else []
    return found
