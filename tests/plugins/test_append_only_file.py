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
