"""Reader of the record format of TensorBoard's event files, with all checksums verified.

A file is a sequence of records: a length, its checksum, that many bytes, their checksum. Records are collected up to
the size of a block, so that a file of any size needs the memory of one block, and are then verified together. Memory
is allocated only for a length whose checksum matches.
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....errors import SettingsError
from .crc32c import masked_crc32c

LONG = 1 << 16
"""Records above this length are read only on request: a record of numbers is short."""

_LONGEST = 1 << 26  # longer records are never read
_BLOCK = 1 << 21
_HEADER, _FOOTER = 12, 4
_ZEROS = bytes(_HEADER)


class RecordBatch(NamedTuple):
    """Records of one length, in the order of the file."""

    offsets: NDArray[np.int64]
    """The position of each record in the file."""
    rows: NDArray[np.uint8]
    """The content of each record, one per row."""


def read_records(path: Path, wanted: Callable[[bytes], bool], notes: list[str]) -> Iterator[RecordBatch]:
    """Yield the records of a file, block by block and within a block by their length.

    Args:
        path: The file.
        wanted: Called with the beginning of a long record; returns whether to read it.
        notes: Receives a sentence if the end of the file is missing.

    Raises:
        SettingsError: The file is not an event file, or is damaged.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        yield from _Reader(path, file, wanted, notes).read()


class _Reader:
    def __init__(self, path: Path, file: BinaryIO, wanted: Callable[[bytes], bool], notes: list[str]) -> None:
        self.path, self.file, self.wanted, self.notes = path, file, wanted, notes
        self.size = os.fstat(file.fileno()).st_size  # bytes appended from now on are ignored
        self.lengths: dict[bytes, int] = {}  # header to length, of the headers that were verified

    def read(self) -> Iterator[RecordBatch]:
        block: defaultdict[int, tuple[list[int], list[bytes]]] = defaultdict(lambda: ([], []))
        place = held = 0
        while place < self.size:
            header = self.file.read(_HEADER)
            if header == _ZEROS:
                self._check_zeros(place)
                break
            length = self.lengths.get(header, -1)
            if length < 0:
                length = self._length(header, place)
            begin, end = place + _HEADER, place + _HEADER + length + _FOOTER
            place = end
            if end <= self.size and length > LONG and not self._is_wanted(length, begin):
                self.file.seek(end)
                continue
            content = self.file.read(length + _FOOTER) if end <= self.size else b""
            if len(content) < length + _FOOTER:
                words = "ends inside a record, as after a killed run: that record is left out."
                self.notes.append(f"{self.path.name} {words}")
                break
            offsets, contents = block[length]
            offsets.append(begin)
            contents.append(content)
            held += len(content)
            if held > _BLOCK:
                yield from self._verify(block)
                block.clear()
                held = 0
        yield from self._verify(block)

    def _length(self, header: bytes, place: int) -> int:
        """Return the length in a header; for an incomplete header at the end of the file, the size of the file."""
        if len(header) < _HEADER:
            return self.size
        length, check = struct.unpack("<QI", header)
        if masked_crc32c(np.frombuffer(header[:8], np.uint8)[None])[0] != check:
            raise self._damage(place)
        if length <= LONG:
            self.lengths[header] = length
        return int(length)

    def _is_wanted(self, length: int, begin: int) -> bool:
        """Return whether to read the long record that begins here."""
        wanted = self.wanted(self.file.read(LONG))
        if wanted and length > _LONGEST:
            self.notes.append(f"{self.path.name}: a record of {length:,} bytes is left out.")
        self.file.seek(begin)
        return wanted and length <= _LONGEST

    def _verify(self, block: dict[int, tuple[list[int], list[bytes]]]) -> Iterator[RecordBatch]:
        for length, (offsets, contents) in sorted(block.items()):
            rows = np.frombuffer(b"".join(contents), np.uint8).reshape(len(offsets), length + _FOOTER)
            checks = np.ascontiguousarray(rows[:, length:]).view("<u4")[:, 0]
            bad = masked_crc32c(rows[:, :length]) != checks
            if bad.any():
                raise self._damage(offsets[int(bad.argmax())] - _HEADER)
            yield RecordBatch(np.array(offsets, np.int64), rows[:, :length])

    def _check_zeros(self, place: int) -> None:
        """Accept zeros up to the end of the file, which a power failure can leave; refuse zeros elsewhere."""
        while zeros := self.file.read(_BLOCK):
            if zeros.strip(b"\0"):
                raise self._damage(place)
        self.notes.append(f"{self.path.name} ends in zeros, as after a power failure: the data there are lost.")

    def _damage(self, offset: int) -> SettingsError:
        if offset == 0:
            return SettingsError(f"{str(self.path)!r} is not a TensorBoard event file, or its beginning is damaged")
        return SettingsError(
            f"{str(self.path)!r} is damaged at byte {offset:,} of {self.size:,}: a checksum does not match; to read "
            f"what is before it, copy the file and run `truncate --size={offset}` on the copy"
        )
