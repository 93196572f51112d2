"""Positions of the numbers in a record of an event file: TensorBoard's messages Event, Summary and TensorProto."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from ..shared.protobuf import LENGTH, VARINT, Field, parse_fields, parse_varint, parse_varints

_SCALAR_PLUGINS = {b"", b"scalars"}
"""TensorBoard plugins that show one number per step; other plugins store other data in tensors."""

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
_FIXED_FIELDS = {4: "", 5: "<f4", 6: "<f8"}
"""Fields of TensorProto with elements of a fixed size: ``tensor_content``, of the tensor's own type, and floats."""
_INTEGER_FIELDS = {7, 10, 11, 13, 16, 17}
_HALF, _UINT64 = 13, 17
"""``half_val`` and ``uint64_val``."""


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
    """Whether the record invalidates all earlier records with its step or a later one."""


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
                found = (_parse_value(record, value) for value in _select(record, field, 1))
                scalars += [scalar for scalar in found if scalar is not None]
            case 7, 2:
                restart |= any(record[status.start] == 1 for status in _select(record, field, 1, VARINT))
            case _:
                pass
    return RecordLayout(time, step, tuple(scalars), restart)


def begins_with_scalar(head: bytes) -> bool:
    """Return whether the first value of a record is a number, judged by the beginning of the record."""
    try:
        for field in parse_fields(head, truncated=True):
            if (field.number, field.kind) == (5, LENGTH):
                first = next(parse_fields(head, *field[2:], truncated=True))
                return (first.number, first.kind) == (1, LENGTH) and _parse_value(head, first) is not None
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


def _select(record: bytes, message: Field, number: int, kind: int = LENGTH) -> Iterator[Field]:
    """Yield the fields of a message with this number and this wire type."""
    return (field for field in parse_fields(record, *message[2:]) if field[:2] == (number, kind))


def _parse_value(record: bytes, value: Field) -> ScalarField | None:
    """Return the number in one ``Summary.Value``; None if it holds something else."""
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
                names = (name for data in _select(record, field, 1) for name in _select(record, data, 1))
                plugin = b"".join(record[name.start : name.end] for name in names)
            case _:
                pass
    return ScalarField(tag, *found) if found is not None and plugin in _SCALAR_PLUGINS else None


def _parse_tensor(record: bytes, tensor: Field) -> tuple[int, str, float] | None:
    """Return position, type and value of a tensor's only element; None for another number of elements or no numbers."""
    kind, elements, count = 0, 1, 0
    found = tensor.start, "", 0.0  # protobuf may omit a zero
    for field in parse_fields(record, *tensor[2:]):
        number, encoding, start, end = field
        if (number, encoding) == (1, VARINT):
            kind = parse_varint(record, start, end)[0]
        elif (number, encoding) == (2, LENGTH):
            for dimension in _select(record, field, 2):
                size = next(_select(record, dimension, 1, VARINT), None)
                elements *= parse_varint(record, *size[2:])[0] if size else 0
        elif number in _FIXED_FIELDS and encoding != VARINT:
            dtype = _FIXED_FIELDS[number] or _DTYPES.get(kind, "<u1")
            values, rest = divmod(end - start, item_size(dtype))
            count += values
            if values == 1 and not rest:
                found = start, dtype, decode_number(record[start:end], dtype)
        elif number in _INTEGER_FIELDS and encoding in (LENGTH, VARINT):
            for value in islice(parse_varints(record, start, end), 2):  # two are too many already
                count += 1
                found = start, "", _to_float(value, number, kind)
    return found if elements == 1 and count <= 1 and kind in _DTYPES else None


def _to_float(value: int, field: int, kind: int) -> float:
    if field == _HALF:
        return decode_number(value.to_bytes(8, "little", signed=True)[:2], _DTYPES[kind])
    return float(value % (1 << 64) if field == _UINT64 else value)
