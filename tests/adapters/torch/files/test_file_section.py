"""A section of a file is read as a file of its own."""

import io
import os
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.adapters.torch.files.file_section import FileSection

CONTENT = random.Random(0).randbytes(300)


@given(
    start=st.integers(0, 200),
    length=st.integers(0, 100),
    steps=st.lists(
        st.tuples(st.integers(-60, 120), st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END]), st.integers(0, 50))
    ),
)
def test_it_reads_as_its_bytes_do(start: int, length: int, steps: list[tuple[int, int, int]]) -> None:
    """After any moves, also before the start and behind the end."""
    path = Path("file")
    path.write_bytes(CONTENT)
    whole = io.BytesIO(CONTENT[start : start + length])
    with FileSection(path, start, length) as section:
        for target, whence, count in steps:
            place = {os.SEEK_SET: 0, os.SEEK_CUR: whole.tell(), os.SEEK_END: length}[whence] + target
            whole.seek(max(place, 0))
            section.seek(target, whence)
            assert section.tell() == whole.tell()
            assert section.read(count) == whole.read(count)
        section.seek(0)
        assert section.read() == CONTENT[start : start + length]


def test_an_archive_in_a_file_is_opened() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("name", "content")
    Path("file").write_bytes(b"before" + packed.getvalue() + b"after")

    with FileSection(Path("file"), 6, len(packed.getvalue())) as section, zipfile.ZipFile(section) as archive:
        assert archive.read("name") == b"content"
    with pytest.raises(ValueError, match="closed"):
        section.read(1)
