"""The beginning of a file, as readers look at it."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.readers import LogFile
from trainbus.replay.readers.log_file import HEAD


def log_file(folder: Path, data: bytes) -> LogFile:
    """Return a file with this content."""
    path = folder / "log"
    path.write_bytes(data)
    return LogFile(path)


@given(st.text(), st.booleans())
def test_text_is_text(text: str, mark: bool) -> None:
    """Without a byte order mark, unless it has a zero."""
    with tempfile.TemporaryDirectory() as folder:
        file = log_file(Path(folder), text.encode("utf-8-sig" if mark else "utf-8", "surrogatepass"))
        encodable = not any(0xD800 <= ord(each) < 0xE000 for each in text)
        assert file.text == (text.removeprefix("\ufeff" * (not mark)) if encodable and "\0" not in text else "")


@given(st.binary(max_size=50))
def test_any_bytes_have_a_beginning(data: bytes) -> None:
    """No property raises."""
    with tempfile.TemporaryDirectory() as folder:
        file = log_file(Path(folder), data)
        assert file.head == data
        assert isinstance(file.text, str)
        assert isinstance(file.lines, list)
        assert file.document is None or isinstance(file.document, (dict, list))


@pytest.mark.parametrize("extra", range(4))
def test_a_character_at_the_end_of_the_beginning_may_be_cut(tmp_path: Path, extra: int) -> None:
    """What is before it is text."""
    file = log_file(tmp_path, b"x" * (HEAD - extra) + "€€€".encode())
    assert file.text.startswith("x" * (HEAD - extra))


def test_lines_are_complete(tmp_path: Path) -> None:
    """The last one without an end may be half of one, but a file may have one line only."""
    assert log_file(tmp_path, b"a\nb\nc").lines == ["a", "b"]
    assert log_file(tmp_path, b"a\nb\n").lines == ["a", "b"]
    assert log_file(tmp_path, b"a").lines == ["a"]


def test_a_document_is_one_object_or_list(tmp_path: Path) -> None:
    """Lines of JSON, damaged and deeply nested ones are none."""
    assert log_file(tmp_path, json.dumps({"a": [1] * HEAD}).encode()).document == {"a": [1] * HEAD}
    for data in (b'{"a": 1}\n{"a": 2}\n', b"[" * 100_000, b"{", b"12", b""):
        assert log_file(tmp_path, data).document is None


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=8), st.data())
def test_what_begins_like_json_is_json_or_the_beginning_of_it(content: object, data: st.DataObject) -> None:
    """A list or object, whole, cut at any byte after the first value, or followed by others in lines of their own."""
    text = json.dumps([{"epoch": 0, "of": content}])
    with tempfile.TemporaryDirectory() as folder:
        cut = text[: data.draw(st.integers(1, len(text)))]
        for whole in (text, cut, f"{text}\n{cut}", json.dumps(content)):
            assert log_file(Path(folder), whole.encode()).begins_like_json == (whole[0] in "[{")


@pytest.mark.parametrize("line", ["[0]\tauc:0.5", "[3/25][0/782] loss: 1", "[1, 2000] loss: 2", "{'loss': 1}", "[x] 1"])
def test_a_bracket_does_not_make_json(line: str, tmp_path: Path) -> None:
    """Many logs begin their lines with one."""
    assert not log_file(tmp_path, f"{line}\n{line}\n".encode()).begins_like_json
