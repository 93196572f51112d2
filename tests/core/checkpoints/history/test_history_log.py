"""Tests of the file to which a history is appended."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainbus.checkpoints.history import history_log
from trainbus.checkpoints.history.history_log import HistoryLog
from trainbus.checkpoints.history.history_reader import HistoryReference, find_history_flaws, history_file, read_history
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
@example(steps=[("save", 1), ("die", b"\r0"), ("save", 0)])
@example(steps=[("save", 1), ("die", b"\r\x00"), ("save", 1)])
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
    assert log.flaw in ("was removed", "was changed")
    log.write_again()
    assert log.flaw == ""
    assert read_history(tmp_path, reference) == [["epoch", 0, {"loss": 1.0}]]


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
