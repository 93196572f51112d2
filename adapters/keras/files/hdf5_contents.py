"""Read a complete file of HDF5, within the memory that its size explains."""

# h5py declares no types
# pyright: basic

from __future__ import annotations

from math import prod
from typing import Any

import h5py  # type: ignore[import-untyped, unused-ignore]

from trainbus.storage.archive import check_unpacked


def read_all(file: h5py.File, size: int, limit: int) -> None:
    """Read all values and attributes of a file.

    A value of variable length, such as a text, is a pointer into the file, and many pointers may lead to the same
    bytes. So these values are read a few at a time, and counted.

    Args:
        file: The open file.
        size: Its length in bytes; no value of variable length is longer.
        limit: How many bytes the values of datasets may need in total.

    Raises:
        ValueError: The values need more, or are in another file, or are of a kind that Keras does not write.
        OSError: The file is damaged.
    """
    reader = _Reader(size, limit)
    for read in (reader.look, reader.read):
        read("/", file)
        file.visititems(read)


class _Reader:
    def __init__(self, size: int, limit: int) -> None:
        self._size, self._limit = max(size, 1), limit
        self._declared = self._variable = 0

    def look(self, name: str, found: Any) -> None:
        """Check what is declared, before anything is read."""
        if isinstance(found, h5py.Dataset):
            if found.external or found.is_virtual:
                raise ValueError(f"{name!r} is in another file")
            if _is_variable(name, found.dtype) and found.chunks is not None:  # each look would unpack a chunk
                raise ValueError(f"{name!r} holds texts in chunks, which Keras does not write")
            self._declare(found.nbytes)
        for key in found.attrs:
            attribute = found.attrs.get_id(key)
            count = prod(attribute.shape)
            # it is read at once
            self._declare(count * (self._size if _is_variable(name, attribute.dtype) else attribute.dtype.itemsize), 0)

    def read(self, name: str, found: Any) -> None:
        """Read the values and attributes of a dataset or group."""
        for key in found.attrs:
            value, variable = found.attrs[key], _is_variable(name, found.attrs.get_id(key).dtype)
            if variable:
                self._count([value] if isinstance(value, (str, bytes)) else value)
        if isinstance(found, h5py.Dataset):
            if not _is_variable(name, found.dtype):
                found[()]
            elif found.shape == ():
                self._count([found[()]])
            elif found.size:
                self._read_rows(found)

    def _read_rows(self, found: Any) -> None:
        row = prod(found.shape[1:])
        self._declare(row * self._size, 0)
        step = max(self._limit // (self._size * row), 1)
        for first in range(0, found.shape[0], step):
            self._count(found[first : first + step].ravel())

    def _declare(self, needed: int, kept: int | None = None) -> None:
        """Count bytes, of which ``kept`` are needed together with all others."""
        check_unpacked(self._declared + needed, self._limit)
        self._declared += needed if kept is None else kept

    def _count(self, values: Any) -> None:
        for each in values:
            self._variable += each.nbytes if hasattr(each, "nbytes") else len(each or "")
        check_unpacked(self._declared + self._variable, self._limit)


def _is_variable(name: str, kind: Any) -> bool:
    """Return whether values have a variable length; refuse kinds that hide such values, or refer to other ones."""
    if not kind.hasobject:
        return False
    text, inner = h5py.check_string_dtype(kind), h5py.check_vlen_dtype(kind)
    if text is None and (inner is None or inner.hasobject):
        raise ValueError(f"{name!r} is of the kind {kind}, which Keras does not write")
    return True
