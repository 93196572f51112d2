"""The numbers in an event file.

Most records of one length differ in nothing but the time, the step, the tags and the numbers. So one record is looked
at, and the same bytes are taken out of all that are like it, at once. What is like no other is looked at by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ....errors import SettingsError
from .message_layout import Layout, begins_with_number, layout_of, number_at
from .record_file import Records, records

__all__ = ["Scalars", "read"]

_ATTEMPTS = 64
"""Kinds of records that are looked for among those of one length, in one block."""


class Scalars(NamedTuple):
    """Numbers as they were written, one after the other."""

    names: tuple[str, ...]
    """Every tag."""
    tags: NDArray[np.int32]
    """Which of the names each number has."""
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    """When each was written, in seconds since 1970."""
    values: NDArray[np.float64]
    restarts: tuple[tuple[int, int], ...]
    """How many numbers had been written, and a step: those of them that have it or a later one are void."""


def read(path: Path, notes: list[str]) -> Scalars:
    """All numbers of an event file.

    Args:
        path: the file.
        notes: gets a sentence for what is missing.

    Raises:
        SettingsError: it is no event file, or it is damaged.
        OSError: it cannot be read.
    """
    found = _Found()
    for some in records(path, begins_with_number, notes):
        try:
            found.add(some)
        except ValueError as error:
            raise SettingsError(f"{str(path)!r} holds records that are no events of TensorBoard: {error}") from None
    return found.scalars()


class _Found:
    def __init__(self) -> None:
        self.names: dict[bytes, int] = {}
        self.parts: list[tuple[NDArray[np.int64], _Columns]] = []
        self.restarts: list[tuple[int, int]] = []

    def add(self, some: Records) -> None:
        left = np.arange(len(some.places))
        for _ in range(_ATTEMPTS):
            if not left.size:
                return
            record = some.rows[left[0]].tobytes()
            layout = layout_of(record)
            alike = left[:1]
            if layout.slots and all(slot.kind for slot in layout.slots):
                alike = left[_like(record, layout, some.rows[left])]
            self._take(some, alike, layout)
            left = left[~np.isin(left, alike, assume_unique=True)] if alike.size > 1 else left[1:]
        for place in range(left.size):
            self._take(some, left[place : place + 1], layout_of(some.rows[left[place]].tobytes()))

    def _take(self, some: Records, which: NDArray[np.int64], layout: Layout) -> None:
        places, rows = some.places[which], some.rows[which]
        steps = _steps(rows[:, layout.step])
        if layout.restart:
            self.restarts += zip(places.tolist(), steps.tolist(), strict=True)
        if not layout.slots:
            return
        at = layout.time
        times = np.zeros(len(rows)) if at is None else _numbers(rows[:, at : at + 8], "<f8")
        for slot in layout.slots:
            if slot.kind:
                values = _numbers(rows[:, slot.at : slot.at + _size(slot.kind)], slot.kind)
            else:
                values = np.full(len(rows), slot.number)
            self.parts.append((places, _Columns(self._tags(rows[:, slot.tag]), steps, times, values)))

    def _tags(self, texts: NDArray[np.uint8]) -> NDArray[np.int32]:
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
        places = np.concatenate([none, *(places for places, _ in self.parts)])
        order = np.argsort(places, kind="stable")
        empty = _Columns(np.array([], np.int32), none, np.array([]), np.array([]))
        columns = zip(empty, *(part for _, part in self.parts), strict=True)
        tags, steps, times, values = (np.concatenate(column)[order] for column in columns)
        restarts = [(int(np.searchsorted(places[order], place)), step) for place, step in sorted(self.restarts)]
        names = tuple(name.decode(errors="replace") for name in self.names)
        return Scalars(names, tags, steps, times, values, tuple(restarts))


class _Columns(NamedTuple):
    tags: NDArray[np.int32]
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    values: NDArray[np.float64]


def _like(record: bytes, layout: Layout, rows: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which rows differ from the record in nothing but what the layout names."""
    fixed = np.ones(rows.shape[1], np.bool_)
    if layout.time is not None:
        fixed[layout.time : layout.time + 8] = False
    fixed[layout.step] = False
    for slot in layout.slots:
        fixed[slot.tag] = False
        fixed[slot.at : slot.at + _size(slot.kind)] = False
    alike: NDArray[np.bool_] = (rows[:, fixed] == np.frombuffer(record, np.uint8)[fixed]).all(axis=1)
    step = rows[:, layout.step]
    alike &= (step[:, :-1] > 127).all(axis=1)  # all bytes of a step but the last have the highest bit
    alike &= (step[:, -1:] < 128).all(axis=1)
    return alike


def _steps(digits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The numbers of variable length that stand in rows."""
    steps = np.zeros(len(digits), np.uint64)
    for place, column in enumerate(digits.T):
        steps |= (column & np.uint8(127)).astype(np.uint64) << np.uint64(7 * place)
    return steps.view(np.int64)


def _size(kind: str) -> int:
    return 2 if kind == "bfloat16" else np.dtype(kind).itemsize


def _numbers(rows: NDArray[np.uint8], kind: str) -> NDArray[np.float64]:
    if kind == "bfloat16":
        return np.array([number_at(row.tobytes(), kind) for row in rows])
    return np.ascontiguousarray(rows).view(kind)[:, 0].astype(np.float64)
