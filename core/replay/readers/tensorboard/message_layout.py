"""Positions of the numbers in a record of an event file: TensorBoard's messages Event, Summary and TensorProto."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .protobuf import FIXED32, FIXED64, LENGTH, VARINT, Field, parse_fields, parse_varint, parse_varints

_SCALAR_PLUGINS = {b"", b"scalars"}
"""TensorBoard plugins that show one number a step; others keep other things in tensors."""

_BFLOAT16 = "bfloat16"
_DTYPES = {
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
"""The NumPy type of ``tensor_content`` for each number of TensorProto's ``dtype``."""
_FLOAT_FIELDS = {5: ("<f4", FIXED32), 6: ("<f8", FIXED64)}
"""Fields of TensorProto with elements of a fixed size: ``float_val`` and ``double_val``."""
_INTEGER_FIELDS = {7, 10, 11, 13, 16, 17}
_CONTENT, _HALF, _UINT64 = 4, 13, 17
"""``tensor_content``, ``half_val`` and ``uint64_val``."""


class ScalarField(NamedTuple):
    """A number in a record."""

    tag: slice
    """The bytes of its tag."""
    at: int
    """Its first byte."""
    dtype: str
    """Its NumPy type; empty if its position and size depend on its value."""
    number: float
    """Its value in the parsed record."""


class RecordLayout(NamedTuple):
    """The positions in a record; records that differ only in these bytes have the same layout."""

    time: int | None
    """The first of the eight bytes of the time."""
    step: slice
    """The bytes of the step; empty if it is 0."""
    scalars: tuple[ScalarField, ...]
    restart: bool
    """Whether the record voids what was written before from its step on."""


def parse_layout(record: bytes) -> RecordLayout:
    """Return the layout of a record.

    Raises:
        ValueError: The record is not an event.
    """
    time: int | None = None
    step, restart = slice(0, 0), False
    scalars: list[ScalarField] = []
    for field in parse_fields(record):
        match field.number, field.kind:
            case 1, 1:
                time = field.start
            case 2, 0:
                step = slice(field.start, field.end)
            case 5, 2:
                scalars += [
                    scalar for each in parse_fields(record, *field[2:]) for scalar in _parse_value(record, each)
                ]
            case 7, 2:
                for part in parse_fields(record, *field[2:]):
                    restart |= part[:2] == (1, VARINT) and record[part.start] == 1
            case _:
                pass
    return RecordLayout(time, step, tuple(scalars), restart)


def begins_with_scalar(head: bytes) -> bool:
    """Return whether the first value of a record is a number, judged by the beginning of the record."""
    try:
        for field in parse_fields(head, truncated=True):
            if (field.number, field.kind) == (5, LENGTH):
                return bool(_parse_value(head, next(parse_fields(head, *field[2:], truncated=True))))
    except (ValueError, StopIteration):
        pass  # the value is longer than the given beginning: an image, for example
    return False


def decode_number(data: bytes, dtype: str) -> float:
    """Return the number that the bytes encode.

    >>> decode_number(bytes.fromhex("c03f"), "bfloat16"), decode_number(bytes.fromhex("003e"), "<f2")
    (1.5, 1.5)
    """
    if dtype == _BFLOAT16:
        dtype, data = "<f4", b"\0\0" + data
    return float(np.frombuffer(data, dtype)[0])


def item_size(dtype: str) -> int:
    """Return the number of bytes of one element."""
    return 2 if dtype == _BFLOAT16 else np.dtype(dtype).itemsize


def _parse_value(record: bytes, value: Field) -> list[ScalarField]:
    """Return the number in one ``Summary.Value``, if it is one."""
    if (value.number, value.kind) != (1, LENGTH):
        return []
    tag, plugin = slice(0, 0), b""
    found: tuple[int, str, float] | None = None
    for field in parse_fields(record, *value[2:]):
        match field.number, field.kind:
            case 1, 2:
                tag = slice(field.start, field.end)
            case 2, 5:
                found = field.start, "<f4", decode_number(record[field.start : field.end], "<f4")
            case 8, 2:
                found = _parse_tensor(record, field)
            case 9, 2:
                plugin = _plugin_name(record, field)
            case _:
                pass
    return [ScalarField(tag, *found)] if found is not None and plugin in _SCALAR_PLUGINS else []


def _plugin_name(record: bytes, metadata: Field) -> bytes:
    return b"".join(
        record[name.start : name.end]
        for data in parse_fields(record, *metadata[2:])
        if data[:2] == (1, LENGTH)
        for name in parse_fields(record, *data[2:])
        if name[:2] == (1, LENGTH)
    )


def _parse_tensor(record: bytes, tensor: Field) -> tuple[int, str, float] | None:
    """Return position, type and value of a tensor's only element; None for another number of elements or no numbers."""
    kind, elements = 0, 1
    found: list[tuple[int, str, float]] = []
    for field in parse_fields(record, *tensor[2:]):
        number, encoding, start, end = field
        if (number, encoding) == (1, VARINT):
            kind = parse_varint(record, start, end)[0]
        elif (number, encoding) == (2, LENGTH):
            for dimension in parse_fields(record, start, end):
                if dimension[:2] == (2, LENGTH):
                    sizes = [part for part in parse_fields(record, *dimension[2:]) if part[:2] == (1, VARINT)]
                    elements *= parse_varint(record, *sizes[0][2:])[0] if sizes else 0
        elif number == _CONTENT and encoding == LENGTH:
            dtype = _DTYPES.get(kind, "")
            if dtype and end - start == item_size(dtype):
                found.append((start, dtype, decode_number(record[start:end], dtype)))
        elif number in _FLOAT_FIELDS and encoding in (LENGTH, _FLOAT_FIELDS[number][1]):
            dtype = _FLOAT_FIELDS[number][0]
            size = item_size(dtype)
            found += [
                (at, dtype, decode_number(record[at : at + size], dtype)) for at in range(start, end - size + 1, size)
            ]
        elif number in _INTEGER_FIELDS and encoding in (LENGTH, VARINT):
            found += [(start, "", _to_float(value, number, kind)) for value in parse_varints(record, start, end)]
    if elements != 1 or len(found) > 1 or kind not in _DTYPES:
        return None
    return found[0] if found else (tensor.start, "", 0.0)  # protobuf may omit a zero


def _to_float(value: int, field: int, kind: int) -> float:
    if field == _HALF:
        return decode_number(value.to_bytes(8, "little", signed=True)[:2], _DTYPES[kind])
    return float(value % (1 << 64) if field == _UINT64 else value)
