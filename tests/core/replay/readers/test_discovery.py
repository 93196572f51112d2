"""The discovery of runs: only recorded runs are found, in every format."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.limits import ROWS, RUN_EPOCHS
from trainbus.replay import read, read_all

from ..streams import curve, write


def test_hidden_directories_and_installed_packages_hold_no_runs(tmp_path: Path):
    """Files in .git or in a virtual environment are not runs."""
    for place in (".hidden", "venv/lib"):
        write(tmp_path / place / "events.out.tfevents.1", curve("loss", range(3)))
    (tmp_path / "venv/pyvenv.cfg").write_text("")
    with pytest.raises(SettingsError, match="no recorded run"):
        read(tmp_path)

    assert read(tmp_path / ".hidden").name == ".hidden"


def test_a_directory_without_files_and_a_missing_one_are_named(tmp_path: Path):
    """Neither message ends in an empty list."""
    with pytest.raises(SettingsError, match=r"no recorded run in .* or below, no file at all; known formats: "):
        read(tmp_path)
    with pytest.raises(SettingsError, match=r"nothere' does not exist$"):
        read(tmp_path / "nothere")


HOSTILE = {
    "log.csv": ["", "\n", "epoch\n", "a,b\n", "epoch,x\n", "\0" * 50, "x" * (1 << 21), 'epoch,"' + "x" * 200_000],
    "history.json": ["", "{", "[1]", "{}", '{"a": []}', '{"a": "x"}', "[" * 100_000, '{"a": {"b": [1]}}', "\ud800"],
    "trainer_state.json": ["", "{}", '{"log_history": []}', '{"log_history": [1]}', '{"log_history": {}}', "null"],
    "journal.jsonl": ["", "{}", '{"event": "begin"}', "[]\n[]\n"],
    "events.out.tfevents.1": ["", "x", "x" * 100, "\0" * 100],
    "model.bin": ["", "x"],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_files_that_are_not_recordings_are_refused(name: str, tmp_path: Path):
    """Empty, foreign and broken files give an error of one line, whether they are given or found."""
    for text in HOSTILE[name]:
        path = tmp_path / name
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        for asked in (path, tmp_path):
            with pytest.raises(SettingsError) as caught:
                read(asked)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 800


@given(st.binary(max_size=200), st.sampled_from([*HOSTILE]))
def test_any_bytes_are_read_or_refused(data: bytes, name: str):
    """Any bytes in any format give a recording or a SettingsError."""
    heads = {"log.csv": b"epoch,loss\n", "history.json": b'{"loss": [', "journal.jsonl": b'{"event": "begin"'}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        for content in (data, heads.get(name, b"") + data):
            path.write_bytes(content)
            try:
                found = read(path)
            except SettingsError:
                continue
            assert found.epochs.ndim == 1


@pytest.mark.parametrize("rows", [RUN_EPOCHS, RUN_EPOCHS + 1])
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_the_limit_of_epochs_is_exact(tmp_path: Path, kind: str, rows: int) -> None:
    """One line names the file, the number and the limit."""
    file = tmp_path / f"history.{kind}"
    if kind == "csv":
        file.write_text("epoch,val_loss\n" + "".join(f"{epoch},1\n" for epoch in range(rows)))
    else:
        file.write_text(json.dumps({"val_loss": [1.0] * rows}))
    if rows == RUN_EPOCHS:
        assert read(file).epochs.size == rows
        return
    with pytest.raises(SettingsError, match="has 100,001 epochs; a recorded run has at most 100,000: ") as raised:
        read(file)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_run_beyond_the_limit_does_not_hide_others(tmp_path: Path) -> None:
    """It is reported, and left out."""
    (tmp_path / "long.csv").write_text("epoch,val_loss\n" + "".join(f"{epoch},1\n" for epoch in range(RUN_EPOCHS + 1)))
    (tmp_path / "short.csv").write_text("epoch,val_loss\n0,1\n1,2\n")
    unread: list[SettingsError] = []
    assert [each.name for each in read_all(tmp_path, unread=unread.append)] == ["short.csv"]
    assert len(unread) == 1


@pytest.mark.exhaustive
def test_the_rows_of_a_table_have_a_limit(tmp_path: Path) -> None:
    """Also if they all belong to one epoch."""
    file = tmp_path / "steps.csv"
    file.write_text("epoch,val_loss\n" + "0,1\n" * (ROWS + 1))
    with pytest.raises(SettingsError, match="has more than 1,000,000 rows"):
        read(file)
