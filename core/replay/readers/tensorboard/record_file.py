"""TensorBoard's event files: where each record begins, and that it is what was written.

A file is a row of records: a length, its checksum, so many bytes, their checksum. It is read in blocks, so that a file
of any size needs the memory of one, and a length that no checksum vouches for makes nobody reserve any.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Generator, Iterator
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....errors import SettingsError
from .crc32c import masked_crc32c, masked_crc32c_of

__all__ = ["PATTERN", "Records", "records"]

PATTERN = "*tfevents*"
"""What the names of event files are like."""

LONG = 1 << 16
"""Longer records are read only where `wanted` says so: what holds numbers is short."""

_LONGEST = 1 << 26  # no longer ones are read at all
_BLOCK = 1 << 22
_HEADER, _FOOTER = 12, 4
_ZEROS = bytes(_HEADER)


class Records(NamedTuple):
    """Some records of one length, in the order of the file."""

    places: NDArray[np.int64]
    """Where in the file each begins."""
    rows: NDArray[np.uint8]
    """What each holds, a row for each."""


def records(path: Path, wanted: Callable[[bytes], bool], notes: list[str]) -> Iterator[Records]:
    """The records of a file, block by block and there by their length.

    Args:
        path: the file.
        wanted: whether a long record, of which it is given the beginning, is to be read.
        notes: gets a sentence where the end of the file is missing.

    Raises:
        SettingsError: it is no event file, or it is damaged.
        OSError: it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        yield from _Reader(path, file, wanted, notes).read()


class _Reader:
    def __init__(self, path: Path, file: FileIO, wanted: Callable[[bytes], bool], notes: list[str]) -> None:
        self.path, self.file, self.wanted, self.notes = path, file, wanted, notes
        self.size = os.fstat(file.fileno()).st_size
        self.start = 0  # where in the file the data begins that is held
        self.lengths: dict[bytes, int] = {}  # header to length, of those that were checked

    def read(self) -> Iterator[Records]:
        data = b""
        while more := self._more(_BLOCK):
            data += more
            at = 0
            while True:
                at, places, lengths = self._split(data, at)
                yield from self._checked(data, places, lengths)
                header = data[at : at + _HEADER]
                if header == _ZEROS:
                    self._zeros(self.start + at)
                    return
                if len(header) < _HEADER or self._length(header, self.start + at) <= LONG:
                    break
                data, at = yield from self._long(data, at)
            self.start, data = self.start + at, data[at:]
        if data:
            self._torn()

    def _more(self, number: int) -> bytes:
        """So many bytes, less only at the end of the file; what is appended meanwhile is not looked at."""
        parts: list[bytes] = []
        number = min(number, self.size - self.file.tell())
        while number > 0 and (part := self.file.read(number)):
            parts.append(part)
            number -= len(part)
        return b"".join(parts)

    def _split(self, data: bytes, at: int) -> tuple[int, list[int], list[int]]:
        """Where the whole records end, and where the content of each begins and how long it is."""
        places: list[int] = []
        lengths: list[int] = []
        last, known = len(data) - _HEADER, self.lengths
        while at <= last:
            header = data[at : at + _HEADER]
            length = known.get(header, -1)
            if length < 0:
                if header == _ZEROS:
                    break
                length = self._length(header, self.start + at)
            after = at + _HEADER + length + _FOOTER
            if after > len(data) or length > LONG:
                break
            places.append(at + _HEADER)
            lengths.append(length)
            at = after
        return at, places, lengths

    def _length(self, header: bytes, place: int) -> int:
        length, check = struct.unpack("<QI", header)
        if masked_crc32c_of(header[:8]) != check:
            raise self._damage(place)
        if length <= LONG:
            self.lengths[header] = length
        return int(length)

    def _checked(self, data: bytes, places: list[int], lengths: list[int]) -> Iterator[Records]:
        if not places:
            return
        at, long = np.array(places, np.int64), np.array(lengths, np.int64)
        order = np.argsort(long, kind="stable")
        bounds = np.flatnonzero(np.diff(long[order])) + 1
        for group in np.split(order, bounds):
            length, begins = int(long[group[0]]), at[group]
            texts = np.ndarray(len(data) - length - 3, f"V{length + _FOOTER}", data, strides=(1,))[begins]
            rows = texts.view(np.uint8).reshape(len(begins), length + _FOOTER)
            checks = np.ascontiguousarray(rows[:, length:]).view("<u4")[:, 0]
            bad = masked_crc32c(rows[:, :length]) != checks
            if bad.any():
                raise self._damage(self.start + int(begins[bad.argmax()]) - _HEADER)
            yield Records(self.start + begins, rows[:, :length])

    def _long(self, data: bytes, at: int) -> Generator[Records, None, tuple[bytes, int]]:
        """The long record that begins there, if it is wanted; the data to go on with, and where in it."""
        length = self._length(data[at : at + _HEADER], self.start + at)
        after = at + _HEADER + length + _FOOTER
        if self.start + after > self.size:
            self._torn()
            after = self.size - self.start
        else:
            data += self._more(min(after, at + LONG) - len(data))
            if self.wanted(data[at + _HEADER : at + LONG]):
                if length > _LONGEST:
                    self.notes.append(f"{self.path.name}: a record of {length:,} bytes is left out.")
                else:
                    data += self._more(after - len(data))
                    yield from self._checked(data, [at + _HEADER], [length])
        if after <= len(data):
            return data, after
        self.start += after
        self.file.seek(self.start)
        return b"", 0

    def _torn(self) -> None:
        self.notes.append(f"{self.path.name} ends inside a record, as a killed run leaves it: that record is left out.")

    def _zeros(self, place: int) -> None:
        """Zeros may stand at the end of a file whose machine died, and nowhere else."""
        self.file.seek(place)
        while block := self._more(_BLOCK):
            if block.strip(b"\0"):
                raise self._damage(place)
        self.notes.append(f"{self.path.name} ends in zeros, as after a power failure: what they replaced is lost.")

    def _damage(self, place: int) -> SettingsError:
        if place == 0:
            return SettingsError(
                f"{str(self.path)!r} is no event file of TensorBoard, or is damaged from its beginning"
            )
        return SettingsError(
            f"{str(self.path)!r} is damaged at byte {place:,} of {self.size:,}: a checksum is wrong; what is before "
            f"it can be read from a copy that was cut with `truncate --size={place}`"
        )
