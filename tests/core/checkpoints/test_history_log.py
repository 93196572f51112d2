"""Tests of the file to which a history is appended."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.checkpoints import history_log
from trainbus.checkpoints.history_log import (
    HistoryLog,
    HistoryReference,
    find_history_flaws,
    history_file,
    read_history,
    reference_in,
    remove_unnamed,
)
from trainbus.errors import CheckpointError
from trainbus.storage.paths import Location, location

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("save"), st.integers(0, 3)),
        st.tuples(st.just("resume"), st.integers(0, 9)),
        st.tuples(st.just("die"), st.binary(max_size=9)),
        st.tuples(st.just("die"), st.sampled_from([b'["back",', b'["back",0', b'["epoch",1]\n["ep', b"\n\n"])),
    ),
    max_size=12,
)


def folder_in(kind: str) -> Location:
    made = Path(tempfile.mkdtemp())
    return made if kind == "disk" else location(f"memory://{made.name}")


@pytest.mark.parametrize("kind", ["disk", "store"])
@given(steps=STEPS)
def test_whatever_follows_a_checkpoint_it_finds_its_own_history(kind: str, steps: list[tuple[str, Any]]) -> None:
    """After saves, deaths in the middle of a write, and resumes from any earlier checkpoint, in any order."""
    patched = pytest.MonkeyPatch()
    patched.setattr(history_log, "SEGMENT", 40)
    directory, known = folder_in(kind), list[tuple[HistoryReference, list[Any]]]()
    log, records, number = HistoryLog(directory, "2a"), list[Any](), 0
    for step, value in steps:
        if step == "save":
            new = [["epoch", number + each] for each in range(value)]
            number += value
            log.add(new)
            records = [*records, *new]
            known.append((log.reference(directory), records))
            log.write()
        elif step == "die" and isinstance(log.path, Path) and log.path.exists():
            with log.path.open("ab") as file:
                file.write(value)
        if step == "resume" or (step == "die" and known):
            reference, records = known[value % len(known)] if isinstance(value, int) and known else (None, [])
            if reference is None and known:
                reference, records = known[-1]
            log = HistoryLog(directory, "2a")
            if reference is not None and reference.file:
                log.follow(history_file(directory, reference), reference)
            else:
                log.add(records)
    patched.undo()

    for reference, expected in known:
        assert read_history(directory, reference) == expected
    assert find_history_flaws((directory, reference) for reference, _ in known) == {}


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda path: path.unlink(), "is missing; move it together with the checkpoint"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is damaged"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"0", b"1", 1)), "is damaged"),
        (lambda path: path.write_bytes(b"x" + path.read_bytes()), "is damaged"),
    ],
)
def test_a_history_that_is_missing_or_damaged_is_named(harm: Any, why: str, tmp_path: Path) -> None:
    log = HistoryLog(tmp_path, "2a")
    log.add([["epoch", 0, {"loss": 1.0}]])
    reference = log.reference(tmp_path)
    log.write()
    harm(log.path)

    with pytest.raises(CheckpointError, match=why):
        read_history(tmp_path, reference)
    assert list(find_history_flaws([(tmp_path, reference)])) == [reference.key]
    assert log.is_there is (log.path.exists() and log.path.stat().st_size >= reference.length)


@pytest.mark.parametrize(
    "file",
    ["/etc/passwd", "../../passwd", "trainbus.history-x.jsonl", "a/trainbus.history-2a-2a.jsonl", "best.pt", "."],
)
def test_a_manifest_can_name_no_other_file(file: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not the name of a history"):
        read_history(tmp_path, HistoryReference(file=file, length=1, digest="00"))


@pytest.mark.parametrize("line", [b"{}", b"[]", b"1", b'"a"', b'["back","x"]', b"[" * 100_000, b"nothing"])
def test_a_line_that_is_no_record_is_refused(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trainbus.history-2a-2a.jsonl"
    path.write_bytes(line + b"\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    with pytest.raises(CheckpointError, match="no record"):
        read_history(tmp_path, HistoryReference(file=path.name, length=len(line) + 1, digest=digest))


@pytest.mark.parametrize("state", [{}, {"history": ""}, {"history": {"length": -1}}, {"history": {"file": 3}}])
def test_a_state_without_a_history_names_none(state: dict[str, Any]) -> None:
    assert reference_in(state) is None


@pytest.mark.parametrize("kind", ["disk", "store"])
def test_only_histories_that_no_manifest_names_are_removed(kind: str) -> None:
    directory, logs = folder_in(kind), list[HistoryLog]()
    for run in ("2a", "2b"):
        log = HistoryLog(directory, run)
        log.add([["epoch", 0, "x" * history_log.SEGMENT]])
        log.write()
        logs.append(log)

    remove_unnamed(directory, lambda: [logs[1].path.name])

    assert read_history(directory, logs[1].reference(directory))
    with pytest.raises(CheckpointError, match="is missing"):
        read_history(directory, logs[0].reference(directory))


def test_a_write_that_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = HistoryLog(tmp_path / "there", "2a")
    log.add([["epoch", 0]])
    (tmp_path / "there").write_text("in the way")
    with pytest.raises(OSError, match="there"):
        log.write()
    (tmp_path / "there").unlink()
    log.add([["epoch", 1]])
    reference = log.reference(tmp_path / "there")
    log.write()

    assert read_history(tmp_path / "there", reference) == [["epoch", 0], ["epoch", 1]]


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
