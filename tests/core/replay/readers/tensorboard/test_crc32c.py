"""The checksum CRC-32C."""

import crc32c
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.readers.tensorboard.crc32c import masked_crc32c


@given(st.binary(max_size=2000), st.integers(1, 3))
def test_checksums_are_those_of_the_wheel(text: bytes, rows: int):
    """For texts of any length, one or many at once, the checksum is that of the crc32c package."""
    check = crc32c.crc32c(text)
    expected = ((check >> 15 | check << 17) + 0xA282EAD8) & 0xFFFFFFFF
    table = np.tile(np.frombuffer(text, np.uint8), (rows, 1))

    assert masked_crc32c(table).tolist() == [expected] * rows
