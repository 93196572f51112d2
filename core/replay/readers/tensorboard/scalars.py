"""Reader of the numbers in an event file.

Most records of one length differ only in the time, the step, the tags and the numbers. So one record is parsed, and the
same bytes are extracted from all records with the same layout at once. A record with a unique layout is parsed alone.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ....errors import SettingsError
from .message_layout import RecordLayout, begins_with_scalar, decode_number, item_size, parse_layout
from .record_file import RecordBatch, read_records

_MOST_LAYOUTS = 64
"""The maximum number of layouts to try on the records of one length in one block."""


NUMBER = np.dtype([("tag", "i4"), ("step", "i8"), ("time", "f8"), ("value", "f8"), ("offset", "i8")])
"""A number: the index of its tag, its step, its time in seconds since 1970, its value, and the place of its record."""


class Scalars(NamedTuple):
    """Numbers in the order of writing."""

    names: tuple[str, ...]
    """All tags."""
    numbers: NDArray[np.void]
    """The numbers, an array of ``NUMBER``."""
    restarts: tuple[tuple[int, int], ...]
    """For each restart: the count of earlier numbers, and its step; earlier numbers from that step on are void."""


def read_scalars(path: Path, notes: list[str]) -> Scalars:
    """Return all numbers of an event file.

    Args:
        path: The file.
        notes: Receives a sentence for what is missing.

    Raises:
        SettingsError: The file is not an event file, or is damaged.
        OSError: The file cannot be read.
    """
    collector = _Collector()
    for batch in read_records(path, begins_with_scalar, notes):
        try:
            collector.add(batch)
        except ValueError as error:
            raise SettingsError(f"{str(path)!r} has records that are not TensorBoard events: {error}") from None
    return collector.scalars()


class _Collector:
    def __init__(self) -> None:
        self.names: dict[bytes, int] = {}
        self.parts: list[NDArray[np.void]] = []
        self.restarts: list[tuple[int, int]] = []

    def add(self, batch: RecordBatch) -> None:
        left = np.arange(len(batch.offsets))
        for tried in count():
            if not left.size:
                return
            record = batch.rows[left[0]].tobytes()
            layout = parse_layout(record)
            alike = left[:1]
            if tried < _MOST_LAYOUTS and layout.scalars and all(scalar.dtype for scalar in layout.scalars):
                alike = left[_has_layout(record, layout, batch.rows[left])]
            self._extract(batch, alike, layout)
            left = left[~np.isin(left, alike, assume_unique=True)] if alike.size > 1 else left[1:]

    def _extract(self, batch: RecordBatch, which: NDArray[np.int64], layout: RecordLayout) -> None:
        offsets, rows = batch.offsets[which], batch.rows[which]
        steps = _decode_steps(rows[:, layout.step])
        if layout.restart:
            self.restarts += zip(offsets.tolist(), steps.tolist(), strict=True)
        for scalar in layout.scalars:
            part = np.zeros(len(rows), NUMBER)
            part["offset"], part["step"] = offsets, steps
            part["tag"] = self._number_tags(rows[:, scalar.tag])
            if layout.time is not None:
                part["time"] = _decode_numbers(rows, layout.time, "<f8")
            part["value"] = _decode_numbers(rows, scalar.at, scalar.dtype) if scalar.dtype else scalar.number
            self.parts.append(part)

    def _number_tags(self, texts: NDArray[np.uint8]) -> list[int]:
        names = [b""] * len(texts)
        if texts.size:
            joined: NDArray[Any] = np.ascontiguousarray(texts).view(f"V{texts.shape[1]}")
            names = cast("list[bytes]", joined[:, 0].tolist())
        return [self.names.setdefault(name, len(self.names)) for name in names]

    def scalars(self) -> Scalars:
        numbers = np.concatenate([np.empty(0, NUMBER), *self.parts])
        numbers = numbers[np.argsort(numbers["offset"], kind="stable")]
        places = [(int(np.searchsorted(numbers["offset"], offset)), step) for offset, step in sorted(self.restarts)]
        return Scalars(tuple(name.decode(errors="replace") for name in self.names), numbers, tuple(places))


def _has_layout(record: bytes, layout: RecordLayout, rows: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which rows differ from the record only in the bytes that the layout names."""
    fixed = np.ones(rows.shape[1], np.bool_)
    if layout.time is not None:
        fixed[layout.time : layout.time + 8] = False
    fixed[layout.step] = False
    for scalar in layout.scalars:
        fixed[scalar.tag] = False
        fixed[scalar.at : scalar.at + item_size(scalar.dtype)] = False
    alike: NDArray[np.bool_] = (rows[:, fixed] == np.frombuffer(record, np.uint8)[fixed]).all(axis=1)
    step = rows[:, layout.step]
    alike &= (step[:, :-1] > 127).all(axis=1)  # all bytes of a varint but the last have the highest bit set
    alike &= (step[:, -1:] < 128).all(axis=1)
    return alike


def _decode_steps(digits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the varint in each row."""
    steps = np.zeros(len(digits), np.uint64)
    for place, column in enumerate(digits.T):
        steps |= (column & np.uint8(127)).astype(np.uint64) << np.uint64(7 * place)
    return steps.view(np.int64)


def _decode_numbers(rows: NDArray[np.uint8], at: int, dtype: str) -> NDArray[np.float64]:
    """Return the number at this place of each row."""
    parts = rows[:, at : at + item_size(dtype)]
    if dtype == "bfloat16":
        return np.array([decode_number(part.tobytes(), dtype) for part in parts])
    return np.ascontiguousarray(parts).view(dtype)[:, 0].astype(np.float64)
