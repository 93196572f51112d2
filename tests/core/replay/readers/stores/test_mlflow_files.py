"""The reader of MLflow's file store, on one that MLflow wrote."""

import math
import shutil
from pathlib import Path

import pytest

from trainbus import SettingsError
from trainbus.replay import read, read_all

from ...samples import CURVE, FORMATS, best, logged, steps

STORE = FORMATS / "mlflow" / "mlruns"


def test_each_directory_of_a_run_is_one(tmp_path: Path):
    """Metrics have a file each, and folders where their names have a slash; parameters are the settings."""
    first, second = read_all(STORE)

    assert (first.format, first.unit, steps(first)) == ("MLflow file store", "step", list(range(10)))
    assert logged(first, "val_loss") == CURVE
    assert logged(second, "val_loss") == [value + 0.1 for value in CURVE]
    assert math.isnan(logged(first, "loss")[1])
    assert logged(first, "bound") == [math.inf]
    assert best(first, "val_loss") == 3
    assert first.settings == {"lr": "0.1", "batch_size": "32"}


def _run(place: Path, meta: str = "run_id: abc\n", **metrics: str) -> Path:
    (place / "metrics").mkdir(parents=True)
    (place / "meta.yaml").write_text(meta)
    for name, content in metrics.items():
        (place / "metrics" / name).write_text(content)
    return place


def test_values_without_steps_are_counted_as_written(tmp_path: Path):
    """``log_metric`` without a step writes step 0 each time."""
    found = read(_run(tmp_path, loss="1700000000000 3 0\n1700000000001 2 0\n1700000000002 1 0\n"))

    assert steps(found) == [0, 1, 2]
    assert logged(found, "loss") == [3, 2, 1]
    assert "'loss': all values have the same step, and are counted as written." in found.notes


def test_a_resumed_run_overwrites_its_later_steps(tmp_path: Path):
    lines = [(0, 4.0), (1, 3.0), (2, 9.0), (3, 9.0), (2, 2.0)]
    found = read(_run(tmp_path, loss="".join(f"1700000000000 {value} {step}\n" for step, value in lines)))

    assert (steps(found), logged(found, "loss")) == ([0, 1, 2], [4.0, 3.0, 2.0])
    assert "2 values are left out, since the run later went back to their steps." in found.notes


def test_a_line_without_its_end_is_left_out(tmp_path: Path):
    """MLflow 3 also writes on which data a value was measured."""
    found = read(_run(tmp_path, loss="1700000000000 3 0 data abc\n1700000000001 2 1 data abc\n17000"))
    assert logged(found, "loss") == [3, 2]


def test_a_deleted_run_is_refused(tmp_path: Path):
    """MLflow marks a run as deleted and keeps its files; its own pages do not show it."""
    shutil.copytree(STORE, tmp_path / "mlruns")
    directory = next(tmp_path.glob("mlruns/*/*/metrics")).parent
    meta = directory / "meta.yaml"
    meta.write_text(meta.read_text().replace("lifecycle_stage: active", "lifecycle_stage: deleted"))
    errors: list[SettingsError] = []

    assert len(read_all(tmp_path, unread=errors.append)) == 1
    assert "is deleted in MLflow" in str(errors[0])


def test_other_files_in_a_directory_of_metrics_are_not_of_mlflow(tmp_path: Path):
    """The file ``meta.yaml`` of a run has its identifier."""
    with pytest.raises(SettingsError, match="no recorded run"):
        read(_run(tmp_path, "model_id: abc\n", loss="1700000000000 3 0\n"))


def test_links_are_not_followed(tmp_path: Path):
    """A crafted directory could show the content of any file as a parameter, or have the whole disk searched."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("0123")
    run = _run(tmp_path / "run", loss="1700000000000 3 0\n")
    (run / "tags").mkdir()
    (run / "tags" / "mlflow.runName").symlink_to(tmp_path / "secret" / "key")
    (run / "params").symlink_to(tmp_path / "secret")
    found = read(run)

    assert (found.name, found.settings) == ("run", {})


def test_a_damaged_line_is_refused(tmp_path: Path):
    with pytest.raises(
        SettingsError, match="line 2 is not a time, a value and a step of MLflow: '1700000000001 two 1'"
    ):
        read(_run(tmp_path, loss="1700000000000 3 0\n1700000000001 two 1\n"))
