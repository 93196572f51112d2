"""Plain values that an action carries for the journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import nan
from typing import Any, TypeAlias

Value: TypeAlias = bool | int | float | str | None


class FrozenValues(Mapping[str, Value]):
    """A hashable mapping from names to plain values, in which a NaN equals a NaN.

    >>> FrozenValues({"wait": 3, "best": float("nan")}) == FrozenValues({"best": float("nan"), "wait": 3})
    True
    >>> FrozenValues({"wait": 3})
    {'wait': 3}
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Value] | None = None) -> None:
        self._values = {name: as_plain_value(value) for name, value in (values or {}).items()}

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        # Python compares the values of mappings by identity first, so that the NaN of `as_plain_value` equals itself
        return self._values == (other._values if isinstance(other, FrozenValues) else other)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return repr(self._values)


def as_plain_value(value: Any) -> Value:
    """Return NumPy scalars and one-element tensors as Python scalars, and every NaN as the same object."""
    plain = value.item() if hasattr(value, "item") else value
    return nan if plain != plain else plain
