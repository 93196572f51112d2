"""A forged manifest with a fitting digest acts on no file but those that the run itself would write."""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainbus import CheckpointError, Run
from trainbus.checkpoints import commit, entries_of, manifest_of
from trainbus.checkpoints.manifest import write_manifest
from trainbus.decision import keep, restore
from trainbus.plugins import Journal, ModelCheckpoint, TensorBoard
from trainbus.storage.backend import digest_at
from trainbus.testing import LineSubject

CALLBACKS = [ModelCheckpoint("run/m-{epoch}", keep_last=2), Journal("run/journal.jsonl")]


def train(epochs: int, resume: str | None = None, callbacks: Any = CALLBACKS, kept: bool = False) -> Run:
    subject = LineSubject()
    with Run(subject, callbacks, verbose=0, resume=resume) as run:
        for epoch in run.epochs(epochs):
            for x in run.batches([0.0, 1.0]):
                run.log(loss=subject.train(np.array([x]), np.array([1.0])))
            if kept and epoch == 0:
                run.decide(keep("best"))
    return run


def forge(change: Callable[[dict[str, Any]], object], path: Path = Path("run/m-2.npz")) -> None:
    """Change the state in a manifest, whose digest then fits again."""
    entry = entries_of(path)[0]
    state = entry.model_dump(mode="json")["run_state"]
    change(state)
    write_manifest(path, [entry.model_copy(update={"run_state": state})])


def checkpoint_at(path: Path) -> Path:
    """A complete checkpoint of someone else."""
    commit(path, lambda staged: staged.write_text("precious"), epoch=0, step=1)
    return path


@pytest.fixture
def victims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A run of two epochs that was killed, in a directory of its own, and files that it does not own."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    train(2)
    Path("run/.trainbus-end.json").unlink()
    plain = [tmp_path / "absolute.txt", home / "victim", home / "run" / "notes.npz", home / "run" / "m-9.npz"]
    for each in plain:
        each.write_text("precious")
    Path("run/linked").symlink_to(tmp_path / "other")
    (tmp_path / "other").mkdir()
    intact = [tmp_path / "other" / "m-1.npz", home / "best.npz", home / "run2" / "m-1.npz"]
    return [*plain, *map(checkpoint_at, intact)]


def untouched(victims: list[Path]) -> bool:
    return all(each.read_text() == "precious" for each in victims) and all(
        manifest_of(each).exists() for each in victims[4:]
    )


OUTSIDE = [
    pytest.param(lambda: str(Path.cwd().parent / "absolute.txt"), id="absolute"),
    pytest.param(lambda: "victim", id="next to the directory"),
    pytest.param(lambda: "run/../victim", id="through the parent"),
    pytest.param(lambda: "run/linked/m-1.npz", id="through a link"),
    pytest.param(lambda: "best.npz", id="another checkpoint"),
    pytest.param(lambda: "run2/m-1.npz", id="a directory with the same beginning"),
    pytest.param(lambda: f"file://{Path.cwd()}/best.npz", id="a URL"),
    pytest.param(lambda: "run/notes.npz", id="a file that is no checkpoint"),
    pytest.param(lambda: "run/m-9.npz", id="a file with the name of a checkpoint"),
    pytest.param(lambda: "run/journal.jsonl", id="the journal"),
    pytest.param(lambda: "run/trainbus.m-1.npz.json", id="a manifest"),
    pytest.param(lambda: "run/.trainbus.lock", id="the lock"),
    pytest.param(lambda: "run", id="the directory itself"),
    pytest.param(lambda: "memory://run/m-1.npz", id="a store"),
]


@pytest.mark.parametrize("named", OUTSIDE)
def test_a_forged_deletion_deletes_nothing(
    victims: list[Path], named: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    """A left-over deletion of anything that is not a checkpoint of the run is dropped with one line."""
    path = named()
    forge(lambda state: state["decision"].append({"action": "Forget", "source": path, "by": "ModelCheckpoint"}))
    lock, journal, manifest = Path("run/.trainbus.lock"), Path("run/journal.jsonl"), Path("run/trainbus.m-1.npz.json")
    before = journal.read_bytes()

    with caplog.at_level(logging.WARNING):
        run = train(3, "auto")

    assert untouched(victims)
    assert (run.resumed.epoch, run.result.epochs) == (1, 3)
    assert lock.exists()
    assert journal.read_bytes().startswith(before)
    assert manifest.exists() or not Path("run/m-1.npz").exists()
    assert [repr(path) in line for line in caplog.messages if "is not deleted" in line] == [True]


@pytest.mark.parametrize("named", [each for each in OUTSIDE if each.id != "a file with the name of a checkpoint"])
def test_a_forged_save_writes_nothing(
    victims: list[Path], named: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    """A left-over save to anything but a checkpoint of the run is dropped with one line."""
    path = named()
    forge(lambda state: state["decision"].append({"action": "Save", "path": path, "by": "ModelCheckpoint"}))
    before = Path("run/journal.jsonl").read_bytes(), sorted(os.listdir()), sorted(os.listdir(".."))

    with caplog.at_level(logging.WARNING):
        run = train(3, "auto")

    assert untouched(victims)
    assert Path("run/journal.jsonl").read_bytes().startswith(before[0])
    assert (sorted(os.listdir()), sorted(os.listdir(".."))) == before[1:]
    assert run.result.epochs == 3
    assert [repr(path) in line for line in caplog.messages if "is not saved" in line] == [True]


@pytest.mark.parametrize("made", ["run/m-3.npz", "run/extra.npz", "run/deep/er/m.npz"])
def test_a_save_that_the_run_had_decided_is_made(victims: list[Path], made: str) -> None:
    """Also that of a plugin without patterns, in the directories of the callbacks."""
    forge(lambda state: state["decision"].append({"action": "Save", "path": made, "by": "ModelCheckpoint"}))

    train(2, "auto")

    assert entries_of(Path(made))


@pytest.mark.parametrize(
    "named",
    ["../victim", "../best.npz", "linked/m-1.npz", "/../victim", "notes.npz", "m-9.npz", "../run2/m-1.npz", "deep/x"],
)
def test_retention_deletes_no_file_that_a_forged_manifest_names(
    victims: list[Path], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The kept files in the state of ModelCheckpoint are its own, or they are dropped with one line each."""

    def change(state: dict[str, Any]) -> None:
        saved = next(each for each in state["plugins"] if each["name"] == "ModelCheckpoint")["state_dict"]
        saved["kept"].insert(0, [named, 0, 1, 0.5, 0.5])

    forge(change)

    with caplog.at_level(logging.WARNING):
        train(6, "auto")

    assert untouched(victims)
    assert {"run/m-5.npz", "run/m-6.npz"} <= {str(each) for each in Path("run").iterdir()}
    assert not Path("run/m-2.npz").exists(), "its own files are still replaced"
    assert [named in line for line in caplog.messages if "not kept or deleted" in line] == [True]


@pytest.mark.parametrize(
    "named",
    [
        "../secret.npz",
        "{absolute}",
        "linked/m-1.npz",
        "m-1.npz",
        "journal.jsonl",
        ".trainbus-slot-link.npz",
        "/dev/zero",
    ],
)
def test_a_forged_slot_opens_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A snapshot is a file that the run has made for one, below its directories; any other is lost with one line."""
    monkeypatch.chdir(tmp_path)
    train(2, kept=True)
    Path("run/.trainbus-end.json").unlink()
    secret = Path("secret.npz").absolute()
    np.savez(secret, slope=np.array(7.0), offset=np.array(7.0))
    Path("run/linked").symlink_to(tmp_path)
    Path("run/.trainbus-slot-link.npz").symlink_to(secret)
    forge(
        lambda state: state["slots"].update(
            best={"file": named.format(absolute=secret), "digest": digest_at(secret), "lost": False}
        )
    )
    subject = LineSubject()

    with caplog.at_level(logging.WARNING), Run(subject, CALLBACKS, verbose=0, resume="auto") as run:
        run.decide(restore("best"))

    assert subject.slope != 7.0
    assert ["is not opened" in line for line in caplog.messages if "the snapshot 'best' is lost" in line] == [True]


@pytest.mark.parametrize(
    "action",
    [
        {"action": "Explode", "source": "run/m-1.npz"},
        {"action": "Forget"},
        {"action": "Forget", "source": 3},
        {"action": "Forget", "source": "a", "recursive": True},
        {"action": "Save", "path": "a", "weights_only": "yes"},
        {"action": "Save", "path": "a", "on_error": "ignore"},
        {"action": "Stop", "reason": ["x"]},
        {"action": "ScaleLearningRate", "factor": "0.1"},
        {"action": "ScaleLearningRate", "factor": True},
        {"action": "Keep", "slot": None},
        "Stop",
        ["Stop"],
        None,
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["decision", pytest.param("stop_actions", marks=pytest.mark.exhaustive)])
def test_an_unknown_action_is_refused_by_name(victims: list[Path], action: Any, place: str) -> None:
    """One line names the checkpoint and the action, and nothing is loaded or written."""
    forge(lambda state: state.setdefault(place, []).append(action))
    names = sorted(os.listdir("run"))

    with pytest.raises(CheckpointError) as raised:
        train(3, "auto")

    assert "run/m-2.npz" in str(raised.value)
    assert not isinstance(action, dict) or repr(action["action"]) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert sorted(os.listdir("run")) == names


@pytest.mark.parametrize(
    "line",
    ["*", "[!x]*", "../../x", None, *(pytest.param(each, marks=pytest.mark.exhaustive) for each in ("", "0123456", 7))],
)
def test_charts_of_other_runs_stay_when_a_manifest_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: Any
) -> None:
    """TensorBoard's state names the run's own event files by 8 digits, not by a pattern."""
    monkeypatch.chdir(tmp_path)
    callbacks = [ModelCheckpoint("run/m-{epoch}"), TensorBoard("logs")]
    train(2, callbacks=callbacks)
    Path("run/.trainbus-end.json").unlink()
    before = {each: each.read_bytes() for each in Path("logs").rglob("events*")}

    def change(state: dict[str, Any]) -> None:
        saved = next(each for each in state["plugins"] if each["name"] == "TensorBoard")["state_dict"]
        saved["line"], saved["files"] = line, {}

    forge(change)
    run = train(3, "auto", callbacks)

    assert run.result.epochs == 3
    assert all(each.read_bytes() == content for each, content in before.items())
    assert [each.plugin for each in run.failures] == ["TensorBoard"]


def test_event_files_that_are_links_are_not_truncated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    callbacks = [ModelCheckpoint("run/m-{epoch}"), TensorBoard("logs")]
    train(2, callbacks=callbacks)
    Path("run/.trainbus-end.json").unlink()
    (victim,) = [Path("victim")]
    victim.write_text("precious")
    own = next(iter(Path("logs/train").glob("events*")))
    link = own.with_name(f"events.out.tfevents.0000000001.host.1.{own.name.rpartition('.')[2]}")
    link.symlink_to(victim.absolute())

    def change(state: dict[str, Any]) -> None:
        saved = next(each for each in state["plugins"] if each["name"] == "TensorBoard")["state_dict"]
        saved["files"][f"train/{link.name}"] = 0

    forge(change)
    train(3, "auto", callbacks)

    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["../../victim", "/etc/passwd", "..", "shards-1/../../victim", "a/b", "", ".", "a\0b"])
def test_a_part_outside_of_its_checkpoint_makes_a_manifest_damaged(name: str) -> None:
    from pydantic import ValidationError

    from trainbus.storage.sharded_directory import Part

    with pytest.raises(ValidationError):
        Part(name=name, size=1, digest="")


def test_no_store_is_asked_about_files_that_a_manifest_names(
    victims: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    """The list of earlier files holds those of the run's own directories only."""
    named = ["run/m-1.npz", "s3://bucket/a.npz", "../absolute.txt", "a\0b", "run/m-2.npz"]
    records = [["written", each, os.path.relpath(each, "run") if "://" not in each else each] for each in named]
    forge(lambda state: state.update(history={"records": records}))

    with caplog.at_level(logging.WARNING):
        run = train(2, "auto")

    assert list(map(str, run.result.checkpoints)) == ["run/m-1.npz", "run/m-2.npz"]
    assert ["s3://bucket/a.npz" in line for line in caplog.messages if "not listed" in line] == [True]


@pytest.mark.parametrize(
    "named",
    [
        "../trainbus.history-1-1.jsonl",
        "{absolute}",
        "linked/trainbus.history-1-1.jsonl",
        "trainbus.history-2-2.jsonl",
        "trainbus.history-3-3.jsonl",
        "trainbus.history-4-4.jsonl",
        "trainbus.history-5-5.jsonl",
        "journal.jsonl",
        "../run/trainbus.history-1-1.jsonl",
        "s3://bucket/trainbus.history-1-1.jsonl",
        "trainbus.history-1-1.jsonl/..",
        "a\0b",
    ],
)
def test_a_forged_history_opens_and_changes_no_file(
    victims: list[Path], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A history is a regular file with its own kind of name in the directories of the run; else it is missing."""
    foreign = Path("trainbus.history-1-1.jsonl").absolute()
    content = b'["epoch",0,{"loss":77.0}]\n'
    for each in (foreign, Path("run/linked") / foreign.name):
        each.write_bytes(content)
    Path("run/trainbus.history-2-2.jsonl").symlink_to(foreign)
    Path("run/trainbus.history-3-3.jsonl").symlink_to("/dev/zero")
    os.mkfifo("run/trainbus.history-4-4.jsonl")
    Path("run/trainbus.history-5-5.jsonl").symlink_to("trainbus.history-5-5.jsonl")
    digest = hashlib.sha256(content).hexdigest()
    file = named.format(absolute=foreign)
    forge(lambda state: state.update(history={"file": file, "length": len(content), "digest": digest}))

    with caplog.at_level(logging.WARNING):
        run = train(3, "auto")

    assert untouched(victims)
    assert foreign.read_bytes() == Path("run/linked", foreign.name).read_bytes() == content
    assert 77.0 not in run.history["loss"]
    assert run.result.epochs == 3
    assert sum("the history before epoch 3 is missing" in line for line in caplog.messages) == 1


@pytest.mark.parametrize("named", OUTSIDE)
@pytest.mark.parametrize("given", ["run/m-1.npz", "nowhere/m-1.npz", "a\0b"])
def test_forged_relative_paths_lead_nowhere_else(
    victims: list[Path], named: Callable[[], str], given: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A manifest keeps paths relative to its directory, too; what they lead to is checked, not the given path."""
    path = named()
    relative = path if "://" in path else os.path.relpath(path, "run")

    def change(state: dict[str, Any]) -> None:
        actions = [{"action": "Forget", "source": given}, {"action": "Save", "path": given + "x"}]
        state["decision"] += [{**each, "by": "ModelCheckpoint"} for each in actions]
        state["places"] |= {given: relative, given + "x": relative}

    forge(change)

    with caplog.at_level(logging.WARNING):
        run = train(3, "auto")

    assert untouched(victims[:3] + victims[4:])
    assert Path("run/.trainbus.lock").exists()
    assert run.result.epochs == 3
    assert any("is not deleted" in line for line in caplog.messages)


def test_a_snapshot_follows_a_run_into_another_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that names a checkpoint elsewhere keeps its snapshots, also after the next resume."""
    monkeypatch.chdir(tmp_path)
    train(2, kept=True)
    moved = [ModelCheckpoint("new/m-{epoch}")]

    train(3, "run/m-2.npz", moved)
    entry = entries_of(Path("new/m-3.npz"))[0]

    assert entry.run_state["slots"]["best"]["file"].startswith(".trainbus-slot-")
    assert (
        digest_at(Path("new", entry.run_state["slots"]["best"]["file"])) == entry.run_state["slots"]["best"]["digest"]
    )
