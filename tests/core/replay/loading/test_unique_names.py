"""Names of runs distinguish them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from trainbus import Run
from trainbus.plugins import Journal
from trainbus.replay import read_all
from trainbus.replay.loading.same_run import Located
from trainbus.replay.loading.unique_names import uniquely_named

from ..recorded import recording
from ..streams import curve, write


def test_a_run_that_is_requested_itself_is_called_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of several with one name: the name is the path's last part already, and is not repeated."""
    monkeypatch.chdir(tmp_path)
    for place in ("a/run1", "b/run1", "c/run1/run1"):
        write(Path(place, "events.out.tfevents.1"), curve("loss", range(3 + len(place))))
    for place in ("a/log.csv", "b/log.csv"):
        Path(place).write_text(f"epoch,loss\n0,1.5\n1,{ord(place[0])}\n")
    for place in ("a/twice", "b/twice"):
        for losses in ([1.0], [2.0, 3.0]):
            with Run(None, Journal(f"{place}/journal.jsonl"), verbose=0) as run:
                for epoch in run.epochs(len(losses)):
                    run.log(loss=losses[epoch] + ord(place[0]))

    def names(*paths: str) -> list[str]:
        return [each.name for each in read_all(*paths)]

    assert names("a/run1", "b/run1") == ["a/run1", "b/run1"]
    assert names("a/run1", "c/run1") == ["a/run1", "c/run1/run1"]
    assert names("a/log.csv", "b/log.csv") == ["a/log.csv", "b/log.csv"]
    assert names("a/twice", "b/twice") == ["a/twice#1", "a/twice#2", "b/twice#1", "b/twice#2"]
    assert {"a/run1", "b/run1"} <= set(names("a/run1", "b"))
    assert names("a/run1") == ["run1"]
    monkeypatch.chdir("a/run1")
    assert names(".", "../../b/run1") == ["../../b/run1", "run1"]


def test_names_distinguish_runs(tmp_path: Path):
    """Runs that have one name below two paths are called by the path, and the same path given twice is one."""
    for place in ("a/version_0", "b/version_0", "b/version_1"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(f"epoch,step,val_loss\n0,9,{len(place)}\n1,19,{ord(place[0])}\n")
    os.chdir(tmp_path)

    assert [each.name for each in read_all("a", "b", "a")] == ["a/version_0", "b/version_0", "version_1"]
    assert [each.name for each in read_all("a", "b/version_1")] == ["version_0", "version_1"]


def test_the_directory_of_a_run_distinguishes_it(tmp_path: Path) -> None:
    """Runs of MLflow may have one name; its id is then part of the name, and nothing that they have in common."""
    for run in ("0a1b", "2c3d"):
        folder = tmp_path / "mlruns/1" / run
        (folder / "metrics").mkdir(parents=True)
        (folder / "tags").mkdir()
        (folder / "meta.yaml").write_text(f"run_id: {run}\n")
        (folder / "tags/mlflow.runName").write_text("baseline")
        (folder / "metrics/loss").write_text(f"1700000000000 {len(run)} 0\n1700000000001 0.{run[0]} 1\n")
    (tmp_path / "mlruns/1/meta.yaml").write_text("name: digits\n")
    assert [each.name for each in read_all(tmp_path)] == ["digits/baseline#0a1b", "digits/baseline#2c3d"]
    assert [each.name for each in read_all(tmp_path / "mlruns/1/0a1b")] == ["digits/baseline"]


def test_the_format_distinguishes_runs_before_a_number_does(tmp_path: Path) -> None:
    """The path, which they share, does not."""
    files = [Located(tmp_path, (tmp_path / "log",), replace(recording([1.0]), format=form)) for form in "ABB"]
    assert [each.name for each in uniquely_named(files)] == ["run (A)", "run (B)", "run (B) 2"]
