"""CRC-32C, the checksum of TensorBoard's event files, computed for many texts of equal length at once.

The checksum is linear over GF(2): the checksum of a text is the XOR of one contribution for each byte, which depends on
the byte's value and its distance from the end only. So each column of bytes takes one table lookup for all texts
together, without a loop over bytes in Python and without a package.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

_Words: TypeAlias = NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78
_WIDTH = 256
"""The number of bytes that are looked up one by one; longer texts are split into pieces of this length."""


def masked_crc32c(rows: NDArray[np.uint8]) -> _Words:
    """Return the checksum of each row, masked (rotated and offset) as event files store it.

    >>> [hex(check) for check in masked_crc32c(np.frombuffer(b"123456789", np.uint8)[None])]
    ['0xc78ab0e5']
    """
    count, length = rows.shape
    padding = -length % _WIDTH if length > _WIDTH else 0  # leading zeros contribute nothing
    text = np.zeros((count, padding + length), np.uint8)
    text[:, padding:] = rows
    text[:, padding : padding + 4] ^= np.uint8(255)  # the register starts with all bits set
    checks = _combine(text)
    if length < 4:
        checks ^= np.uint32(0xFFFFFFFF >> 8 * length)
    checks ^= np.uint32(0xFFFFFFFF)
    return cast("_Words", (checks >> np.uint32(15) | checks << np.uint32(17)) + np.uint32(0xA282EAD8))


def masked_crc32c_of_bytes(text: bytes) -> int:
    """Return the masked checksum of one short text.

    >>> hex(masked_crc32c_of_bytes(b"123456789"))
    '0xc78ab0e5'
    """
    table, check = _byte_table(), 0xFFFFFFFF
    for byte in text:
        check = table[(check ^ byte) & 255] ^ check >> 8
    check ^= 0xFFFFFFFF
    return ((check >> 15 | check << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _combine(text: NDArray[np.uint8]) -> _Words:
    """XOR the contributions of the bytes of each row; a row has at most ``_WIDTH`` bytes or a multiple of it."""
    count, length = text.shape
    if length <= _WIDTH:
        table = _contributions()[_WIDTH - length :]
        checks = np.zeros(count, np.uint32)
        for place, column in enumerate(np.ascontiguousarray(text.T)):
            checks ^= table[place].take(column)
        return checks
    pieces = length // _WIDTH
    sums: _Words = _combine(text.reshape(count * pieces, _WIDTH)).reshape(count, pieces)
    level = 0
    while sums.shape[1] > 1:  # shift each piece across its right neighbour and join the two, then join the pairs
        if sums.shape[1] % 2:
            sums = np.concatenate([np.zeros((count, 1), np.uint32), sums], axis=1)
        sums = _shift(sums[:, 0::2], _shift_table(level)) ^ sums[:, 1::2]
        level += 1
    return sums[:, 0]


def _shift(checks: _Words, table: _Words) -> _Words:
    shifted: _Words = table[0].take(checks & np.uint32(255))
    for byte in (1, 2, 3):
        shifted = shifted ^ table[byte].take(checks >> np.uint32(8 * byte) & np.uint32(255))
    return shifted


@lru_cache(maxsize=1)
def _contributions() -> _Words:
    """Return the contribution of each byte value at each position of a piece: [position, value]."""
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
def _shift_table(level: int) -> _Words:
    """Return what each byte of a checksum becomes when ``2**level`` pieces of zeros follow."""
    if level:
        return _shift(_shift_table(level - 1), _shift_table(level - 1))
    # a following piece of zeros changes a checksum as if its bytes were the first four of the piece
    return _contributions()[:4].copy()


@lru_cache(maxsize=1)
def _byte_table() -> list[int]:
    return cast("list[int]", _contributions()[-1].tolist())
