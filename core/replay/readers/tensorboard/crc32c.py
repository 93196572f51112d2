"""CRC-32C, the checksum of TensorBoard's event files, of many texts of one length at once.

The checksum is linear: that of a text is the sum, bit by bit and without carry, of what each byte adds at its place.
So a column of bytes takes one look into a table, for all texts together, and needs neither a loop over bytes nor a
package.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["masked_crc32c", "masked_crc32c_of"]

_Words: TypeAlias = NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78
_WIDTH = 256
"""Bytes that are looked up one by one; longer texts are cut into such pieces."""


def masked_crc32c(rows: NDArray[np.uint8]) -> _Words:
    """The checksum of each row, turned and shifted as event files keep it.

    >>> [hex(check) for check in masked_crc32c(np.frombuffer(b"123456789", np.uint8)[None])]
    ['0xc78ab0e5']
    """
    count, length = rows.shape
    padding = -length % _WIDTH if length > _WIDTH else 0  # zeros in front add nothing
    text = np.zeros((count, padding + length), np.uint8)
    text[:, padding:] = rows
    text[:, padding : padding + 4] ^= np.uint8(255)  # the checksum starts with all bits set
    checks = _summed(text)
    if length < 4:
        checks ^= np.uint32(0xFFFFFFFF >> 8 * length)
    checks ^= np.uint32(0xFFFFFFFF)
    return cast("_Words", (checks >> np.uint32(15) | checks << np.uint32(17)) + np.uint32(0xA282EAD8))


def _summed(text: NDArray[np.uint8]) -> _Words:
    """What the bytes of each row add, in rows of one piece or of whole pieces."""
    count, length = text.shape
    if length <= _WIDTH:
        table = _places()[_WIDTH - length :]
        checks = np.zeros(count, np.uint32)
        for place, column in enumerate(np.ascontiguousarray(text.T)):
            checks ^= table[place].take(column)
        return checks
    pieces = length // _WIDTH
    sums: _Words = _summed(text.reshape(count * pieces, _WIDTH)).reshape(count, pieces)
    level = 0
    while sums.shape[1] > 1:  # each piece moves over its right neighbour, then each pair over the next
        if sums.shape[1] % 2:
            sums = np.concatenate([np.zeros((count, 1), np.uint32), sums], axis=1)
        sums = _moved(sums[:, 0::2], _mover(level)) ^ sums[:, 1::2]
        level += 1
    return sums[:, 0]


def _moved(checks: _Words, mover: _Words) -> _Words:
    moved: _Words = mover[0].take(checks & np.uint32(255))
    for byte in (1, 2, 3):
        moved = moved ^ mover[byte].take(checks >> np.uint32(8 * byte) & np.uint32(255))
    return moved


@lru_cache(maxsize=1)
def _places() -> _Words:
    """What each byte adds that stands so far from the end, the last place last."""
    table = np.empty((_WIDTH, 256), np.uint32)
    last = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        last = last >> np.uint32(1) ^ np.uint32(_POLYNOMIAL) * (last & np.uint32(1))
    table[-1] = last
    for place in range(_WIDTH - 2, -1, -1):
        after = table[place + 1]
        table[place] = after >> np.uint32(8) ^ last.take(after & np.uint32(255))
    return table


@lru_cache(maxsize=32)
def _mover(level: int) -> _Words:
    """What each byte of a checksum becomes when `2**level` pieces of zeros follow."""
    if level:
        return _moved(_mover(level - 1), _mover(level - 1))
    # a checksum is moved by zeros as four first bytes of a piece are summed up
    return _places()[:4].copy()


def masked_crc32c_of(text: bytes) -> int:
    """The checksum of one short text.

    >>> hex(masked_crc32c_of(b"123456789"))
    '0xc78ab0e5'
    """
    table, check = _last_place(), 0xFFFFFFFF
    for byte in text:
        check = table[(check ^ byte) & 255] ^ check >> 8
    check ^= 0xFFFFFFFF
    return ((check >> 15 | check << 17) + 0xA282EAD8) & 0xFFFFFFFF


@lru_cache(maxsize=1)
def _last_place() -> list[int]:
    return cast("list[int]", _places()[-1].tolist())
