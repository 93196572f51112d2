"""Protocol buffers as they lie in bytes: the fields of a message, and where each stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["FIXED32", "FIXED64", "LENGTH", "VARINT", "Field", "fields", "varint", "varints"]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""How a field is encoded."""

_SIZES = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10


class Field(NamedTuple):
    """One field of a message: its number, how it is encoded, and between which bytes its content lies."""

    number: int
    kind: int
    start: int
    end: int


def fields(data: bytes, start: int = 0, end: int | None = None, *, cut: bool = False) -> Iterator[Field]:
    """The fields of the message that lies between these bytes.

    Args:
        data: what the message is in.
        start: where it begins.
        end: where it ends; by default with the data.
        cut: its end may be missing; the last field is what there is of it then.

    Raises:
        ValueError: no message lies there.

    >>> [tuple(field) for field in fields(bytes.fromhex("0896011203616263"))]
    [(1, 0, 1, 3), (2, 2, 5, 8)]
    """
    end = len(data) if end is None else end
    while start < end:
        key, start = varint(data, start, end)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            after = varint(data, start, end)[1]
        elif kind == LENGTH:
            length, start = varint(data, start, end)
            after = start + length
        elif kind in _SIZES:
            after = start + _SIZES[kind]
        else:
            raise ValueError(f"no field is encoded as {kind}")
        if after > end:
            if cut:
                yield Field(number, kind, start, end)
                return
            raise ValueError("a field ends after its message")
        yield Field(number, kind, start, after)
        start = after


def varint(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The number of variable length that begins here, and where it ends.

    Raises:
        ValueError: none begins here.

    >>> varint(bytes.fromhex("9601"), 0, 2)
    (150, 2)
    """
    value = 0
    for place in range(start, min(end, start + _LONGEST_VARINT)):
        byte = data[place]
        value |= (byte & 127) << 7 * (place - start)
        if byte < 128:
            return value, place + 1
    raise ValueError("a number has no end")


def varints(data: bytes, start: int, end: int) -> Iterator[int]:
    """The numbers of variable length that lie between these bytes, negative ones as what they are in 64 bits.

    Raises:
        ValueError: something else lies there.

    >>> list(varints(bytes.fromhex("019601") + bytes([255] * 9 + [1]), 0, 13))
    [1, 150, -1]
    """
    while start < end:
        value, start = varint(data, start, end)
        value &= (1 << 64) - 1
        yield value - (value >> 63 << 64)
