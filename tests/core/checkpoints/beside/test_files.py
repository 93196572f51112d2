"""The laws of a payload with files beside it, a state or other models: all are committed and removed as one."""

import os
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.core.storage import stores
from tests.core.storage.dying import dying_at
from tests.core.storage.stores import new_directory
from trainbus import CheckpointError
from trainbus.checkpoints import commit, read, remove, scan
from trainbus.checkpoints.beside.files import BesideWriter
from trainbus.checkpoints.discovery import remove_debris
from trainbus.checkpoints.manifest import BESIDE, FileBeside
from trainbus.storage.backend import backend_for
from trainbus.storage.paths import Location


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


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", ".", "..", "a\0b", ".trainbus-state-1", ".trainbus.lock", "trainbus.m.pt.json"]
)
def test_a_manifest_gives_no_name_that_no_checkpoint_has(name: str) -> None:
    """A name leads to no other directory, to no internal file and to no manifest."""
    if name != ".trainbus.lock":
        with pytest.raises(ValidationError):
            FileBeside(stored=f"{BESIDE}{0:016x}", size=1, digest="", name=name)


def put_models(path: Location, text: str, number: int, *, models: tuple[str, ...] = ("b.pt", "c.pt")) -> None:
    """Commit a save of a state and several models, each with its name and a text."""
    beside = [BesideWriter(lambda staged: staged.write_text(f"state of {text}"), ".pt")]
    beside += [BesideWriter(partial(Path.write_text, data=f"{name} {text}"), ".pt", name) for name in models]
    commit(path, lambda staged: staged.write_text(f"a.pt {text}"), beside=beside, epoch=number, step=number)


def texts(directory: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in directory.glob("*.pt") if not each.name.startswith(".")}


def of_models(text: str) -> dict[str, str]:
    return {name: f"{name} {text}" for name in ("a.pt", "b.pt", "c.pt")}


@pytest.mark.parametrize(
    ("before", "stride"),
    [("models", 4), *(pytest.param(each, 1, marks=pytest.mark.exhaustive) for each in ("models", "plain", None))],
)
def test_a_death_at_any_call_leaves_all_models_of_one_save(before: str | None, stride: int) -> None:
    """A save is usable as a whole, also if some files have no name yet; the next run gives them theirs."""
    seen, unnamed = set(), 0
    for step in count(step=stride):
        path = Path(f"{before}-{step}/a.pt")
        if before == "models":
            put_models(path, "old", 1)
        elif before == "plain":
            for name in ("a.pt", "b.pt", "c.pt"):
                commit(path.with_name(name), partial(Path.write_text, data=f"{name} old"), epoch=1, step=1)
        died = dying_at(step, partial(put_models, path, "new", 2))
        intact = [each for each in scan(path.parent, verify=True) if not each.flaw] if path.parent.exists() else []
        assert intact or not path.exists()
        if path.exists():
            found = read(path)
            text = path.read_text().partition(" ")[2]
            assert found.epoch == (2 if text == "new" else 1)
            unnamed += texts(path.parent) != of_models(text)
            remove_debris(path.parent, lambda _: True)
            assert texts(path.parent) == of_models(text)
            assert read(path).epoch == found.epoch
            assert len(states(path.parent)) == (text == "new" or before == "models")
            seen.add(text)
        put_models(path, "later", 3)
        assert texts(path.parent) == of_models("later")
        assert read(path).state_path.read_text() == "state of later"
        remove(path)
        remove_debris(path.parent)
        assert texts(path.parent) == {}
        if not died:
            break

    assert step > 20
    assert unnamed
    assert seen == ({"new"} if before is None else {"old", "new"})


@pytest.mark.parametrize("store", ["memory", pytest.param("disk", marks=pytest.mark.exhaustive)])
def test_a_death_at_any_request_to_a_store_leaves_all_models_of_one_save(store: str) -> None:
    """In a store a file has both names for a moment; what is under its name is complete, or the other one counts."""
    seen = set()
    for step in count(step=3):
        path = new_directory(store) / "a.pt"
        put_models(path, "old", 1)
        with stores.dying_at(store, step) as died:
            try:
                put_models(path, "new", 2)
            except CheckpointError:
                assert died()
        found = read(path)
        text = {1: "old", 2: "new"}[found.step]
        assert not [each for each in scan(path.parent, verify=True) if each.flaw]
        remove_debris(path.parent, lambda _: True)
        names = [name for name in backend_for(path.parent).list_names() if name in of_models(text)]
        assert {name: backend_for(path.with_name(name)).read().decode() for name in names} == of_models(text)
        assert read(path).step == found.step
        remove(path)
        remove_debris(path.parent)
        assert not [name for name in backend_for(path.parent).list_names() if name.startswith(BESIDE)]
        seen.add(text)
        if not died():
            break
    assert seen == {"old", "new"}


def test_a_death_while_models_are_removed_leaves_a_manifest_that_names_the_rest() -> None:
    """What is left of them is removed if the deletion is asked for again, as a resumed run does."""
    for step in count():
        path = Path(f"{step}/a.pt")
        put_models(path, "old", 1)
        died = dying_at(step, partial(remove, path))
        if path.exists():
            assert read(path).epoch == 1
        elif texts(path.parent):
            (info,) = scan(path.parent)
            assert "missing" in info.flaw
        remove(path)
        remove_debris(path.parent)
        assert os.listdir(path.parent) == []
        if not died:
            break
    assert step > 5


@pytest.mark.parametrize("harm", ["missing", "shorter", "changed"])
@pytest.mark.parametrize("name", ["b.pt", "c.pt"])
def test_a_damaged_model_makes_the_save_damaged(name: str, harm: str) -> None:
    """The listing has one line for the save, and says which file is damaged."""
    put_models(Path("a.pt"), "text", 1)
    if harm == "missing":
        Path(name).unlink()
    else:
        Path(name).write_text(f"{name} texd" if harm == "changed" else "t")
    with pytest.raises(CheckpointError, match=rf"'a\.pt' is damaged: .*its file '{name}'"):
        read(Path("a.pt"))
    (found,) = scan(Path(), verify=True)
    assert name in found.flaw
    assert bool(scan(Path())[0].flaw) == (harm != "changed")


def test_a_model_that_cannot_get_its_name_is_reported_and_the_save_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its content counts under its first name; the next save, and the next run, try again."""
    put_models(Path("a.pt"), "old", 1)
    real = os.replace

    def refused(source: Path, target: Path) -> None:
        if Path(target).name == "c.pt":
            raise PermissionError(1, "Operation not permitted", str(target))
        real(source, target)

    with monkeypatch.context() as patch, pytest.raises(CheckpointError, match=r"not all .* get their names: .*c\.pt"):
        patch.setattr(os, "replace", refused)
        put_models(Path("a.pt"), "new", 2)
    assert read(Path("a.pt")).epoch == 2
    assert texts(Path()) == {**of_models("new"), "c.pt": "c.pt old"}
    remove_debris(Path(), lambda path: path.name != "c.pt")
    assert texts(Path())["c.pt"] == "c.pt old"
    remove_debris(Path(), lambda _: True)
    assert texts(Path()) == of_models("new")


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_a_name_that_no_file_can_have_fails_the_save_before_anything_is_replaced(kind: str) -> None:
    """The save before it stays complete."""
    put_models(Path("a.pt"), "old", 1, models=("b.pt",))
    Path("c.pt").mkdir() if kind == "directory" else os.mkfifo("c.pt")
    with pytest.raises(CheckpointError, match=r"c\.pt' is a directory|is a FIFO; .*c\.pt"):
        put_models(Path("a.pt"), "new", 2)
    assert Path("b.pt").read_text() == "b.pt old"
    assert read(Path("a.pt")).epoch == 1
    assert len(states(Path())) == 1


def test_a_run_of_fewer_models_leaves_the_file_of_the_other() -> None:
    """What a manifest on the disk names is not deleted when it is replaced: anyone may have written it."""
    put_models(Path("a.pt"), "old", 1)
    put_models(Path("a.pt"), "new", 2, models=("b.pt",))
    assert texts(Path()) == {**of_models("new"), "c.pt": "c.pt old"}
