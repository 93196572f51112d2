"""Copies arrays with two threads, each of which takes the next piece when it is free."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"
Copy: TypeAlias = tuple[Array, Array]
"""The target and the source of a copy, of the same shape and type."""

PIECE = 1 << 21
"""Bytes in one piece; at the end, a thread waits for at most one piece."""
SMALL = 1 << 18
"""Bytes below which copying an array costs less than handing it to a thread."""


class ParallelCopier:
    """Copies arrays with the calling thread and one helper.

    One thread rarely uses the full memory bandwidth; a second one helps if a processor is free. If not, the caller does
    not wait: each thread takes the next piece when it is ready, so the caller copies all pieces while the helper
    sleeps. Threads that split the work evenly, as in numerical libraries, wait for the slowest one.
    """

    def __init__(self) -> None:
        self._helper: ThreadPoolExecutor | None = None

    def copy(self, copies: Iterable[Copy]) -> None:
        """Fill each target from its source; return when all are filled.

        >>> target = np.zeros((3, 2))
        >>> ParallelCopier().copy([(target, np.ones((3, 2)))])
        >>> target.sum()
        np.float64(6.0)
        """
        pieces: deque[Copy] = deque()
        for target, source in copies:
            if source.nbytes < SMALL:
                np.copyto(target, source)
            else:
                pieces.extend(_split(target, source))
        if len(pieces) < 2:
            _copy_pieces(pieces)
            return
        if self._helper is None:
            self._helper = ThreadPoolExecutor(1, thread_name_prefix="trainbus-copier")
        try:
            helping = self._helper.submit(_copy_pieces, pieces)
        except RuntimeError:  # the interpreter is shutting down, or no thread can be started
            _copy_pieces(pieces)
            return
        _copy_pieces(pieces)
        if not helping.cancel():  # do not wait for a helper that has not started: after a fork it does not exist
            helping.result()


def _split(target: Array, source: Array) -> Iterator[Copy]:
    rows = max(len(source) * PIECE // source.nbytes, 1) if source.ndim else 1
    if not source.ndim or len(source) <= rows:
        yield target, source
        return
    for start in range(0, len(source), rows):
        yield target[start : start + rows], source[start : start + rows]


def _copy_pieces(pieces: deque[Copy]) -> None:
    while pieces:
        try:
            target, source = pieces.popleft()
        except IndexError:  # the other thread was faster
            return
        np.copyto(target, source)


def same_bytes(one: Array, other: Array) -> bool:
    """Return whether two arrays are bit for bit the same; NaNs with the same bits are equal.

    >>> same_bytes(np.array([np.nan, 0.0]), np.array([np.nan, 0.0])), same_bytes(np.array(0.0), np.array(-0.0))
    (True, False)
    """
    pair = [np.ascontiguousarray(each).reshape(-1).view(np.uint8) for each in (one, other)]
    # piece by piece, so that what is compared stays near the processor
    pieces = range(0, pair[0].size, PIECE)
    return pair[0].size == pair[1].size and all(
        np.array_equal(pair[0][start : start + PIECE], pair[1][start : start + PIECE]) for start in pieces
    )
