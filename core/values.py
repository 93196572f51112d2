"""What a rule saw when it decided: names to numbers and words, as a value that cannot change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import nan
from typing import Any, TypeAlias

__all__ = ["Value", "Values"]

Value: TypeAlias = bool | int | float | str | None


class Values(Mapping[str, Value]):
    """A mapping that is hashable, so that the actions that carry it stay values; a NaN equals a NaN.

    >>> Values({"wait": 3, "best": float("nan")}) == Values({"best": float("nan"), "wait": 3})
    True
    >>> Values({"wait": 3})
    {'wait': 3}
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Value] | None = None) -> None:
        self._values = {name: _plain(value) for name, value in (values or {}).items()}

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        # Python compares what is in a mapping by identity first, which makes the one NaN equal to itself
        return self._values == (other._values if isinstance(other, Values) else other)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return repr(self._values)


def _plain(value: Any) -> Value:
    """NumPy's numbers and tensors of one as Python's, and every NaN as the one."""
    plain = value.item() if hasattr(value, "item") else value
    return nan if plain != plain else plain
