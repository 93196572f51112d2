"""The reader of charts, written as Weights & Biases documents and exports them."""

from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.replay import read, read_all

from ...samples import best, logged, steps

CHART = """"Step","fast-sun-1 - val_loss","fast-sun-1 - val_loss__MIN","fast-sun-1 - val_loss__MAX",\
"a - b - val_loss","a - b - val_loss__MIN","a - b - val_loss__MAX"
"0","0.9","0.9","0.9","","",""
"50","0.4","0.4","0.4","0.8","0.8","0.8"
"100","0.5","0.5","0.5","NaN","NaN","NaN"
"""


def test_each_run_of_a_chart_is_one(tmp_path: Path):
    """The last hyphen separates the metric from a name that may have hyphens; ranges of the points are no metrics."""
    path = tmp_path / "wandb_export_2024-05-01T10_00_00.000+02_00.csv"
    path.write_text(CHART)
    other, first = read_all(path)

    assert (first.name, first.format, first.unit) == ("fast-sun-1", "Weights & Biases chart", "step")
    assert (steps(first), logged(first, "val_loss")) == ([0, 50, 100], [0.9, 0.4, 0.5])
    assert best(first, "val_loss") == 50
    assert (other.name, steps(other)) == ("a - b", [50, 100])
    assert repr(logged(other, "val_loss")) == "[0.8, nan]"


def test_charts_of_one_directory_are_joined(tmp_path: Path):
    """Each chart that is exported has one metric of the same runs."""
    (tmp_path / "one.csv").write_text(CHART)
    (tmp_path / "two.csv").write_text(
        '"Step","fast-sun-1 - train/loss","fast-sun-1 - _step"\n"0","2","0"\n"100","1","1"\n'
    )
    _, first = read_all(tmp_path)

    assert set(first.metrics) == {"loss", "val_loss"}
    assert steps(first) == [0, 50, 100]
    assert logged(first, "loss") == [2, 1]


@pytest.mark.parametrize("axis", ["epoch", "train/epoch", "epoch_id"])
def test_a_chart_over_epochs(tmp_path: Path, axis: str):
    (tmp_path / "chart.csv").write_text(f'"{axis}","run - val_acc"\n"1","0.5"\n"2","0.75"\n')
    found = read(tmp_path)
    assert (found.unit, found.epochs.tolist(), logged(found, "val_acc")) == ("epoch", [0, 1], [0.5, 0.75])


@pytest.mark.parametrize("axis", ["trainer/global_step", "iteration"])
def test_a_chart_over_another_counter(tmp_path: Path, axis: str):
    (tmp_path / "chart.csv").write_text(f'"{axis}","run - val_acc"\n"100","0.5"\n"200","0.75"\n')
    found = read(tmp_path)
    assert found.unit in axis
    assert steps(found) == [100, 200]


def test_a_table_of_runs_says_what_it_lacks(tmp_path: Path):
    """Weights & Biases exports the table of all runs too, which has only the last value of each metric."""
    path = tmp_path / "export.csv"
    path.write_text(
        '"Name","State","Notes","User","Tags","Created","Runtime","val_loss"\n"a","finished","-","","","","4","1"\n'
    )
    with pytest.raises(SettingsError, match="has the last values of runs of Weights & Biases, but no curves"):
        read(path)


def test_a_chart_over_time_counts_rows(tmp_path: Path):
    (tmp_path / "chart.csv").write_text('"Relative Time (Process)","run - val_acc"\n"3.5","0.5"\n"7.25","0.75"\n')
    found = read(tmp_path)

    assert steps(found) == [0, 1]
    assert "The x axis 'Relative Time (Process)' counts no steps: rows are counted instead." in found.notes


def test_a_damaged_chart_is_refused(tmp_path: Path):
    path = tmp_path / "chart.csv"
    path.write_text('"Step","run - val_acc"\n"1","high"\n')
    with pytest.raises(SettingsError, match="line 2 does not have the 2 numbers of the first line"):
        read(path)
