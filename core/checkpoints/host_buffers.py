"""Host memory that is reused for each copy of the training state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .parallel_copy import Array, Copy, ParallelCopier


def _empty_array(source: Array) -> Array:
    return np.empty_like(source, order="C", subok=False)


class HostBuffers:
    """Keeps one array or tensor for each key, so that only the first copy of a state has to allocate memory.

    Args:
        allocate: Returns memory for a copy of its argument; NumPy arrays in C order by default.

    >>> buffers, weights = HostBuffers(), np.ones(3)
    >>> first = buffers.take("weights", weights)
    >>> buffers.fill([(first, weights)])
    >>> first.sum(), buffers.take("weights", weights) is first, buffers.take("weights", np.ones(4)) is first
    (np.float64(3.0), True, False)
    """

    def __init__(self, allocate: Callable[[Any], Any] = _empty_array) -> None:
        self._allocate = allocate
        self._copier = ParallelCopier()
        self._kept: dict[str, Any] = {}
        self._used: set[str] = set()

    def take(self, key: str, source: Any) -> Any:
        """Return memory for a copy of ``source``: the key's last one if shape and type are the same."""
        buffer = self._kept.get(key)
        if buffer is None or (buffer.shape, buffer.dtype) != (source.shape, source.dtype):
            buffer = self._kept[key] = self._allocate(source)
        self._used.add(key)
        return buffer

    def fill(self, copies: Iterable[Copy]) -> None:
        """Copy each source to its target, with two threads."""
        self._copier.copy(copies)

    def drop_unused(self) -> None:
        """Free the memory of keys that were not taken since the last call."""
        self._kept = {key: self._kept[key] for key in self._used}
        self._used.clear()
