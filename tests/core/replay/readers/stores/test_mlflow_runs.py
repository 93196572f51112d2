"""What both of MLflow's stores have in common."""

from pathlib import Path

import pytest

from trainbus.replay import read_all

from ...recorded import table_of
from ...samples import FORMATS


@pytest.mark.parametrize("store", ["mlflow.db", "mlruns"])
def test_runs_have_the_names_that_mlflow_shows(store: str):
    """A run is called by its experiment and its name, in both stores."""
    assert [run.name for run in read_all(FORMATS / "mlflow" / store)] == ["digits/first", "digits/second"]


def test_both_stores_hold_the_same_runs():
    """MLflow wrote the same values to both; read together, each run is read once."""
    database, files = (read_all(FORMATS / "mlflow" / store) for store in ("mlflow.db", "mlruns"))
    for one, other in zip(database, files, strict=True):
        assert sorted(table_of(one).items()) == sorted(table_of(other).items())
        assert one.settings == other.settings
    assert len(read_all(FORMATS / "mlflow")) == 2


def test_metrics_of_the_machine_are_left_out(tmp_path: Path):
    """Their steps count measurements, and would be rows of the run."""
    for store in ("mlflow.db", "mlruns"):
        for run in read_all(FORMATS / "mlflow" / store):
            assert set(run.metrics) == {"loss", "val_loss", "bound"}
            assert run.epochs.size == 10
            assert any("the machine" in note for note in run.notes)
