"""Copies of arrays, made by two threads, whoever is free taking the next piece."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Copy", "ParallelCopier", "same_bytes"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Copy: TypeAlias = tuple[Array, Array]
"""Where to, and what."""

PIECE = 1 << 21
"""Bytes that one thread copies at a time; the end waits for one piece at most."""
SMALL = 1 << 18
"""Bytes below which an array is copied faster than it is handed over."""


class ParallelCopier:
    """Copies arrays while whoever asks for it waits.

    One thread seldom uses all that the memory can give. A second one helps where a processor is free for it. Where
    none is, the first is never kept waiting: each takes piece after piece, so what a thread that sleeps does not do is
    done by the other. Threads that share the work evenly, as those of numerical libraries, wait for the slowest.
    """

    def __init__(self) -> None:
        self._helper: ThreadPoolExecutor | None = None

    def copy(self, copies: Iterable[Copy]) -> None:
        """Fill each target, of the source's shape and type.

        >>> target = np.zeros((3, 2))
        >>> ParallelCopier().copy([(target, np.ones((3, 2)))])
        >>> target.sum()
        np.float64(6.0)
        """
        left: deque[Copy] = deque()
        for target, source in copies:
            if source.nbytes < SMALL:
                np.copyto(target, source)
            else:
                left.extend(_pieces(target, source))
        if len(left) < 2:
            _work_off(left)
            return
        if self._helper is None:
            self._helper = ThreadPoolExecutor(1, thread_name_prefix="trainbus-copier")
        try:
            helping = self._helper.submit(_work_off, left)
        except RuntimeError:  # the process is ending, or may have no more threads
            _work_off(left)
            return
        _work_off(left)
        if not helping.cancel():  # one that never began is not waited for: after a fork there is no such thread
            helping.result()


def _pieces(target: Array, source: Array) -> Iterator[Copy]:
    rows = max(len(source) * PIECE // source.nbytes, 1) if source.ndim else 1
    if not source.ndim or len(source) <= rows:
        yield target, source
        return
    for start in range(0, len(source), rows):
        yield target[start : start + rows], source[start : start + rows]


def _work_off(left: deque[Copy]) -> None:
    while left:
        try:
            target, source = left.popleft()
        except IndexError:  # the other one was faster
            return
        np.copyto(target, source)


def same_bytes(one: Array, other: Array) -> bool:
    """Whether two arrays hold the same, to the bit: also where that is no number.

    >>> same_bytes(np.array([np.nan, 0.0]), np.array([np.nan, 0.0])), same_bytes(np.array(0.0), np.array(-0.0))
    (True, False)
    """
    pair = [np.ascontiguousarray(each).reshape(-1).view(np.uint8) for each in (one, other)]
    # piece by piece, so that what is compared stays near the processor
    pieces = range(0, pair[0].size, PIECE)
    return pair[0].size == pair[1].size and all(
        np.array_equal(pair[0][start : start + PIECE], pair[1][start : start + PIECE]) for start in pieces
    )
