"""Reader of the record format of TensorBoard's event files, with all checksums verified.

A file is a sequence of records: a length, its checksum, that many bytes, their checksum. The file is read in blocks, so
that a file of any size needs the memory of one block, and memory is allocated only for a length whose checksum matches.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....errors import SettingsError
from .crc32c import masked_crc32c

PATTERN = "*tfevents*"
"""The file names of event files."""

LONG = 1 << 16
"""Records above this length are read only on request: a record of numbers is short."""

_LONGEST = 1 << 26  # longer records are never read
_BLOCK = 1 << 22
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
        self.size = os.fstat(file.fileno()).st_size
        self.start = 0  # position in the file of the first byte of the current data
        self.lengths: dict[bytes, int] = {}  # header to length, of the headers that were verified

    def read(self) -> Iterator[RecordBatch]:
        data = b""
        while more := self._read_bytes(_BLOCK):
            data += more
            at = 0
            while True:
                at, offsets, lengths = self._split(data, at)
                yield from self._verify(data, offsets, lengths)
                header = data[at : at + _HEADER]
                if header == _ZEROS:
                    self._check_zeros(self.start + at)
                    return
                if len(header) < _HEADER or self._length(header, self.start + at) <= LONG:
                    break
                data, at = yield from self._read_long(data, at)
            self.start, data = self.start + at, data[at:]
        if data:
            self._note_torn_end()

    def _read_bytes(self, number: int) -> bytes:
        """Return that many bytes, fewer only at the end of the file; bytes appended since the opening are ignored."""
        return self.file.read(max(min(number, self.size - self.file.tell()), 0))

    def _split(self, data: bytes, at: int) -> tuple[int, list[int], list[int]]:
        """Return the end of the complete short records, and the offset and length of the content of each."""
        offsets: list[int] = []
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
            offsets.append(at + _HEADER)
            lengths.append(length)
            at = after
        return at, offsets, lengths

    def _length(self, header: bytes, offset: int) -> int:
        length, check = struct.unpack("<QI", header)
        if masked_crc32c(np.frombuffer(header[:8], np.uint8)[None])[0] != check:
            raise self._damage(offset)
        if length <= LONG:
            self.lengths[header] = length
        return int(length)

    def _verify(self, data: bytes, offsets: list[int], lengths: list[int]) -> Iterator[RecordBatch]:
        if not offsets:
            return
        all_begins, all_lengths = np.array(offsets, np.int64), np.array(lengths, np.int64)
        order = np.argsort(all_lengths, kind="stable")
        bounds = np.flatnonzero(np.diff(all_lengths[order])) + 1
        for group in np.split(order, bounds):
            length, begins = int(all_lengths[group[0]]), all_begins[group]
            texts = np.ndarray(len(data) - length - 3, f"V{length + _FOOTER}", data, strides=(1,))[begins]
            rows = texts.view(np.uint8).reshape(len(begins), length + _FOOTER)
            checks = np.ascontiguousarray(rows[:, length:]).view("<u4")[:, 0]
            bad = masked_crc32c(rows[:, :length]) != checks
            if bad.any():
                raise self._damage(self.start + int(begins[bad.argmax()]) - _HEADER)
            yield RecordBatch(self.start + begins, rows[:, :length])

    def _read_long(self, data: bytes, at: int) -> Generator[RecordBatch, None, tuple[bytes, int]]:
        """Yield the long record at this position if it is wanted; return the next data and position."""
        length = self._length(data[at : at + _HEADER], self.start + at)
        after = at + _HEADER + length + _FOOTER
        if self.start + after > self.size:
            self._note_torn_end()
            after = self.size - self.start
        else:
            data += self._read_bytes(min(after, at + LONG) - len(data))
            if self.wanted(data[at + _HEADER : at + LONG]):
                if length > _LONGEST:
                    self.notes.append(f"{self.path.name}: a record of {length:,} bytes is left out.")
                else:
                    data += self._read_bytes(after - len(data))
                    yield from self._verify(data, [at + _HEADER], [length])
        if after <= len(data):
            return data, after
        self.start += after
        self.file.seek(self.start)
        return b"", 0

    def _note_torn_end(self) -> None:
        self.notes.append(f"{self.path.name} ends inside a record, as after a killed run: that record is left out.")

    def _check_zeros(self, offset: int) -> None:
        """Accept zeros up to the end of the file, which a power failure leaves; refuse them elsewhere."""
        self.file.seek(offset)
        while block := self._read_bytes(_BLOCK):
            if block.strip(b"\0"):
                raise self._damage(offset)
        self.notes.append(f"{self.path.name} ends in zeros, as after a power failure: the data there are lost.")

    def _damage(self, offset: int) -> SettingsError:
        if offset == 0:
            return SettingsError(f"{str(self.path)!r} is not a TensorBoard event file, or its beginning is damaged")
        return SettingsError(
            f"{str(self.path)!r} is damaged at byte {offset:,} of {self.size:,}: a checksum does not match; to read "
            f"what is before it, copy the file and run `truncate --size={offset}` on the copy"
        )
