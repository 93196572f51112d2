"""The records of Weights & Biases' logs."""

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.replay.readers.stores.wandb_records import MAGIC, read_records

from ...samples import FORMATS

BLOCK = 1 << 15


def written(records: list[bytes]) -> bytes:
    """Return a log of these records, as Weights & Biases' own writer lays it out."""
    found = bytearray(MAGIC)
    for record in records:
        first, rest = True, record
        while first or rest:
            room = BLOCK - len(found) % BLOCK
            if room < 7:
                found += bytes(room)
                continue
            part, rest = rest[: room - 7], rest[room - 7 :]
            kind = (1 if not rest else 2) if first else (3 if rest else 4)
            found += struct.pack("<IHB", zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind) + part
            first = False
    return bytes(found)


def _read(content: bytes, place: Path) -> tuple[list[bytes], list[str]]:
    path, notes = place / "run-a.wandb", list[str]()
    path.write_bytes(content)
    return list(read_records(path, notes)), notes


def test_the_writer_of_this_test_writes_what_the_library_wrote():
    """Its log of the records of a real file is that file."""
    (path,) = (FORMATS / "wandb").glob("*.wandb")
    assert written(list(read_records(path, []))) == path.read_bytes()


@given(st.lists(st.integers(0, 3 * BLOCK).map(lambda length: bytes([length % 251]) * length), max_size=8))
def test_records_of_any_length_are_read_back(tmp_path_factory: pytest.TempPathFactory, records: list[bytes]):
    assert _read(written(records), tmp_path_factory.mktemp("log")) == (records, [])


def test_a_log_without_its_end_is_read_up_to_it(tmp_path: Path):
    """Wherever a run is killed, the whole records before are read, and a note says that there was more."""
    records = [b"one" * 9000, b"two", b"three" * 9000]
    content = written(records)
    for end in (len(content) - 1, BLOCK + 5, BLOCK, 30_000, 12):
        found, notes = _read(content[:end], tmp_path)
        assert found == records[: len(found)]
        assert "ends inside a record" in notes[0]


def test_wrong_checksums_and_orders_are_refused(tmp_path: Path):
    content = written([b"one", b"two" * 20_000])
    with pytest.raises(SettingsError, match="the checksum at byte 7 is wrong"):
        _read(content[:15] + b"X" + content[16:], tmp_path)
    with pytest.raises(SettingsError, match="is a part of another record"):
        _read(content[:BLOCK] + written([b"one"])[7:] + content[BLOCK:], tmp_path)
    with pytest.raises(SettingsError, match="not a log of an offline run"):
        _read(b"something else", tmp_path)
