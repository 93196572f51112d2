"""Checks of zip archives and NumPy arrays before they are unpacked: the declared sizes must fit the file."""

from __future__ import annotations

import os
from math import prod
from typing import IO, Any
from zipfile import ZipFile

from numpy.lib import format as npy

from ..limits import DIMENSIONS, unpacked_limit
from .sizes import format_bytes

NPY, ZIP = b"\x93NUMPY", b"PK\x03\x04"
"""The first bytes of an array in the format of ``numpy.save``, and of a zip archive."""


def check_archive(file: IO[bytes]) -> dict[str, int]:
    """Return name to unpacked size of each entry of a zip archive.

    Args:
        file: The archive, which must be seekable.

    Raises:
        ValueError: The archive would unpack to much more than its size, or two entries have the same name.
        BadZipFile: The file is not an archive, or is damaged.
    """
    limit = unpacked_limit(_size(file))
    with ZipFile(file) as archive:
        entries = archive.infolist()
    sizes = {entry.filename: entry.file_size for entry in entries}
    if len(sizes) < len(entries):
        raise ValueError("the archive has two entries with the same name")
    check_unpacked(sum(sizes.values()), limit)
    file.seek(0)
    return sizes


def check_unpacked(total: int, limit: int) -> None:
    """Raise an error if a file would unpack to more bytes than ``limit``, the result of ``unpacked_limit``.

    Raises:
        ValueError: The file would unpack to more bytes.
    """
    if total > limit:
        raise ValueError(
            f"it would unpack to {format_bytes(total)}, more than the {format_bytes(limit)} that its size allows; "
            "save it again without compression"
        )


def check_arrays(file: IO[bytes]) -> None:
    """Check every array in an archive and in nested archives.

    Args:
        file: The archive, which must be seekable. It may also contain other kinds of entries.

    Raises:
        ValueError: The archive or a nested archive would unpack to much more than its size; or an array declares a
            shape that does not fit its bytes.
        BadZipFile: The file is not an archive, or is damaged.
    """
    sizes = check_archive(file)
    with ZipFile(file) as archive:
        for name, size in sizes.items():
            with archive.open(name) as entry:
                start = entry.read(len(NPY))
                entry.seek(0)
                if start == NPY:
                    _check_array(entry, name, size)
                elif start.startswith(ZIP):
                    check_arrays(entry)
    file.seek(0)


def _check_array(file: IO[bytes], name: str, size: int) -> None:
    version: tuple[int, int] = npy.read_magic(file)
    # versions 2.0 and 3.0 differ only in the encoding of field names
    read: Any = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    needed = prod(shape) * dtype.itemsize
    if len(shape) > DIMENSIONS or min(shape, default=0) < 0 or needed > size - file.tell():
        raise ValueError(
            f"{name!r} declares an array of {format_bytes(max(needed, 0))}, which does not fit its {size} bytes"
        )


def _size(file: IO[bytes]) -> int:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size
