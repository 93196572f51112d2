"""The decoder of the wire format of protocol buffers."""

import struct
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboard.compat.proto import event_pb2, tensor_pb2

from trainbus.replay.readers.shared.protobuf import (
    FIXED32,
    FIXED64,
    LENGTH,
    VARINT,
    parse_fields,
    parse_varint,
    parse_varints,
)

int64 = st.integers(-(2**63), 2**63 - 1)
events = st.builds(
    event_pb2.Event, wall_time=st.floats(allow_nan=False), step=int64, file_version=st.text(min_size=1, max_size=300)
)


@given(events)
def test_fields_of_a_message_are_those_of_the_library(event):
    """Numbers, wire types and bytes of the fields are as Google's library has written them."""
    data = event.SerializeToString()
    found = {field.number: (field.kind, data[field.start : field.end]) for field in parse_fields(data)}

    kind, text = found.pop(3)
    assert (kind, text.decode()) == (LENGTH, event.file_version)
    if event.wall_time or 1 in found:
        kind, time = found.pop(1)
        assert (kind, struct.unpack("<d", time)[0]) == (FIXED64, event.wall_time)
    if event.step:
        kind, step = found.pop(2)
        assert (kind, list(parse_varints(step, 0, len(step)))) == (VARINT, [event.step])
    assert found == {}


@given(st.lists(int64, max_size=20), st.lists(st.floats(width=32, allow_nan=False), max_size=5))
def test_packed_numbers_are_read(integers: list[int], floats: list[float]):
    """A packed list of integers is read as signed numbers; floats have four bytes each."""
    data = tensor_pb2.TensorProto(int64_val=integers, float_val=floats).SerializeToString()
    parts = {field.number: field for field in parse_fields(data)}

    assert list(parse_varints(data, *parts[10][2:])) == integers if integers else 10 not in parts
    assert parts[5].end - parts[5].start == 4 * len(floats) if floats else 5 not in parts


def test_a_field_of_four_bytes():
    """Wire type 5 is a number of four bytes."""
    (field,) = parse_fields(bytes([2 << 3 | FIXED32]) + struct.pack("<f", 1.5))

    assert tuple(field) == (2, FIXED32, 1, 5)


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_fields_within_them_or_refused(data: bytes, truncated: bool):
    """No field extends beyond the bytes, and no length makes the decoder read or reserve more."""
    try:
        found = list(parse_fields(data, truncated=truncated))
    except ValueError:
        return
    place = 0
    for field in found:
        assert place < field.start <= field.end <= len(data)
        place = field.end
    assert place == len(data)


@given(events, st.data())
def test_a_truncated_message_has_its_fields_up_to_the_end(event, data):
    """Only on request; the last field is shortened. Otherwise a field beyond the end is an error."""
    complete = event.SerializeToString()
    *_, last = fields = list(parse_fields(complete))
    end = data.draw(st.integers(last.start, last.end - 1))
    found = list(parse_fields(complete, 0, end, truncated=True))

    assert found[:-1] == fields[:-1]
    assert found[-1] == last._replace(end=end)
    with pytest.raises(ValueError, match="beyond its message"):
        list(parse_fields(complete, 0, end))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 10, b"\xff" * 20])
def test_a_varint_without_end_is_refused(data: bytes):
    """It has at most ten bytes."""
    with pytest.raises(ValueError, match="no end"):
        parse_varint(data, 0, len(data))


@pytest.mark.parametrize("kind", [3, 4, 6, 7])
def test_unknown_wire_types_are_refused(kind: int):
    """Groups are deprecated, and no event has them."""
    with pytest.raises(ValueError, match=f"unknown wire type {kind}"):
        list(parse_fields(bytes([1 << 3 | kind])))
