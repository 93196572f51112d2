"""The laws of reading event files: what was written is read, or it is said what was not."""

import math
import struct
import tempfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboardX import SummaryWriter

from trainbus import SettingsError
from trainbus.plugins.tensorboard.writer.event_writer import EventWriter
from trainbus.plugins.tensorboard.writer.summaries import histograms, text
from trainbus.replay.readers.tensorboard import record_file as event_files
from trainbus.replay.readers.tensorboard import scalars as event_scalars
from trainbus.replay.readers.tensorboard.crc32c import masked_crc32c, masked_crc32c_of_bytes

from ...streams import assert_reads_as_tensorboard, event, event_pb2, framed, read, scalar, summary_pb2, tensor, write

NAMES = st.text("abc/_ü", min_size=1, max_size=12)
STEPS = st.integers(0, 300) | st.integers(-(2**63), 2**63 - 1)
VALUES = st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0])
TIMES = st.floats(allow_nan=False)
STREAMS = st.lists(st.tuples(NAMES, STEPS, TIMES, VALUES), max_size=60)


def same(found, expected) -> bool:
    """Whether two lists of numbers are equal, NaN for NaN."""
    return repr(list(found)) == repr(list(expected))


@given(st.binary(max_size=2000), st.integers(1, 3))
def test_checksums_are_those_of_the_wheel(text: bytes, rows: int):
    """Of any length, alone and many at once, the checksum is the one that the crc32c package computes."""
    check = crc32c.crc32c(text)
    expected = ((check >> 15 | check << 17) + 0xA282EAD8) & 0xFFFFFFFF
    table = np.tile(np.frombuffer(text, np.uint8), (rows, 1))

    assert masked_crc32c(table).tolist() == [expected] * rows
    assert masked_crc32c_of_bytes(text) == expected


@given(STREAMS, st.lists(st.booleans(), min_size=60, max_size=60))
def test_any_stream_is_read_back(stream, as_tensors):
    """Numbers of any tag, step, time and value come back in their order, however each was written."""
    records = [
        event(step, time, summary=summary_pb2.Summary(value=[(tensor if new else scalar)(tag, value)]))
        for (tag, step, time, value), new in zip(stream, as_tensors, strict=False)
    ]
    with tempfile.TemporaryDirectory() as folder:
        found, notes = read(write(Path(folder, "events"), records))

    assert same(found, stream)
    assert notes == []


@given(st.lists(st.tuples(st.sampled_from(["loss", "acc/val", "x"]), st.integers(0, 2**40), VALUES), max_size=40))
def test_what_tensorboardx_writes_is_read_back(stream):
    """A random stream through the real writer comes back as it was handed over, in float32."""
    with tempfile.TemporaryDirectory() as folder:
        with SummaryWriter(folder) as writer:
            for tag, step, value in stream:
                writer.add_scalar(tag, value, step, walltime=float(step))
        (path,) = Path(folder).iterdir()
        found, _ = read(path)

    assert same(found, [(tag, step, float(step), float(np.float32(value))) for tag, step, value in stream])


def test_reads_as_tensorboard_does_what_trainbus_writes(tmp_path: Path):
    """Many numbers in an event, between texts and histograms, are those that the EventAccumulator finds."""
    writer = EventWriter(tmp_path, "line", pytest.fail)
    values = np.random.default_rng(0).normal(size=(30, 40))
    for step, row in enumerate(values):
        writer.scalars(".", step, {f"metric_{number}": value for number, value in enumerate(row)})
        writer.put(".", step, lambda array: histograms("weights", array), row)
        writer.put(".", step, lambda words: text("words", words), "words")
    writer.close()

    assert_reads_as_tensorboard(tmp_path)
    assert len({tag for tag, *_ in read(next(tmp_path.iterdir()))[0]}) == 40


TYPES = [np.float32, np.float64, np.float16, np.bool_]
TYPES += [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("content", [False, True], ids=["values", "content"])
def test_every_type_of_tensor_is_read(dtype: type, content: bool, tmp_path: Path):
    """A scalar of each type of numbers comes back, whether its value or its bytes were written."""
    given = [np.asarray(number, dtype) for number in (0, 1, 100)]
    if np.dtype(dtype).kind == "i":
        given.append(np.asarray(-3, dtype))
    made = [tensor("x", number, dtype) for number in given]
    if content:
        for each, number in zip(made, given, strict=True):
            each.tensor.CopyFrom(type(each.tensor)(dtype=each.tensor.dtype, tensor_content=number.tobytes()))
    records = [event(step, summary=summary_pb2.Summary(value=[each])) for step, each in enumerate(made)]

    assert [value for *_, value in read(write(tmp_path / "events", records))[0]] == [float(each) for each in given]


@pytest.mark.parametrize("held", [{"half_val": [0x3FC0]}, {"tensor_content": b"\xc0\x3f"}], ids=["values", "content"])
def test_bfloat16_is_read(held, tmp_path: Path):
    """The upper half of a float32, which NumPy does not know, is read as the number that it is."""
    value = tensor("x", 0.0)
    value.tensor.CopyFrom(type(value.tensor)(dtype=14, **held))

    assert read(write(tmp_path / "events", [event(summary=summary_pb2.Summary(value=[value]))]))[0][0][3] == 1.5


def test_what_is_no_number_a_step_is_left_out(tmp_path: Path):
    """Vectors, texts and what other plugins keep are no scalars."""
    others = [
        tensor("vector", [1.0, 2.0]),
        tensor("empty", []),
        tensor("curve", 1.0, plugin="pr_curves"),
        summary_pb2.Summary.Value(tag="image", image=summary_pb2.Summary.Image(height=1, encoded_image_string=b"x")),
    ]
    records = [event(step, summary=summary_pb2.Summary(value=[each])) for step, each in enumerate(others)]

    assert read(write(tmp_path / "events", records))[0] == []


def sample() -> list[bytes]:
    """Some records of several lengths and kinds."""
    return [
        event(step, float(step), summary=summary_pb2.Summary(value=[make(tag, step / 7)]))
        for step in range(4)
        for tag, make in [("loss", scalar), ("val_loss", scalar), ("epoch_loss", tensor)]
    ]


def test_a_file_that_was_cut_anywhere_has_what_is_whole(tmp_path: Path):
    """Cut at every byte, the file gives the whole records before, and says so unless it was cut between two."""
    path = write(tmp_path / "events", sample())
    whole, data = read(path)[0], path.read_bytes()
    ends = np.cumsum([len(event(file_version="brain.Event:2")), *map(len, sample())]).tolist()

    for size in range(len(data)):
        path.write_bytes(data[:size])
        found, notes = read(path)
        count = sum(end <= size for end in ends[1:])
        assert found == whole[:count]
        assert bool(notes) == (size not in (0, *ends))


def test_no_bit_can_turn_unnoticed(tmp_path: Path):
    """Whichever bit of a file is wrong, the file is refused: no number is read that was not written."""
    path = write(tmp_path / "events", sample())
    data = path.read_bytes()
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place * 5 % 8
        path.write_bytes(damaged)
        with pytest.raises(SettingsError, match=r"damaged"):
            read(path)


def test_damage_is_told_with_what_saves_the_rest(tmp_path: Path):
    """The message names the byte to cut at; the file that was cut there is read."""
    path = write(tmp_path / "events", sample())
    records = sample()
    data = bytearray(path.read_bytes())
    data[-len(records[-1]) + 20] ^= 1
    path.write_bytes(data)
    place = len(data) - len(records[-1])
    with pytest.raises(SettingsError, match=f"truncate --size={place}"):
        read(path)
    path.write_bytes(data[:place])

    assert len(read(path)[0]) == len(records) - 1


def test_zeros_at_the_end_are_told_and_elsewhere_refused(tmp_path: Path):
    """What a power failure leaves behind the last whole record does not hide what is before it."""
    path = write(tmp_path / "events", sample())
    whole, data = read(path)[0], path.read_bytes()
    for zeros in (1, 11, 12, 5_000_000):
        path.write_bytes(data + bytes(zeros))
        found, notes = read(path)
        assert found == whole
        assert len(notes) == 1
    path.write_bytes(data + bytes(50) + data)
    with pytest.raises(SettingsError, match="damaged"):
        read(path)


@pytest.mark.parametrize("length", [2**16, 2**31, 2**62, 2**64 - 1])
def test_a_length_that_lies_reserves_no_memory(length: int, tmp_path: Path):
    """A record that claims to be huge, with a checksum that agrees, is a file that ends inside it."""
    path = write(tmp_path / "events", sample())
    header = struct.pack("<Q", length)
    path.write_bytes(path.read_bytes() + header + struct.pack("<I", masked_crc32c_of_bytes(header)) + b"\x0a")
    read(path)
    tracemalloc.start()
    found, notes = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(found) == len(sample())
    assert "ends inside a record" in notes[0]
    assert peak < 1_000_000


def test_long_records_are_read_only_for_their_numbers(tmp_path: Path):
    """Pictures beyond the length are passed over without being read; as many numbers in one event are read."""
    picture = summary_pb2.Summary.Value(
        tag="image", image=summary_pb2.Summary.Image(encoded_image_string=bytes(12_000_000))
    )
    many = [scalar(f"metric_{number}", number) for number in range(5000)]
    records = [event(1, summary=summary_pb2.Summary(value=value)) for value in ([picture], many, [picture])]
    path = write(tmp_path / "events", [*sample(), *records, *sample()])
    read(path)
    tracemalloc.start()
    found, notes = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(found) == 2 * len(sample()) + len(many)
    assert notes == []
    assert peak < 12_000_000
    assert len(records[1]) > event_files.LONG


def test_records_of_another_kind_are_refused(tmp_path: Path):
    """A file of records that are no events, such as examples of TFRecord, is told from a damaged one."""
    path = tmp_path / "events"
    path.write_bytes(framed(b"\xff" * 30))
    with pytest.raises(SettingsError, match="not TensorBoard events"):
        read(path)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes):
    """No bytes do anything but give numbers or a SettingsError, with checksums that agree or not."""
    for content in (data, framed(data), framed(b"\x2a" + bytes([len(data) % 128]) + data[: len(data) % 128])):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "events")
            path.write_bytes(content)
            with suppress(SettingsError):
                read(path)


def test_a_restart_makes_later_steps_void(tmp_path: Path):
    """`SessionLog.START` is told with how many numbers were written before it, and its step."""
    start = event(2, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
    path = write(tmp_path / "events", [*sample(), start, *sample()])

    assert event_scalars.read(path, []).restarts == ((len(sample()), 2),)
