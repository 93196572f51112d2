"""A buffer that is reused has only one user at a time."""

from collections import deque
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trainbus.checkpoints.parallel_copy import SMALL
from trainbus.plugins.tensorboard.writer.buffer_pool import BufferPool

MOST = 4 * SMALL


class Lending(RuleBasedStateMachine):
    """Makes and drops copies and views of them, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers = BufferPool(MOST, SMALL)
        self.held: deque[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = deque(maxlen=4)

    @rule(
        size=st.sampled_from([0, SMALL - 32, SMALL, 2 * SMALL]),
        dtype=st.sampled_from([np.uint8, np.float32, np.complex128]),
        start=st.integers(0, 100),
        form=st.sampled_from(["flat", "columns", "turned", "scalar"]),
    )
    def copy(self, size: int, dtype: type, start: int, form: str) -> None:
        """Make a copy."""
        array = np.arange(start, start + size // np.dtype(dtype).itemsize).astype(dtype)
        if form == "scalar":
            array = np.array(start, dtype)
        elif form != "flat":
            array = array.reshape(-1, 2) if form == "columns" else array.reshape(2, -1).T
        copied = self.buffers.copy(array)
        assert (copied.dtype, copied.shape) == (array.dtype, array.shape)
        assert copied.flags.c_contiguous
        assert copied.flags.writeable
        assert not np.shares_memory(copied, array)
        self.held.append((copied, array.copy()))

    @rule()
    def view(self) -> None:
        """Replace a held array by a view of a part of it."""
        if self.held:
            copied, expected = self.held.popleft()
            self.held.append((copied.ravel().view(np.uint8)[5:], expected.ravel().view(np.uint8)[5:]))

    @rule()
    def drop(self) -> None:
        """Drop one array."""
        if self.held:
            self.held.popleft()

    @invariant()
    def is_intact(self) -> None:
        """The buffer equals its source."""
        for copied, expected in self.held:
            np.testing.assert_array_equal(copied, expected)


TestLending = Lending.TestCase


def test_memory_is_reused_up_to_a_limit() -> None:
    """An array copied each epoch allocates once; memory beyond the limit is returned to the system."""
    buffers, array = BufferPool(MOST, SMALL), np.zeros(SMALL, np.uint8)
    places = {buffers.copy(array).ctypes.data for _ in range(10)}
    assert len(places) == 1
    copies = [buffers.copy(array) for _ in range(10)]
    lent = {each.ctypes.data for each in copies}
    del copies
    again = [buffers.copy(array) for _ in range(10)]
    kept = MOST // SMALL
    assert [each.ctypes.data in lent for each in again[:kept]] == [True] * kept
    assert len({each.ctypes.data for each in again}) == 10
