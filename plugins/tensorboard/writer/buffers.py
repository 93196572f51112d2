"""Memory that copies of arrays are laid into, one after the other.

A copy of a large array into fresh memory costs two or three times the copying, since the system has to clear and map
every page of it first.
"""

from __future__ import annotations

from collections import deque
from typing import Any, TypeAlias

import numpy as np

from trainbus.checkpoints.parallel_copy import ParallelCopier

__all__ = ["LARGE", "Buffers"]

LARGE = 8 << 20
"""Bytes from which on this pays; smaller memory is seldom given back to the system."""

Array: TypeAlias = "np.ndarray[Any, Any]"


class Buffers:
    """Makes copies, in memory that comes back when nobody has the copy, nor any view of it, any more.

    One thread asks for copies; any may let go of them.

    Args:
        most: bytes that may lie unused when a copy is asked for; the system gets back what is beyond.
        least: bytes below which a copy has memory of its own.
    """

    def __init__(self, most: int, least: int = LARGE) -> None:
        self.most, self.least = most, least
        self._back: deque[Array] = deque()  # __del__ runs in any thread, in the midst of anything: it only appends
        self._free: dict[int, list[Array]] = {}  # by size, as the same arrays are copied again and again
        self._unused = 0
        self._copier = ParallelCopier()

    def copy(self, array: Array) -> Array:
        """A copy in C order.

        >>> Buffers(1 << 30, least=0).copy(np.array([[1, 2], [3, 4]]).T)
        array([[1, 3],
               [2, 4]])
        """
        if array.nbytes < self.least:
            return array.copy()
        loan = np.asarray(_Loan(self._taken(array.nbytes), self._back))
        copied: Array = loan.view(array.dtype).reshape(array.shape)
        self._copier.copy([(copied, array)])
        return copied

    def _taken(self, size: int) -> Array:
        while self._back:
            memory = self._back.popleft()
            if self._unused + memory.nbytes <= self.most:
                self._unused += memory.nbytes
                self._free.setdefault(memory.nbytes, []).append(memory)
        free = self._free.get(size)
        if not free:
            return np.empty(size, np.uint8)
        self._unused -= size
        return free.pop()


class _Loan:
    """What an array in lent memory belongs to, and so do all views of it."""

    def __init__(self, memory: Array, back: deque[Array]) -> None:
        self.memory, self.back = memory, back
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self.back.append(self.memory)
