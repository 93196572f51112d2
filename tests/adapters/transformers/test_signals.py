"""A signal from outside of the process ends a training by the Trainer in order, and the next one continues it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainbus.journal import read

ROOT = Path(__file__).parents[3]


def train(folder: Path, way: str, number: signal.Signals | None = None) -> tuple[int, Any, str]:
    """Return the exit code, how the run has ended, and the errors of the process, which may get a signal."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.adapters.transformers.interrupted", str(folder), way]
    command += [] if number is None else ["wait"]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        if number is not None:
            assert process.stdout is not None
            assert "ready\n" in iter(process.stdout.readline, "")  # after what the trainer prints
            process.send_signal(number)
        output, errors = process.communicate("\n", timeout=300)
    return process.returncode, None if process.returncode else json.loads(output.splitlines()[-1]), errors


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("number", "way"), [(signal.SIGINT, "auto"), (signal.SIGINT, "checkpoint"), (signal.SIGTERM, "auto")]
)
def test_a_signal_ends_the_training_in_order(number: signal.Signals, way: str, tmp_path: Path) -> None:
    """Its files are closed, and what it trains from there on is what an unbroken training has."""
    _, unbroken, _ = train(tmp_path / "unbroken", way)
    code, _, errors = train(tmp_path / "run", way, number)

    assert code in (-number, 128 + number, 1), errors
    assert f"{number.name}: the run ended in epoch 2 after 6 steps" in errors
    assert list((tmp_path / "run/logs").rglob("events.out.*"))
    if way == "auto":
        assert read(tmp_path / "run/journal.jsonl")[-1].epochs
    code, continued, errors = train(tmp_path / "run", way)
    assert (code, continued) == (0, unbroken), errors
