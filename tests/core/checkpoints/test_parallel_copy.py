"""Whichever thread copies a slice, every array is copied when the call returns."""

import gc
import threading
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.core.storage.dying import in_child
from trainbus.checkpoints.parallel_copy import PIECE, SMALL, ParallelCopier

COPIER = ParallelCopier()


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Return arrays of distinct numbers, of sizes near the limits; in any memory order, also parts of larger ones."""
    kind = draw(st.sampled_from([np.int64, np.int32, np.complex128]))
    length = draw(st.sampled_from([0, 1, SMALL, PIECE, 3 * PIECE])) // np.dtype(kind).itemsize
    length += draw(st.sampled_from([0, 1, 7]))
    columns = draw(st.sampled_from([None, 1, 3, max(length, 1)]))
    array = np.arange(length, dtype=kind)
    if columns is None:
        return array.reshape(()) if length == 1 else array
    array = array[: length // columns * columns].reshape(-1, columns)
    return draw(st.sampled_from([array, array.T, np.asfortranarray(array), array[::2], array[:, ::-1]]))


@given(sources=st.lists(arrays(), max_size=5))
def test_every_array_is_copied(sources: list[np.ndarray[Any, Any]]) -> None:
    """Each target then equals its source, of any size, in any memory order, one or several at a time."""
    targets = [np.full_like(each, -1) for each in sources]
    COPIER.copy(zip(targets, sources, strict=True))
    for target, source in zip(targets, sources, strict=True):
        np.testing.assert_array_equal(target, source)


def test_a_forked_process_copies_by_itself() -> None:
    """A forked process has no threads of its parent, and waits for none of them."""
    source = np.arange(3 * PIECE, dtype=np.uint8)

    def work() -> None:
        target = np.zeros_like(source)
        COPIER.copy([(target, source)])
        assert np.array_equal(target, source)

    work()
    assert in_child(work) == 0


def test_the_second_thread_goes_with_its_copier() -> None:
    """A copier that is garbage-collected leaves no thread behind."""
    before, copier = threading.enumerate(), ParallelCopier()
    copier.copy([(np.zeros(PIECE, np.int64), np.ones(PIECE, np.int64))])
    (helper,) = set(threading.enumerate()).difference(before)
    del copier
    gc.collect()
    helper.join(60)
    assert helper not in threading.enumerate()
