"""Under Ray Train a killed worker costs what was not reported yet."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.listing import without_history

ROOT = Path(__file__).parents[2]

if importlib.util.find_spec("ray") is None:  # it is large, and its import takes seconds
    pytest.skip("needs Ray Train: pip install 'trainbus[ray]'", allow_module_level=True)


def trained(folder: Path, how: str) -> dict[str, Any]:
    """Return the report of a training on two workers, run in a child process."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.distributed.ray_training", str(folder), how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return report


def test_a_killed_worker_changes_nothing(tmp_path: Path) -> None:
    """Restarted by Ray, the run continues from the reported checkpoint, and ends as the uninterrupted one."""
    uninterrupted, killed = trained(tmp_path / "uninterrupted", "no"), trained(tmp_path / "killed", "kill")

    assert killed["killed"]
    for whole, again in zip(uninterrupted["ranks"], killed["ranks"], strict=True):
        assert whole.pop("resumed") is None
        assert again.pop("resumed") is not None
        assert whole == again
    assert uninterrupted["metrics"]["epoch"] == killed["metrics"]["epoch"] == 5
    for each in (killed, uninterrupted):
        assert without_history(each["files"]) == ["m-6.pt", "trainbus.m-6.pt.json"]
