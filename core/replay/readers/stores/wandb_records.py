"""The records of a ``.wandb`` file of Weights & Biases, with all checksums verified.

The file is a log as of LevelDB: blocks of 32 KiB with chunks, each with its checksum, its length and its place in its
record. The package wandb has no reader of it in Python since version 0.30.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ....errors import SettingsError

MAGIC: Final = b":W&B\xe1\xbe\x00"
"""The first bytes of a file."""

_BLOCK = 1 << 15
_CHUNK = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_STARTS = {kind: zlib.crc32(bytes([kind])) for kind in (_FULL, _FIRST, _MIDDLE, _LAST)}
_CUT = "ends inside a record, as after a killed run: that record is left out."
_LONGEST = 1 << 26  # bytes of a record


def read_records(path: Path, notes: list[str]) -> Iterator[bytes]:
    """Yield the content of each record.

    Args:
        path: The file.
        notes: Receives a sentence if the end of the file is missing.

    Raises:
        SettingsError: The file is not such a log, or is damaged.
        OSError: The file cannot be read.
    """
    record, inside = bytearray(), False
    for position, kind, content in _chunks(path, notes):
        if inside == (kind in (_FULL, _FIRST)) or len(record) + len(content) > _LONGEST:
            raise SettingsError(f"{str(path)!r} is damaged: at byte {position:,} is a part of another record")
        record += content
        inside = kind in (_FIRST, _MIDDLE)
        if not inside:
            yield bytes(record)
            record.clear()
    if inside:
        notes.append(f"{path.name} {_CUT}")


def _chunks(path: Path, notes: list[str]) -> Iterator[tuple[int, int, bytes]]:
    """Yield the position, the kind and the content of each chunk."""
    with path.open("rb") as file:
        start, block = 0, file.read(_BLOCK)
        if not block.startswith(MAGIC):
            raise SettingsError(f"{str(path)!r} is not a log of an offline run of Weights & Biases")
        place = len(MAGIC)
        while block:
            while place + _CHUNK.size <= len(block):
                checksum, length, kind = _CHUNK.unpack_from(block, place)
                content = block[place + _CHUNK.size : place + _CHUNK.size + length]
                if len(content) < length and len(block) < _BLOCK:
                    break
                if kind not in _STARTS or zlib.crc32(content, _STARTS[kind]) != checksum:
                    raise SettingsError(f"{str(path)!r} is damaged: the checksum at byte {start + place:,} is wrong")
                yield start + place, kind, content
                place += _CHUNK.size + length
            if len(block) < _BLOCK:
                if place < len(block):
                    notes.append(f"{path.name} {_CUT}")
                return
            start, place, block = start + len(block), 0, file.read(_BLOCK)
