"""A signal ends a training by Lightning in order, in a real process; the next one continues with the next batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainbus.journal import read

pytest.importorskip("lightning.pytorch", reason="needs trainbus[lightning]")

ROOT = Path(__file__).parents[3]


def train(folder: Path, name: str, way: str) -> tuple[int, Any, str]:
    """Return the exit code, the report and the errors of the process."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.adapters.lightning.interrupted", str(folder), name, way]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    lines = done.stdout.strip().splitlines()
    return done.returncode, json.loads(lines[-1]) if lines and not done.returncode else None, done.stderr


ENDS = [("SIGINT", "auto"), ("SIGTERM", "auto"), ("SIGINT", "path"), ("SIGTERM", "path")]


@pytest.mark.parametrize(("name", "way"), ENDS)
@pytest.mark.exhaustive
def test_a_signal_ends_the_training_in_order(name: str, way: str, tmp_path: Path) -> None:
    """The exit code is that of a training whose run handles no signal."""
    _, unbroken, _ = train(tmp_path / "unbroken", "none", way)
    code, _, errors = train(tmp_path / "run", name, way)

    assert code == train(tmp_path / "alone", name, "alone")[0], errors
    assert f"{name}: the run ended in epoch 2 after 6 steps" in errors
    assert list((tmp_path / "run/logs").rglob("events.out.*"))
    assert read(tmp_path / "run/journal.jsonl")[-1].epochs
    code, continued, errors = train(tmp_path / "run", "none", way)
    assert (code, continued) == (0, unbroken), errors
