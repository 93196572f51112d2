"""Where the numbers lie in one record of an event file: TensorBoard's messages `Event`, `Summary` and `TensorProto`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .protobuf import FIXED32, FIXED64, LENGTH, VARINT, Field, fields, varint, varints

__all__ = ["Layout", "Slot", "begins_with_number", "layout_of", "number_at"]

_PLUGINS = {b"", b"scalars"}
"""Plugins of TensorBoard that show one number a step; others keep other things in tensors."""

_BFLOAT16 = "bfloat16"
_KINDS = {
    1: "<f4",
    2: "<f8",
    14: _BFLOAT16,
    19: "<f2",
    3: "<i4",
    5: "<i2",
    6: "<i1",
    9: "<i8",
    4: "<u1",
    10: "<u1",
    17: "<u2",
    22: "<u4",
    23: "<u8",
}
"""Number of a type of tensors to how `tensor_content` holds it."""
_FLOATS = {5: ("<f4", FIXED32), 6: ("<f8", FIXED64)}
"""Fields of a tensor in which an element always has the same size."""
_INTEGERS = {7, 10, 11, 13, 16, 17}
_CONTENT = 4
_HALF = 13


class Slot(NamedTuple):
    """A number in a record."""

    tag: slice
    """Between which bytes its name stands."""
    at: int
    """Where it begins."""
    kind: str
    """How it is encoded, as NumPy calls it; empty where its place and size depend on its value."""
    number: float
    """Itself, in the record that was looked at."""


class Layout(NamedTuple):
    """Where things lie in a record; the same in records that differ in nothing but what is named here."""

    time: int | None
    """Where the time begins, of eight bytes."""
    step: slice
    """Between which bytes the step stands; empty where it is 0."""
    slots: tuple[Slot, ...]
    restart: bool
    """Whether it says that what was written from its step on is void."""


def layout_of(record: bytes) -> Layout:
    """Look at a record.

    Raises:
        ValueError: it is no event.
    """
    time: int | None = None
    step, restart = slice(0, 0), False
    slots: list[Slot] = []
    for field in fields(record):
        match field.number, field.kind:
            case 1, 1:
                time = field.start
            case 2, 0:
                step = slice(field.start, field.end)
            case 5, 2:
                slots += [slot for each in fields(record, *field[2:]) for slot in _slots(record, each)]
            case 7, 2:
                for part in fields(record, *field[2:]):
                    restart |= part[:2] == (1, VARINT) and record[part.start] == 1
            case _:
                pass
    return Layout(time, step, tuple(slots), restart)


def begins_with_number(head: bytes) -> bool:
    """Whether the first value is a number of a record of which this is the beginning."""
    try:
        for field in fields(head, cut=True):
            if (field.number, field.kind) == (5, LENGTH):
                return bool(_slots(head, next(fields(head, *field[2:], cut=True))))
    except (ValueError, StopIteration):
        pass  # the value is longer than what there is of it: a picture, say
    return False


def number_at(data: bytes, kind: str) -> float:
    """The number that these bytes are.

    >>> number_at(bytes.fromhex("c03f"), "bfloat16"), number_at(bytes.fromhex("003e"), "<f2")
    (1.5, 1.5)
    """
    if kind == _BFLOAT16:
        kind, data = "<f4", b"\0\0" + data
    return float(np.frombuffer(data, kind)[0])


def _slots(record: bytes, value: Field) -> list[Slot]:
    """The number of one `Summary.Value`, if it is one."""
    if (value.number, value.kind) != (1, LENGTH):
        return []
    tag, plugin = slice(0, 0), b""
    found: tuple[int, str, float] | None = None
    for field in fields(record, *value[2:]):
        match field.number, field.kind:
            case 1, 2:
                tag = slice(field.start, field.end)
            case 2, 5:
                found = field.start, "<f4", number_at(record[field.start : field.end], "<f4")
            case 8, 2:
                found = _element(record, field)
            case 9, 2:
                plugin = _plugin(record, field)
            case _:
                pass
    return [Slot(tag, *found)] if found is not None and plugin in _PLUGINS else []


def _plugin(record: bytes, metadata: Field) -> bytes:
    return b"".join(
        record[name.start : name.end]
        for data in fields(record, *metadata[2:])
        if data[:2] == (1, LENGTH)
        for name in fields(record, *data[2:])
        if name[:2] == (1, LENGTH)
    )


def _element(record: bytes, tensor: Field) -> tuple[int, str, float] | None:
    """The only element of a tensor of numbers: where, how encoded, itself; None where it has others."""
    kind, elements = 0, 1
    found: list[tuple[int, str, float]] = []
    for field in fields(record, *tensor[2:]):
        number, encoding, start, end = field
        if (number, encoding) == (1, VARINT):
            kind = varint(record, start, end)[0]
        elif (number, encoding) == (2, LENGTH):
            for dimension in fields(record, start, end):
                if dimension[:2] == (2, LENGTH):
                    sizes = [part for part in fields(record, *dimension[2:]) if part[:2] == (1, VARINT)]
                    elements *= varint(record, *sizes[0][2:])[0] if sizes else 0
        elif number == _CONTENT and encoding == LENGTH:
            code = _KINDS.get(kind, "")
            if code and end - start == (2 if code == _BFLOAT16 else np.dtype(code).itemsize):
                found.append((start, code, number_at(record[start:end], code)))
        elif number in _FLOATS and encoding in (LENGTH, _FLOATS[number][1]):
            code = _FLOATS[number][0]
            size = np.dtype(code).itemsize
            found += [(at, code, number_at(record[at : at + size], code)) for at in range(start, end - size + 1, size)]
        elif number in _INTEGERS and encoding in (LENGTH, VARINT):
            found += [(start, "", _integer(value, number, kind)) for value in varints(record, start, end)]
    if elements != 1 or len(found) > 1 or kind not in _KINDS:
        return None
    return found[0] if found else (tensor.start, "", 0.0)  # a zero may be left away


def _integer(value: int, number: int, kind: int) -> float:
    if number == _HALF:
        return number_at(value.to_bytes(8, "little", signed=True)[:2], _KINDS[kind])
    return float(value % (1 << 64) if number == 17 else value)
