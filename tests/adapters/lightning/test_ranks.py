"""Two processes of Lightning's DDP decide as one, and continue exactly after both were killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning.pytorch", reason="needs trainbus[lightning]")
pytestmark = pytest.mark.exhaustive

ROOT = Path(__file__).parents[3]


def train(folder: Path, way: str, moment: str = "", strategy: str = "ddp") -> list[dict[str, Any]]:
    """Return the report of each rank; none if they were killed."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.adapters.lightning.ranks", str(folder), way, moment, strategy]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode == -signal.SIGKILL) if moment else (done.returncode == 0), done.stderr
    return [json.loads(each.read_text()) for each in sorted(folder.glob("rank-*.json"))]


MOMENTS = ["1", "1 1", "0 2", "2 3"]


@pytest.mark.parametrize("way", ["auto", "path"])
def test_they_continue_exactly(way: str, tmp_path: Path) -> None:
    """From an epoch and from a batch; both ranks have the same history and the same weights."""
    unbroken = train(tmp_path / "unbroken", way)
    assert len(unbroken) == 2
    assert unbroken[0] == unbroken[1]
    assert unbroken[0]["history"]["learning_rate"][-1] < 0.1
    for moment in MOMENTS:
        folder = tmp_path / moment.replace(" ", "-")
        assert train(folder, way, moment) == []
        assert train(folder, way) == unbroken, f"killed at {moment}"


def test_ranks_that_lightning_spawns(tmp_path: Path) -> None:
    """The callback is copied into the processes that Lightning spawns or forks."""
    unbroken = train(tmp_path / "unbroken", "auto")
    for strategy in ("ddp_spawn", "ddp_fork"):
        assert train(tmp_path / strategy, "auto", strategy=strategy) == unbroken, strategy
