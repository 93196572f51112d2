"""Decoder of the protocol buffers wire format: the fields of a message and their positions.

Google's library returns values without positions, so each record would have to be parsed alone, which is 4 to 8 times
slower for a file of scalars. tensorboardX has the messages of event files, but it imports PyTorch, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""The wire types of fields; ``LENGTH`` is length-delimited."""

_SIZES = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10


class Field(NamedTuple):
    """One field of a message: its number, its wire type, and the bytes of its content."""

    number: int
    kind: int
    start: int
    end: int


def parse_fields(data: bytes, start: int = 0, end: int | None = None, *, truncated: bool = False) -> Iterator[Field]:
    """Yield the fields of the message in a range of bytes.

    Args:
        data: Bytes that contain the message.
        start: The first byte of the message.
        end: The byte after the message; by default the end of the data.
        truncated: Whether the end of the message may be missing; the last field is then shortened.

    Raises:
        ValueError: The bytes are not a message.

    >>> [tuple(field) for field in parse_fields(bytes.fromhex("0896011203616263"))]
    [(1, 0, 1, 3), (2, 2, 5, 8)]
    """
    end = len(data) if end is None else end
    while start < end:
        key, start = parse_varint(data, start, end)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            after = parse_varint(data, start, end)[1]
        elif kind == LENGTH:
            length, start = parse_varint(data, start, end)
            after = start + length
        elif kind in _SIZES:
            after = start + _SIZES[kind]
        else:
            raise ValueError(f"unknown wire type {kind}")
        if after > end:
            if truncated:
                yield Field(number, kind, start, end)
                return
            raise ValueError("a field extends beyond its message")
        yield Field(number, kind, start, after)
        start = after


def parse_varint(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Return the varint that begins at ``start``, and the position after it.

    Raises:
        ValueError: There is no complete varint before ``end``.

    >>> parse_varint(bytes.fromhex("9601"), 0, 2)
    (150, 2)
    """
    value = 0
    for place in range(start, min(end, start + _LONGEST_VARINT)):
        byte = data[place]
        value |= (byte & 127) << 7 * (place - start)
        if byte < 128:
            return value, place + 1
    raise ValueError("a varint has no end")


def parse_varints(data: bytes, start: int, end: int) -> Iterator[int]:
    """Yield the varints in a range of bytes as signed 64-bit numbers.

    Raises:
        ValueError: The bytes are not varints.

    >>> list(parse_varints(bytes.fromhex("019601") + bytes([255] * 9 + [1]), 0, 13))
    [1, 150, -1]
    """
    while start < end:
        value, start = parse_varint(data, start, end)
        value &= (1 << 64) - 1
        yield value - (value >> 63 << 64)
