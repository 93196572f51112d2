"""Tests of reading the history that a manifest names."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import pytest

from trainbus.checkpoints.history.history_log import SEGMENT, HistoryLog
from trainbus.checkpoints.history.history_reader import HistoryReference, read_history, reference_in, remove_unnamed
from trainbus.errors import CheckpointError
from trainbus.storage.paths import location


@pytest.mark.parametrize(
    "file",
    ["/etc/passwd", "../../passwd", "trainbus.history-x.jsonl", "a/trainbus.history-2a-2a.jsonl", "best.pt", "."],
)
def test_a_manifest_can_name_no_other_file(file: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not the name of a history file"):
        read_history(tmp_path, HistoryReference(file=file, length=1, digest="00"))


@pytest.mark.parametrize("line", [b"{}", b"[]", b"1", b'"a"', b'["back","x"]', b"[" * 100_000, b"nothing"])
def test_an_invalid_line_is_refused(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trainbus.history-2a-2a.jsonl"
    path.write_bytes(line + b"\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    with pytest.raises(CheckpointError, match="has an invalid line"):
        read_history(tmp_path, HistoryReference(file=path.name, length=len(line) + 1, digest=digest))


@pytest.mark.parametrize("state", [{}, {"history": ""}, {"history": {"length": -1}}, {"history": {"file": 3}}])
def test_a_state_without_a_history_names_none(state: dict[str, Any]) -> None:
    assert reference_in(state) is None


@pytest.mark.parametrize("kind", ["disk", "store"])
def test_only_histories_that_no_manifest_names_are_removed(kind: str) -> None:
    made = Path(tempfile.mkdtemp())
    directory, logs = made if kind == "disk" else location(f"memory://{made.name}"), list[HistoryLog]()
    for run in ("2a", "2b"):
        log = HistoryLog(directory, run)
        log.add([["epoch", 0, "x" * SEGMENT]])
        log.write()
        logs.append(log)

    remove_unnamed(directory, lambda: [logs[1].path.name])

    assert read_history(directory, logs[1].reference(directory))
    with pytest.raises(CheckpointError, match="is missing"):
        read_history(directory, logs[0].reference(directory))


def test_manifests_are_read_only_until_each_history_is_named(tmp_path: Path) -> None:
    """A directory with many checkpoints of one run has one history, which the first manifest names."""
    kept, unnamed = (f"trainbus.history-{run}-{run}.jsonl" for run in ("0" * 16, "1" * 16))
    (tmp_path / kept).touch()
    names = iter(["elsewhere.jsonl", kept, "not read"])
    remove_unnamed(tmp_path, lambda: names)

    assert list(names) == ["not read"]
    (tmp_path / unnamed).touch()
    remove_unnamed(tmp_path, lambda: iter([kept]))
    assert [path.name for path in tmp_path.iterdir()] == [kept]
