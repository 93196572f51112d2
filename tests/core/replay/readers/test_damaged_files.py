"""Damaged and crafted files of every format: each is read, or refused with the reason, by its reader itself."""

import random
import shutil
import tracemalloc
from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.replay.readers.log_file import LogFile
from trainbus.replay.readers.reader import Reader, Source
from trainbus.replay.readers.registry import installed_readers

from ..samples import FORMATS

READERS = installed_readers().readers
FILES = sorted(path for path in FORMATS.rglob("*") if path.is_file() and "make_samples" not in path.name)


def _reader_of(path: Path) -> Reader | None:
    file = LogFile(path, named=True)
    return next((reader for reader in READERS if reader.recognizes(file)), None)


RECOGNIZED = [path for path in FILES if _reader_of(path) is not None]
NASTY = [
    b"\x00",
    b"\xff",
    b"NaN",
    b"1e999",
    b"-1",
    b"[",
    b"{",
    b'"',
    b"\n",
    b"\t",
    b",",
    b"9" * 400,
    b"null",
    b"\xed\xa0\x80",
]


def _damaged(content: bytes, draw: random.Random) -> bytes:
    """Return the content cut, or with some bytes removed, replaced, repeated or inserted."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 3)):
        start = draw.randrange(len(changed) + 1)
        end = min(len(changed), start + draw.choice([0, 1, 1, 4, 30]))
        replacement = draw.choice([*NASTY, b"", bytes(changed[start:end]) * 2, draw.randbytes(end - start)])
        changed[start:end] = replacement
    return bytes(changed[: draw.randrange(len(changed) + 1)]) if draw.random() < 0.2 else bytes(changed)


def _read(path: Path) -> None:
    """Read a file as ``read_all`` does, by the reader that recognizes it, whose errors are not hidden here."""
    reader = _reader_of(path)
    if reader is None:
        return
    for group in reader.group([path]):
        if group:
            try:
                reader.read(Source(tuple(group), lambda file: file.name))
            except SettingsError as error:
                assert str(error).splitlines() == [str(error)]  # noqa: PT017 - a file may also be whole enough


def _copy_of_run(path: Path, place: Path) -> Path:
    """Return the file in a copy of its directory, some of whose names matter to a reader."""
    top = path.relative_to(FORMATS).parts[0]
    shutil.copytree(FORMATS / top, place / top)
    return place / path.relative_to(FORMATS)


@pytest.mark.parametrize("path", RECOGNIZED, ids=lambda path: path.relative_to(FORMATS).as_posix())
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, path: Path):
    _damage(tmp_path, path, 15)


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", RECOGNIZED, ids=lambda path: path.relative_to(FORMATS).as_posix())
def test_a_file_damaged_in_many_ways_is_read_or_refused(tmp_path: Path, path: Path):
    _damage(tmp_path, path, 2000)


def _damage(place: Path, path: Path, times: int) -> None:
    target, content = _copy_of_run(path, place), path.read_bytes()
    draw = random.Random(path.name)
    for number in range(times):
        changed = _damaged(content, draw)
        target.write_bytes(changed)
        try:
            _read(target)
        except Exception as error:
            error.add_note(f"change {number}: {changed[:2000]!r}")
            raise


def test_reading_needs_memory_in_proportion_to_the_file(tmp_path: Path):
    """A file of 50 kB with the lines of a real one, repeated, needs at most 5 MB."""
    for path in RECOGNIZED:
        content = path.read_bytes()
        target = _copy_of_run(path, tmp_path)
        target.write_bytes(content * max(1, 50_000 // len(content)))
        tracemalloc.start()
        _read(target)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        shutil.rmtree(tmp_path / path.relative_to(FORMATS).parts[0])
        assert peak < 5_000_000, path
