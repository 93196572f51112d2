"""Reports to Ray Train and Ray Tune; tests/distributed kills a worker."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.listing import without_history

from .ray_scenes import LOSSES
from .tune_scenes import LOSSES as TUNED

ROOT = Path(__file__).parents[2]

if importlib.util.find_spec("ray") is None:  # it is large, and its import takes seconds
    pytest.skip("needs Ray Train: pip install 'trainbus[ray]'", allow_module_level=True)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what a worker found in each scene, from one launch."""
    return launched("tests.adapters.ray_scenes", tmp_path_factory.mktemp("ray"))


def launched(scenes: str, folder: Path) -> dict[str, Any]:
    """Run scenes in a process of their own, and return what they have printed."""
    command = [sys.executable, "-m", scenes, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return report


def names(epoch: int) -> list[str]:
    """Return the files that are reported of an epoch: numbers in file names count from 1."""
    return [f"m-{epoch + 1}.npz", f"trainbus.m-{epoch + 1}.npz.json"]


def test_an_epoch_is_reported_with_its_checkpoint(found: dict[str, Any]) -> None:
    """When the next one begins, and the last when the run ends; trainbus's own files stay where they are."""
    assert found["each"][0] is None
    assert [*map(without_history, found["each"][1:])] == [names(0), names(1), names(2)]
    assert found["kept"] == ["m-2.npz", "m-3.npz"]


def test_an_epoch_without_a_checkpoint_is_reported_by_its_metrics(found: dict[str, Any]) -> None:
    """Ray then has no checkpoint, and there is nothing to resume."""
    assert found["before"] is None
    assert found["without"] == [None] * 4


def test_metrics_are_those_of_the_last_reported_epoch(found: dict[str, Any]) -> None:
    """With its number and the number of weight updates."""
    metrics = found["metrics"]

    assert [metrics[name] for name in ("loss", "epoch", "step")] == [LOSSES[0], 0, 0]


def test_a_run_continues_from_what_was_reported(found: dict[str, Any]) -> None:
    """``reported`` is a directory for ``resume``, with the history of the run that wrote it."""
    assert found["resumed"] == [2, LOSSES]


def test_snapshots_that_a_manifest_refers_to_are_reported_with_it(found: dict[str, Any]) -> None:
    """A run that continues elsewhere can restore its best weights."""
    files, written = found["snapshots"]

    assert {"m.npz", "trainbus.m.npz.json"} < set(files)
    assert set(files) <= set(written)


def test_a_run_that_fails_does_not_report_its_last_epoch(found: dict[str, Any]) -> None:
    """Ray restarts it from the epoch before."""
    assert without_history(found["fails"]) == names(0)


# --- Ray Tune


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what each trial has reported and how its run has ended, from one launch."""
    pytest.importorskip("ray.tune", reason="needs Ray Tune: pip install 'trainbus[ray]'")
    return launched("tests.adapters.tune_scenes", tmp_path_factory.mktemp("tune"))


def test_each_epoch_of_a_trial_is_reported(tuned: dict[str, Any]) -> None:
    whole = tuned["whole"]

    assert whole["losses"] == TUNED
    assert {"m-6.npz", "trainbus.m-6.npz.json"} <= set(whole["files"])
    assert whole["ended"] == {"reason": "all epochs done", "error": None, "epochs": 6}


def test_a_trial_that_tune_stops_ends_its_run_in_order(tuned: dict[str, Any]) -> None:
    stopped = tuned["stopped"]

    assert stopped["losses"] == TUNED[:3]
    assert stopped["ended"] == {"reason": "Ray Tune has ended the trial", "error": None, "epochs": 3}


def test_a_trial_that_tune_starts_again_continues_its_run(tuned: dict[str, Any]) -> None:
    """It had failed in the fourth epoch, which was not reported then."""
    failed = tuned["failed"]

    assert failed["losses"] == TUNED
    assert failed["ended"] == {"reason": "all epochs done", "error": None, "epochs": 6}
