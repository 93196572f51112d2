"""Memory for copies of arrays, which is reused when a copy and all its views are garbage-collected.

A copy into new memory takes two or three times as long, since the system must first clear and map every page. The
copies of a training's state have their own memory (``HostBuffers``): one buffer for each key, overwritten by the next
copy. Here several copies of one array can be alive at once, and nothing reports when a copy is no longer needed.
"""

from __future__ import annotations

from collections import deque
from typing import Any, TypeAlias

import numpy as np

from trainbus.checkpoints.parallel_copy import ParallelCopier

LARGE = 8 << 20
"""Minimum bytes of a pooled array; the allocator rarely returns smaller memory to the system."""

Array: TypeAlias = "np.ndarray[Any, Any]"


class BufferPool:
    """Copies arrays into memory that returns to the pool when the copy and all its views are garbage-collected.

    One thread creates copies; any thread may drop them.

    Args:
        most: Bytes of unused memory that the pool may hold; the rest is returned to the system.
        least: Bytes below which a copy gets its own memory.
    """

    def __init__(self, most: int, least: int = LARGE) -> None:
        self.most, self.least = most, least
        self._back: deque[Array] = deque()  # __del__ runs in any thread, at any time: it only appends
        self._free: dict[int, list[Array]] = {}  # by size, as the same arrays are copied again and again
        self._unused = 0
        self._copier = ParallelCopier()

    def copy(self, array: Array) -> Array:
        """Return a copy in C order.

        >>> BufferPool(1 << 30, least=0).copy(np.array([[1, 2], [3, 4]]).T)
        array([[1, 3],
               [2, 4]])
        """
        if array.nbytes < self.least:
            return array.copy()
        loan = np.asarray(_Loan(self._take(array.nbytes), self._back))
        copied: Array = loan.view(array.dtype).reshape(array.shape)
        self._copier.copy([(copied, array)])
        return copied

    def _take(self, size: int) -> Array:
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
    """The base of an array in pool memory, and of all its views."""

    def __init__(self, memory: Array, back: deque[Array]) -> None:
        self.memory, self.back = memory, back
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self.back.append(self.memory)
