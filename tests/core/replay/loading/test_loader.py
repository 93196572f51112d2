"""Loading of runs: all runs are found, each once, by a unique name."""

import math
import os
import shutil
from pathlib import Path

import pytest

from trainbus import Run, SettingsError
from trainbus.plugins import TensorBoard
from trainbus.replay import read, read_all

from ..recorded import DATA
from ..streams import curve, write


def test_several_formats_of_one_run_are_one(tmp_path: Path):
    """Event files, CSV and history with the same numbers are one run, whose notes name the others."""
    shutil.copytree(DATA, tmp_path / "all", ignore=shutil.ignore_patterns("*.py"))
    found = read_all(tmp_path / "all")

    assert [each.name for each in found] == ["keras", "lightning/version_0", "transformers"]
    notes = " ".join(note for each in found for note in each.notes)
    for other in ("keras.csv", "keras_history.json", "lightning_csv/version_0", "transformers/runs"):
        assert f"{other!r} (" in notes
    assert read(tmp_path / "all/keras").name == "keras"
    assert read(tmp_path / "all/keras.csv").name == "keras.csv"


def test_a_run_of_trainbus_is_one_with_its_journal(tmp_path: Path):
    """Even one epoch with one value, which other runs may have had, is the journal's and the charts' same run."""
    for name, value in [("a", 1.0), ("b", 1.0), ("c", math.nan)]:
        with Run(None, TensorBoard(tmp_path / name / "logs"), verbose=0) as run:
            for _ in run.epochs(1):
                run.log(loss=value)
    found = read_all(tmp_path)

    assert [each.format for each in found] == ["trainbus journal"] * 3
    assert [each.name for each in found] == ["a/logs", "b/logs", "c/logs"]


def test_a_bad_run_does_not_affect_the_others(tmp_path: Path):
    """The good runs are read; the bad one causes a warning, or a call of ``unread``."""
    write(tmp_path / "good/events.out.tfevents.1", curve("loss", range(3)))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/events.out.tfevents.1").write_bytes(b"nothing of the kind")
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    with pytest.warns(RuntimeWarning, match="A run is left out: .*not a TensorBoard event file"):
        found = read_all(tmp_path)
    errors: list[SettingsError] = []
    assert [each.name for each in read_all(tmp_path, unread=errors.append)] == [each.name for each in found] == ["good"]
    assert len(errors) == 1
    with pytest.raises(SettingsError, match="not a TensorBoard event file"):
        read_all(tmp_path / "bad")


def test_missing_and_ambiguous_paths_are_refused_with_the_fix(tmp_path: Path):
    """Errors name the nearest path, the runs of an ambiguous path, and the content of a directory without runs."""
    for name in ("runs/one", "runs/two"):
        write(tmp_path / name / "events.out.tfevents.1", curve("loss", range(3)))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.md").write_text("x")
    wrong = {
        "run": "did you mean 'runs'",
        "runs": "2 runs, 'one', 'two': give the path of one",
        "empty": "one file was looked at: 'notes.md' is text without numbers; known formats: trainbus journals",
        "empty/notes.md": "notes.md' is text without numbers; known formats",
    }
    for name, words in wrong.items():
        with pytest.raises(SettingsError, match=words):
            read(tmp_path / name)
    with pytest.raises(SettingsError, match="no path was given"):
        read_all()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="neither a file nor a directory"):
        read(tmp_path / "pipe")


def test_a_path_inside_another_one_adds_no_run(tmp_path: Path) -> None:
    """In any order, and also if it is the file itself."""
    for run in "abc":
        (tmp_path / run).mkdir()
        (tmp_path / run / "log.csv").write_text(f"epoch,val_loss\n0,{ord(run)}\n1,2\n")
    inside = tmp_path / "a"
    for paths in ((tmp_path, inside), (inside, tmp_path), (inside / "log.csv", tmp_path / "b" / "..", inside)):
        assert len(read_all(*paths)) == 3
