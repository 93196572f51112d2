"""Reader of the numbers in an event file.

Most records of one length differ only in the time, the step, the tags and the numbers. So one record is parsed, and the
same bytes are extracted from all records with the same layout at once. A record with a unique layout is parsed alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ....errors import SettingsError
from .message_layout import RecordLayout, begins_with_scalar, decode_number, item_size, parse_layout
from .record_file import RecordBatch, read_records

_MOST_LAYOUTS = 64
"""The number of layouts that are tried on the records of one length in one block."""


class Scalars(NamedTuple):
    """Numbers in the order of writing."""

    names: tuple[str, ...]
    """All tags."""
    tags: NDArray[np.int32]
    """The index in ``names`` of each number."""
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    """The time of writing of each number, in seconds since 1970."""
    values: NDArray[np.float64]
    restarts: tuple[tuple[int, int], ...]
    """For each restart the count of numbers before it and its step: those with this or a later step are void."""


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


class _Columns(NamedTuple):
    tags: NDArray[np.int32]
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    values: NDArray[np.float64]


class _Collector:
    def __init__(self) -> None:
        self.names: dict[bytes, int] = {}
        self.parts: list[tuple[NDArray[np.int64], _Columns]] = []
        self.restarts: list[tuple[int, int]] = []

    def add(self, batch: RecordBatch) -> None:
        left = np.arange(len(batch.offsets))
        for _ in range(_MOST_LAYOUTS):
            if not left.size:
                return
            record = batch.rows[left[0]].tobytes()
            layout = parse_layout(record)
            alike = left[:1]
            if layout.scalars and all(scalar.dtype for scalar in layout.scalars):
                alike = left[_has_layout(record, layout, batch.rows[left])]
            self._extract(batch, alike, layout)
            left = left[~np.isin(left, alike, assume_unique=True)] if alike.size > 1 else left[1:]
        for index in range(left.size):
            self._extract(batch, left[index : index + 1], parse_layout(batch.rows[left[index]].tobytes()))

    def _extract(self, batch: RecordBatch, which: NDArray[np.int64], layout: RecordLayout) -> None:
        offsets, rows = batch.offsets[which], batch.rows[which]
        steps = _decode_steps(rows[:, layout.step])
        if layout.restart:
            self.restarts += zip(offsets.tolist(), steps.tolist(), strict=True)
        if not layout.scalars:
            return
        at = layout.time
        times = np.zeros(len(rows)) if at is None else _decode_numbers(rows[:, at : at + 8], "<f8")
        for scalar in layout.scalars:
            if scalar.dtype:
                end = scalar.at + item_size(scalar.dtype)
                values = _decode_numbers(rows[:, scalar.at : end], scalar.dtype)
            else:
                values = np.full(len(rows), scalar.number)
            self.parts.append((offsets, _Columns(self._number_tags(rows[:, scalar.tag]), steps, times, values)))

    def _number_tags(self, texts: NDArray[np.uint8]) -> NDArray[np.int32]:
        count, length = texts.shape
        names = [b""] * count
        if length:
            joined: NDArray[Any] = np.ascontiguousarray(texts).view(f"V{length}")
            names = cast("list[bytes]", joined[:, 0].tolist())
        for name in dict.fromkeys(names):
            self.names.setdefault(name, len(self.names))
        return np.array([self.names[name] for name in names], np.int32)

    def scalars(self) -> Scalars:
        none = np.array([], np.int64)
        offsets = np.concatenate([none, *(offsets for offsets, _ in self.parts)])
        order = np.argsort(offsets, kind="stable")
        empty = _Columns(np.array([], np.int32), none, np.array([]), np.array([]))
        columns = zip(empty, *(part for _, part in self.parts), strict=True)
        tags, steps, times, values = (np.concatenate(column)[order] for column in columns)
        restarts = [(int(np.searchsorted(offsets[order], offset)), step) for offset, step in sorted(self.restarts)]
        names = tuple(name.decode(errors="replace") for name in self.names)
        return Scalars(names, tags, steps, times, values, tuple(restarts))


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


def _decode_numbers(rows: NDArray[np.uint8], dtype: str) -> NDArray[np.float64]:
    if dtype == "bfloat16":
        return np.array([decode_number(row.tobytes(), dtype) for row in rows])
    return np.ascontiguousarray(rows).view(dtype)[:, 0].astype(np.float64)
