"""CRC-32C, the checksum of TensorBoard's event files, computed for many byte strings of equal length at once.

The checksum is linear over GF(2): the final register is the XOR of one register per 32-bit word, computed as if all
later words were zeros. So neighbouring words are combined in pairs, level by level, in all strings at once. This needs
neither a Python loop over bytes nor a further package.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

_Words: TypeAlias = NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78


def masked_crc32c(rows: NDArray[np.uint8]) -> _Words:
    """Return the checksum of each row, masked (rotated and offset) as event files store it.

    >>> [hex(check) for check in masked_crc32c(np.frombuffer(b"123456789", np.uint8)[None])]
    ['0xc78ab0e5']
    """
    count, length = rows.shape
    padding = -length % 4 if length else 4  # leading zeros contribute nothing
    text = np.zeros((count, padding + length), np.uint8)
    text[:, padding:] = rows
    text[:, padding : padding + 4] ^= np.uint8(255)  # the register starts with all bits set
    words: _Words = text.view("<u4")
    level = 0
    while words.shape[1] > 1:
        if words.shape[1] % 2:
            words = np.concatenate([np.zeros((count, 1), np.uint32), words], axis=1)
        words = _append_zeros(words[:, 0::2], level) ^ words[:, 1::2]
        level += 1
    checks = _append_zeros(words[:, 0], 0)
    if length < 4:
        checks ^= np.uint32(0xFFFFFFFF >> 8 * length)
    checks ^= np.uint32(0xFFFFFFFF)
    return cast("_Words", (checks >> np.uint32(15) | checks << np.uint32(17)) + np.uint32(0xA282EAD8))


def _append_zeros(registers: _Words, level: int) -> _Words:
    """Return the registers after ``2**level`` more words of zeros."""
    table = _table(level)
    after: _Words = table[0].take(registers & np.uint32(255))
    for byte in (1, 2, 3):
        after ^= table[byte].take(registers >> np.uint32(8 * byte) & np.uint32(255))
    return after


@cache
def _table(level: int) -> _Words:
    """Return the register for each value of each of its bytes after ``2**level`` words of zeros: [byte, value]."""
    registers: _Words = np.arange(256, dtype=np.uint32) << np.uint32(8) * np.arange(4, dtype=np.uint32)[:, None]
    if level:
        return _append_zeros(_append_zeros(registers, level - 1), level - 1)
    for _ in range(32):
        registers = registers >> np.uint32(1) ^ np.uint32(_POLYNOMIAL) * (registers & np.uint32(1))
    return registers
