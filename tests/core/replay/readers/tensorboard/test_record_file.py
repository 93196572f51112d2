"""The record format of event files: complete records are read, and what is missing is reported."""

import struct
import tempfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboardX.record_writer import masked_crc32c

from trainbus import SettingsError
from trainbus.replay.readers.tensorboard import record_file as event_files

from ...streams import (
    event,
    framed,
    read,
    sample,
    scalar,
    summary_pb2,
    write,
)


def test_a_truncated_file_has_its_complete_records(tmp_path: Path):
    """After truncation at any byte, the complete records are read, with a note unless the cut is between two."""
    path = write(tmp_path / "events", sample())
    complete, data = read(path)[0], path.read_bytes()
    ends = np.cumsum([len(event(file_version="brain.Event:2")), *map(len, sample())]).tolist()

    for size in range(len(data)):
        path.write_bytes(data[:size])
        found, notes = read(path)
        count = sum(end <= size for end in ends[1:])
        assert found == complete[:count]
        assert bool(notes) == (size not in (0, *ends))


def test_every_wrong_bit_is_detected(tmp_path: Path):
    """A file with any wrong bit is refused, so every number read is one that was written."""
    path = write(tmp_path / "events", sample())
    data = path.read_bytes()
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place * 5 % 8
        path.write_bytes(damaged)
        with pytest.raises(SettingsError, match=r"damaged"):
            read(path)


def test_damage_is_reported_with_how_to_read_the_rest(tmp_path: Path):
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


def test_zeros_at_the_end_are_reported_and_elsewhere_refused(tmp_path: Path):
    """Zeros that a power failure leaves at the end do not affect the records before."""
    path = write(tmp_path / "events", sample())
    complete, data = read(path)[0], path.read_bytes()
    for zeros in (1, 11, 12, 5_000_000):
        path.write_bytes(data + bytes(zeros))
        found, notes = read(path)
        assert found == complete
        assert len(notes) == 1
    path.write_bytes(data + bytes(50) + data)
    with pytest.raises(SettingsError, match="damaged"):
        read(path)


@pytest.mark.parametrize("length", [2**16, 2**31, 2**62, 2**64 - 1])
def test_a_false_length_reserves_no_memory(length: int, tmp_path: Path):
    """A record that claims to be huge, with a checksum that agrees, is a file that ends inside it."""
    path = write(tmp_path / "events", sample())
    header = struct.pack("<Q", length)
    path.write_bytes(path.read_bytes() + header + struct.pack("<I", masked_crc32c(header)) + b"\x0a")
    read(path)
    tracemalloc.start()
    found, notes = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(found) == len(sample())
    assert "ends inside a record" in notes[0]
    assert peak < 1_000_000


def test_long_records_are_read_only_for_their_numbers(tmp_path: Path):
    """Long records of images are skipped without being read; a long record of numbers is read."""
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


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes):
    """Any bytes give numbers or a SettingsError, with valid checksums or not."""
    for content in (data, framed(data), framed(b"\x2a" + bytes([len(data) % 128]) + data[: len(data) % 128])):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "events")
            path.write_bytes(content)
            with suppress(SettingsError):
                read(path)
