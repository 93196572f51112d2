"""The reader of dvclive's directories, on one that dvclive wrote."""

import shutil
import sys
from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.replay import read, read_all

from ...samples import CURVE, FORMATS, best, logged, steps

DIRECTORY = FORMATS / "dvclive" / "dvclive"


def test_all_tables_are_one_run():
    """Metrics in folders get their names; ``params.yaml`` beside them holds the settings."""
    (found,) = read_all(DIRECTORY)

    assert (found.name, found.format, found.unit) == ("dvclive", "dvclive", "step")
    assert steps(found) == list(range(10))
    assert logged(found, "val_loss") == CURVE
    assert logged(found, "loss") == [value / 2 for value in CURVE]
    assert best(found, "val_loss") == 3
    assert found.settings == {"lr": 0.1, "model/depth": 3}


def test_a_table_is_a_run_of_one_metric():
    assert set(read(DIRECTORY / "plots" / "metrics" / "val" / "loss.tsv").metrics) == {"val_loss"}


@pytest.mark.parametrize("folder", ["plots/metrics", "scalars", "."])
def test_older_versions_write_the_time(tmp_path: Path, folder: str):
    """A first column has milliseconds, which give the times of the rows; the tables are in other folders."""
    table = tmp_path / "run" / folder / "acc.tsv"
    table.parent.mkdir(parents=True)
    table.write_text("timestamp\tstep\tacc\n1700000000000\t0\t0.5\n1700000002500\t1\t0.75\n")
    found = read(tmp_path)

    assert found.name == "run"
    assert logged(found, "acc") == [0.5, 0.75]
    assert found.duration == 2.5


def test_settings_need_a_reader_of_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without the package the run is read all the same, and a note has the command."""
    shutil.copytree(DIRECTORY, tmp_path / "run")
    monkeypatch.setitem(sys.modules, "yaml", None)
    found = read(tmp_path / "run")

    assert logged(found, "val_loss") == CURVE
    assert not found.settings
    assert "The settings in params.yaml are not read: pip install 'trainbus[yaml]'." in found.notes


def test_a_damaged_table_is_refused(tmp_path: Path):
    table = tmp_path / "plots" / "metrics" / "acc.tsv"
    table.parent.mkdir(parents=True)
    table.write_text("step\tacc\n0\t0.5\n1\n")
    with pytest.raises(SettingsError, match="line 3 does not have the numbers step, acc: '1'"):
        read(tmp_path)
