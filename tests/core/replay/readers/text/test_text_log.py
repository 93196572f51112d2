"""The reader of plain text."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.replay import read, read_all

from ...recorded import shown

OWN = r"i=(?P<iteration>\d+)\] quality (?P<quality>[\d.]+)"


def test_a_pattern_of_ones_own_is_found_in_every_line(tmp_path: Path) -> None:
    """Its groups are the axis and the metrics."""
    path = tmp_path / "train.out"
    path.write_text("start\n[i=5] quality 3.5 (best)\n[i=10] quality 2.5\nend\n")
    found = read(path, pattern=OWN)
    assert (found.format, found.unit, shown(found)) == ("text", "iteration", {"quality": [3.5, 2.5]})
    assert [each.name for each in read_all(tmp_path, pattern=OWN)] == ["train.out"]
    with pytest.raises(SettingsError, match=r"train.out' is text in which no known pattern was found: name"):
        read(path)


def test_several_patterns_are_for_several_kinds_of_lines(tmp_path: Path) -> None:
    """Each line has the numbers of the first that is found in it."""
    path = tmp_path / "train.out"
    path.write_text("train 1 3.5\nval 1 4.5\ntrain 2 2.5\nval 2 4.0\n")
    patterns = [r"train (?P<epoch>\d+) (?P<loss>\S+)", r"val (?P<epoch>\d+) (?P<val_loss>\S+)"]
    assert shown(read(path, pattern=patterns)) == {"loss": [3.5, 2.5], "val_loss": [4.5, 4.0]}


def test_a_pattern_that_is_not_in_the_file_is_named(tmp_path: Path) -> None:
    """A file that it does not fit is read by its format, if it is not named."""
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n0,2\n")
    with pytest.raises(SettingsError, match=r"log.csv' has no line in which the pattern 'i=.*' finds numbers"):
        read(path, pattern=OWN)
    assert read(tmp_path, pattern=OWN).format == "Keras CSV"


@pytest.mark.parametrize("text", ["Epoch 1: see loss = 0.5", "Nothing\n", "<html>Epoch 1: loss: 2\nEpoch 2: loss: 1"])
def test_what_is_found_in_a_folder_must_have_two_rows(text: str, tmp_path: Path) -> None:
    """A text may speak of an epoch."""
    (tmp_path / "notes.txt").write_text(text)
    with pytest.raises(SettingsError, match="no recorded run"):
        read(tmp_path)


def test_progress_bars_and_long_lines_are_read(tmp_path: Path) -> None:
    """A carriage return ends a line; only the beginning of a very long one counts."""
    path = tmp_path / "log.txt"
    path.write_bytes(b"Epoch 1: loss: 3.0\rEpoch 1: loss: 2.5\nEpoch 2: loss: 2.0 " + b"x" * 3_000_000 + b"\n")
    assert shown(read(path)) == {"loss": [2.5, 2.0]}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """By a pattern and without one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.txt")
        path.write_bytes(b"epoch 1 loss: 2\nepoch 2 loss: " + data)
        for pattern in (None, OWN):
            try:
                assert read(path, pattern=pattern).epochs.size
            except SettingsError as error:
                assert "failed:" not in str(error)  # noqa: PT017
