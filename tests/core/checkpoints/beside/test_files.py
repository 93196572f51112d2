"""The laws of a payload whose training state is in a second file: both are committed, read and removed as one."""

import os
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.core.storage.dying import dying_at
from trainbus import CheckpointError
from trainbus.checkpoints import commit, read, remove, scan
from trainbus.checkpoints.discovery import remove_debris
from trainbus.checkpoints.manifest import BESIDE, FileBeside
from trainbus.checkpoints.beside.files import BesideWriter


def put(path: Path, text: str, number: int, *, beside: bool = True) -> None:
    """Commit a content and, beside it, a state with the same text."""
    state = [BesideWriter(lambda staged: staged.write_text(f"state of {text}"), ".pt")] if beside else []
    commit(path, lambda staged: staged.write_text(text), beside=state, epoch=number, step=number)


def states(directory: Path) -> list[str]:
    return sorted(name for name in os.listdir(directory) if name.startswith(BESIDE))


@pytest.mark.parametrize(
    "before", [True, *(pytest.param(each, marks=pytest.mark.exhaustive) for each in (None, False))]
)
def test_a_death_at_any_call_leaves_the_old_or_the_new_with_its_own_state(before: bool | None) -> None:
    """Killed at any file system call, a path has one content with the state of the same moment; debris is removed."""
    seen = set()
    for step in count():
        path = Path(f"{before}-{step}/best.ckpt")
        path.parent.mkdir()
        if before is not None:
            put(path, "old", 1, beside=before)
        died = dying_at(step, partial(put, path, "new", 2))
        if path.exists():
            found = read(path)
            text = path.read_text()
            has_state = text == "new" or before
            assert found.state_path.read_text() == (f"state of {text}" if has_state else text)
            seen.add(text)
        else:
            assert before is None
        remove_debris(path.parent)
        assert len(states(path.parent)) <= 1
        put(path, "later", 3)
        assert read(path).state_path.read_text() == "state of later"
        assert len(states(path.parent)) == 1
        if not died:
            break

    assert step > 12
    assert seen == ({"new"} if before is None else {"old", "new"})


def test_a_death_while_it_is_removed_leaves_all_or_debris() -> None:
    """A checkpoint that a death left half removed is none; the next run removes the rest."""
    for step in count():
        path = Path(f"{step}/best.ckpt")
        put(path, "old", 1)
        died = dying_at(step, partial(remove, path))
        if path.exists():
            assert read(path).state_path.read_text() == "state of old"
        remove_debris(path.parent)
        assert path.exists() or not states(path.parent) or (path.parent / "trainbus.best.ckpt.json").exists()
        if not died:
            break
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("harm", ["missing", "shorter", "changed"])
def test_a_damaged_state_makes_the_checkpoint_damaged(harm: str) -> None:
    """A payload whose state cannot be used is refused, and the listing says why."""
    put(Path("m.ckpt"), "content", 1)
    (name,) = states(Path())
    if harm == "missing":
        Path(name).unlink()
    else:
        Path(name).write_text("state of conten?" if harm == "changed" else "s")
    with pytest.raises(CheckpointError, match=r"'m\.ckpt' is damaged: .*training state '\.trainbus-state-"):
        read(Path("m.ckpt"))
    (found,) = scan(Path(), verify=True)
    assert "training state" in found.flaw
    assert bool(scan(Path())[0].flaw) == (harm != "changed")


def test_a_save_that_fails_leaves_no_state() -> None:
    """If the state or the payload cannot be written, the old checkpoint stays with its own state alone."""

    def fail(staged: Path) -> None:
        raise OSError("full")

    put(Path("m.ckpt"), "old", 1)
    kept = states(Path())
    for write, write_state in ((fail, Path.touch), (Path.touch, fail)):
        with pytest.raises(CheckpointError, match="full"):
            commit(Path("m.ckpt"), write, beside=[BesideWriter(write_state, ".pt")], epoch=2, step=2)
        assert states(Path()) == kept
        assert read(Path("m.ckpt")).state_path.read_text() == "state of old"


@pytest.mark.parametrize(
    "name", ["../x", "m.pt", ".trainbus-state-", ".trainbus-state-0123456789abcdef/../../x", "/etc/x"]
)
def test_a_manifest_names_only_states(name: str) -> None:
    """A forged manifest cannot make a run read or delete another file."""
    with pytest.raises(ValidationError):
        FileBeside(stored=name, size=1, digest="")
