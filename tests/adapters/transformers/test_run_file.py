"""The state of a run in a checkpoint of the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from trainbus import CheckpointError
from trainbus.adapters.torch.training_state import Snapshot
from trainbus.adapters.transformers import run_file


def state(**snapshots: Snapshot) -> dict[str, Any]:
    return {"trainbus": 1, "entry": {"b": [1.5, None], "a": "text"}, "snapshots": snapshots}


BEST = Snapshot({"w": torch.arange(3.0), "b": torch.zeros(1, dtype=torch.bfloat16)}, {"average": {"n": 2}})


def test_what_was_stored_is_read(tmp_path: Path) -> None:
    """With snapshots in a file, and in the order in which it was."""
    text = run_file.stored(state(best=BEST), tmp_path)
    found = run_file.read(text, tmp_path)

    assert list(found["entry"]) == ["b", "a"]
    assert found["entry"] == state()["entry"]
    assert found["snapshots"]["best"].extra == BEST.extra
    assert all(torch.equal(found["snapshots"]["best"].weights[name], value) for name, value in BEST.weights.items())


def test_a_state_without_snapshots_has_no_file(tmp_path: Path) -> None:
    """Not even one of an earlier run."""
    run_file.stored(state(best=BEST), tmp_path)
    text = run_file.stored(state(), tmp_path)

    assert not list(tmp_path.iterdir())
    assert run_file.read(text, tmp_path) == state()


def test_the_file_of_another_state_is_not_used(tmp_path: Path) -> None:
    text = run_file.stored({**state(best=BEST), "entry": {}}, tmp_path)
    run_file.stored(state(best=BEST), tmp_path)

    assert run_file.read(text, tmp_path)["snapshots"] == {}


def test_a_directory_that_is_not_there_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run_file.stored(state(best=BEST), tmp_path / "absent")
    assert caplog.text.count("output_dir") == 1


@pytest.mark.parametrize("content", [b"", b"no file of torch", b"PK"])
def test_a_file_that_cannot_be_read_is_an_error(content: bytes, tmp_path: Path) -> None:
    text = run_file.stored(state(best=BEST), tmp_path)
    (tmp_path / run_file.SNAPSHOTS).write_bytes(content)
    with pytest.raises(CheckpointError, match="resume from another checkpoint"):
        run_file.read(text, tmp_path)


def test_a_text_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        run_file.read("{", tmp_path)
