"""JSON files of training histories."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.replay.readers.json.document import read_json

contents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(contents, st.booleans())
def test_any_content_is_read_back(content: object, mark: bool):
    """NaN and infinities are read as Python writes them, and a byte order mark is ignored."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "history.json")
        path.write_text(json.dumps(content), encoding="utf-8-sig" if mark else "utf-8")

        assert repr(read_json(path)) == repr(content)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1,", b"\xff\xfe", b"[" * 100_000], ids=["empty", "{", "[", "bytes", "deep"]
)
def test_a_file_that_is_not_json_is_named(data: bytes, tmp_path: Path):
    """An incomplete file, as after a killed run, or bytes, or nested lists without an end give one error."""
    path = tmp_path / "history.json"
    path.write_bytes(data)
    with pytest.raises(SettingsError, match=r"history.json' is not JSON, or is incomplete"):
        read_json(path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path):
    """A sparse file of 300 MB needs no memory."""
    path = tmp_path / "history.json"
    with path.open("wb") as file:
        file.truncate(300_000_000)
    with pytest.raises(SettingsError, match="has 300,000,000 bytes; a training history has at most 256,000,000"):
        read_json(path)
