"""Why a file is not read."""

from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.replay import read
from trainbus.replay.readers import LogFile
from trainbus.replay.readers.refusal import explain

WHY = {
    b"": "is empty",
    b" \n": "is empty but for white space",
    b"\0\1\2": "is a binary file",
    b"PK\x03\x04junk": "is a ZIP archive, such as a .npz file, that is damaged or has no evaluations of",
    "epoch,loss\n1,2\n".encode("utf-16"): "is text in UTF-16, as PowerShell writes it: save it in UTF-8",
    b"\x1f\x8b\x08\0\0": "is compressed: unpack it",
    b"\x80\x04\x95": "is a pickle, which may run code and is never loaded",
    b"epoch,loss\n"
    + b"0,0.25\n" * 20
    + b"1,0.\0005\n": "is text with damage: byte 155, in line 22, is no text in UTF-8",
    b"epoch,loss\n" + b"0,0.25\n" * 20 + b"1,\xff5\n": "is text with damage: byte 153, in line 22, is no text in UTF-8",
    b"\xef\xbb\xbf \x1c": "is empty but for white space",
    b"size,price\n1,2\n": "is a table with the columns 'size', 'price', without a column of epochs, steps",
    b'{"size": 3}': "is a JSON object with the keys 'size', in none of the known forms",
    b"[1, 2]": "is a JSON list of 2 elements, in none",
    b"{}": "is an empty JSON object",
    b'{"size": 3}\n{"size": 4}\n': "has a JSON object in each line, with the keys 'size'",
    b'{"loss": [1, 2': "begins like JSON, but is not complete, or is damaged, at line 1, column 15",
    b'{"loss":\n[1, 2 3]}': "begins like JSON, but is not complete, or is damaged, at line 2, column 7",
    b"We tried 3 of them.": "no known pattern was found: name the numbers in its lines by a regular",
    b"Episode 0\tLast reward: 0.5\nEpisode 1\tLast reward: 1.5\n": "is text in which no known pattern was found",
    b"10:00,123 loop 1, error 0.5\n10:01,123 loop 2, error 0.4\n": "is text in which no known pattern was found",
    b"Round one, 3 clients, done\n": "is text in which no known pattern was found",
    b"[3] a; b\n": "is text in which no known pattern was found",
    b"height;price\n": "is a table with the columns 'height', 'price'",
    b"Nothing was measured.": "is text without numbers",
}


@pytest.mark.parametrize("content", WHY)
def test_a_refusal_says_what_the_file_is_and_what_would_help(content: bytes, tmp_path: Path) -> None:
    """For a file, and for the directory that has it."""
    path = tmp_path / "data.log"
    path.write_bytes(content)
    assert WHY[content] in explain(LogFile(path))
    assert "its own path" not in explain(LogFile(path, named=True))
    if b"size" in content and b"\n" in content:  # a file that is given by its own path may have metrics of any name
        assert set(read(path).metrics) >= {"size"}
        return
    with pytest.raises(SettingsError, match=r"data.log' .*; known formats: trainbus journals, ") as of_file:
        read(path)
    with pytest.raises(SettingsError, match=r"no recorded run in .* or below; one file was looked at: ") as of_folder:
        read(tmp_path)
    for caught in (of_file, of_folder):
        assert WHY[content] in str(caught.value)
        assert "Extra data" not in str(caught.value)
        assert "\n" not in str(caught.value)
