"""Lines of a text file."""

from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.limits import JOURNAL_LINE
from trainbus.replay.readers.shared.lines import whole_lines


def test_a_byte_order_mark_and_other_ends_of_lines_are_no_text(tmp_path: Path):
    path = tmp_path / "log"
    path.write_bytes("\ufeffone\r\ntwo\r\n".encode())
    assert list(whole_lines(path, [])) == [(1, "one"), (2, "two")]


def test_lines_that_are_too_long_or_no_text_are_refused(tmp_path: Path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * (JOURNAL_LINE + 1))
    with pytest.raises(SettingsError, match="line 1 has more than 4,000,000 bytes"):
        list(whole_lines(path, []))
    path.write_bytes(b"one\n\xff\xfe\n")
    with pytest.raises(SettingsError, match="line 2 is not text in UTF-8"):
        list(whole_lines(path, []))
