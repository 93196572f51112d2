"""Tests of files to which records are appended: complete records only, whatever the disk accepts."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins.append_only_file import AppendOnlyFile

from .full_disk import files_of_at_most

RECORDS = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


@given(st.lists(RECORDS, min_size=1, max_size=4), st.integers(0, 200))
def test_a_full_disk_keeps_complete_records_and_the_rest_waits(groups: list[list[bytes]], size: int):
    """The file never has a part of a record; records that do not fit stay in the list and are written later."""
    with tempfile.TemporaryDirectory() as folder:
        file, waiting, written = AppendOnlyFile(Path(folder) / "file"), list[bytes](), b""
        for group in groups:
            waiting += group
            before = list(waiting)
            with suppress(OSError), files_of_at_most(size):
                file.append(waiting)
            written += b"".join(before[: len(before) - len(waiting)])
            assert before[len(before) - len(waiting) :] == waiting
            assert file.path.read_bytes() == written
            assert file.size == len(written)
            assert not waiting or len(written) + len(waiting[0]) > size
        file.append(waiting)
        assert not waiting
        assert file.path.read_bytes() == b"".join(record for group in groups for record in group)
        file.close()


@given(st.binary(max_size=60), st.integers(0, 60), st.binary(max_size=9))
def test_an_incomplete_end_is_cut_off(content: bytes, size: int, more: bytes):
    """An existing file keeps its first ``size`` bytes, to which records are appended; without a size it keeps all."""
    with tempfile.TemporaryDirectory() as folder:
        path, size = Path(folder) / "file", min(size, len(content))
        for kept in (size, None):
            path.write_bytes(content)
            file = AppendOnlyFile(path, size=kept)
            assert file.size == len(content[:kept])
            file.append([more])
            file.sync()
            file.close()
            assert path.read_bytes() == content[:kept] + more


def test_a_closed_file_accepts_nothing(tmp_path: Path):
    """A second close has no effect; a file that must be new is refused if it exists."""
    file = AppendOnlyFile(tmp_path / "file", os.O_EXCL)
    assert not file.closed
    file.close()
    file.close()
    assert file.closed
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.append([b"record"])
    with pytest.raises(FileExistsError):
        AppendOnlyFile(tmp_path / "file", os.O_EXCL)


def test_a_truncated_file_begins_with_its_first_record_again(tmp_path: Path):
    """Whatever remains of it stays, up to the last complete record; what another program appends is not cut off."""
    said: list[str] = []
    complete = lambda path: path.read_bytes().rfind(b"\n") + 1  # noqa: E731
    file = AppendOnlyFile(tmp_path / "file", report=lambda error: said.append(str(error)), complete=complete)
    file.append([b"head\n", b"one\n"])
    for size, left in ((0, b""), (2, b""), (7, b"head\n"), (9, b"head\none\n"), (5, b"head\n")):
        os.truncate(file.path, 0)
        file.path.write_bytes(b"head\none\n")
        file.size = 9
        os.truncate(file.path, size)
        said.clear()
        file.append([b"two\n"])
        assert file.path.read_bytes() == (left or b"head\n") + b"two\n"
        assert file.size == file.path.stat().st_size
        assert [f"{9 - len(left):,} bytes of records are lost" in each for each in said] == [True] * (size < 9)
    with file.path.open("ab") as other:
        other.write(b"theirs\n")
    file.append([b"three\n"])
    assert file.path.read_bytes().endswith(b"two\ntheirs\nthree\n")
    assert "another program has appended 7 bytes" in said[-1]
    file.close()
