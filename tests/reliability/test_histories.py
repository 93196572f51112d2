"""The history and the decisions of a run are in a file beside its checkpoints: no death and no move loses any."""

import logging
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainbus import Decision, Run, hookimpl
from trainbus.checkpoints import entries_of, read, scan
from trainbus.checkpoints.discovery import history_flaws
from trainbus.checkpoints.history import history_log, history_reader
from trainbus.checkpoints.history.history_log import HistoryLog
from trainbus.checkpoints.history.history_reader import HistoryReference
from trainbus.cli.checkpoints import table
from trainbus.decision import forget, save, scale_learning_rate
from trainbus.decision.json_format import decision_to_json
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, ReduceLROnPlateau
from trainbus.resume.run_history import read_past
from trainbus.storage import file_kind
from trainbus.storage.paths import StartDirectory
from trainbus.testing import LineSubject

SCORES = [5.0, 3.0, 4.0, 2.0, 6.0, 7.0, 1.0, 8.0]
NO_JOURNAL = Journal(enabled=False)

CALLBACKS: dict[str, list[Any]] = {
    "last": [ModelCheckpoint("run/last"), ReduceLROnPlateau(patience=1)],
    "kept": [
        ModelCheckpoint("run/m-{epoch}", keep=2, save_last=True),
        EarlyStopping(patience=9, restore_best_weights=True),
    ],
    "steps": [ModelCheckpoint("run/m-{step}", save_freq="1 step", keep_last=2)],
    "two places": [ModelCheckpoint("run/best/m", save_best_only=True), ModelCheckpoint("run/last")],
    "a directory an epoch": [ModelCheckpoint("run/{epoch}/m", keep_last=2)],
}


def train(callbacks: list[Any], epochs: int = 8, **options: Any) -> Run:
    with Run(LineSubject(), [*callbacks, NO_JOURNAL], verbose=0, **options) as run:
        for epoch in run.epochs(epochs):
            for _ in run.batches("ab"):
                run.log(loss=run.subject.train(np.array([1.0]), np.array([3.0 + epoch])))
            run.log(val_loss=SCORES[epoch])
    return run


def remembered(run: Run) -> list[Any]:
    """What a run knows of its past."""
    decisions = [(epoch, decision_to_json(each)) for epoch, each in run.result.decisions]
    files = sorted(map(str, run.result.checkpoints))
    return [run.history, run.history.epochs, decisions, files, run.result.epochs, run.result.best]


def killed_at(call: int, callbacks: list[Any]) -> bool:
    """Train in a process that SIGKILL ends before its n-th sync of a file; return whether it was killed."""
    child = os.fork()
    if child == 0:
        real, calls = os.fsync, iter(range(1, 1_000_000))

        def dying(handle: int) -> None:
            if next(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            real(handle)

        os.fsync = dying
        logging.disable(logging.CRITICAL)
        try:
            train(callbacks, resume="auto")
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("kind", "chain"),
    [
        ("last", [9, 5, 3]),
        ("kept", [20, 11]),
        ("kept", [21, 2, 7]),
        ("steps", [14, 6]),
        ("two places", [13, 4, 5]),
        ("a directory an epoch", [17, 6]),
        *(
            pytest.param(kind, [n, n // 2 + 1, 3], marks=pytest.mark.exhaustive)
            for kind in CALLBACKS
            for n in range(2, 40)
        ),
    ],
)
def test_any_number_of_deaths_loses_no_history_and_no_decision(kind: str, chain: list[int]) -> None:
    """Epochs, metrics, decisions, files and best values are those of the unbroken run."""
    unbroken = remembered(train(CALLBACKS[kind]))
    shutil.rmtree("run")
    for call in chain:
        killed_at(call, CALLBACKS[kind])

    assert remembered(train(CALLBACKS[kind], resume="auto")) == unbroken


@pytest.mark.parametrize("kind", CALLBACKS)
def test_a_manifest_costs_the_same_after_many_epochs(kind: str) -> None:
    """And the history has each epoch once."""
    sizes = []
    for epochs in (6, 30):
        with Run(LineSubject(), [*CALLBACKS[kind][:2], NO_JOURNAL], verbose=0) as run:
            for epoch in run.epochs(epochs):
                for _ in run.batches("a"):
                    run.log(loss=1.0)
                run.log(val_loss=1.0 / (epoch + 1))
        manifests = Path("run").rglob("trainbus.*.json")
        newest = scan(max(manifests, key=lambda each: each.stat().st_mtime).parent)
        assert newest[0].entry is not None
        sizes.append(len(newest[0].entry.model_dump_json()))
        shutil.rmtree("run")

    assert sizes[1] < sizes[0] * 1.1


@pytest.mark.parametrize("kind", CALLBACKS)
def test_a_checkpoint_with_its_manifest_alone_decides_exactly(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """One line says that the earlier history is missing; best values and the count of epochs are known."""
    unbroken = train(CALLBACKS[kind])
    shutil.rmtree("run")
    train(CALLBACKS[kind], epochs=5)
    for path in [*Path("run").rglob("trainbus.history-*"), *Path("run").rglob(".trainbus-end.json")]:
        path.unlink()
    caplog.clear()

    resumed = train(CALLBACKS[kind], resume="auto")

    lines = [each.getMessage() for each in caplog.records if "history" in each.getMessage()]
    assert len(lines) == 1
    assert "is missing; move it together with the checkpoint" in lines[0]
    assert resumed.result.best == unbroken.result.best
    assert (resumed.result.epochs, resumed.result.reason) == (unbroken.result.epochs, unbroken.result.reason)
    assert resumed.subject.slope == unbroken.subject.slope
    assert resumed.subject.learning_rate == unbroken.subject.learning_rate
    begun = [each for each in unbroken.result.decisions if each[0] > 4]
    assert [each for each in resumed.result.decisions if each[0] > 4] == begun

    again = train(CALLBACKS[kind], resume="auto")
    assert again.result.epochs == unbroken.result.epochs


@pytest.mark.parametrize("older", [2, 4])
def test_a_resume_from_an_older_checkpoint_destroys_nothing_that_another_names(older: int) -> None:
    callbacks = [ModelCheckpoint("run/m-{epoch}"), ReduceLROnPlateau(patience=1)]
    train(callbacks, epochs=6)
    train([ModelCheckpoint("run/other-{epoch}")], epochs=7, resume=f"run/m-{older}.npz")

    for epoch in (older, older + 1, 6):
        shutil.copytree("run", "copy")
        run = train([ModelCheckpoint("copy/m-{epoch}")], epochs=epoch, resume=f"copy/m-{epoch}.npz")
        assert run.history.epochs == list(range(epoch))
        assert run.history["val_loss"] == SCORES[:epoch]
        shutil.rmtree("copy")
    run = train(callbacks, epochs=7, resume="run/other-7.npz")
    assert run.history.epochs == list(range(7))


def test_a_history_that_was_deleted_in_the_middle_is_written_anew() -> None:
    def run(epochs: int, **options: Any) -> Run:
        with Run(LineSubject(), [ModelCheckpoint("run/m"), NO_JOURNAL], verbose=0, **options) as run:
            for epoch in run.epochs(epochs):
                if epoch == 3:
                    next(Path("run").glob("trainbus.history-*")).unlink()
                run.log(val_loss=SCORES[epoch])
        return run

    run(5)

    assert run(6, resume="run/m.npz").history["val_loss"] == SCORES[:6]


def test_a_verification_names_the_histories_that_are_damaged_and_no_others() -> None:
    train([ModelCheckpoint("run/m-{epoch}")], epochs=4)
    assert history_flaws(scan(Path("run"), verify=True)) == {}
    history = next(Path("run").glob("trainbus.history-*"))
    reference = entries_of(Path("run/m-3.npz"))[0].run_state["history"]
    history.write_bytes(history.read_bytes()[: reference["length"]])

    found = scan(Path("run"), verify=True)
    lines = {line.split()[0]: line for line in table(found, history_flaws(found)).splitlines() if line}

    assert "intact, but its history is damaged" in lines["m-4.npz"]
    assert all("but" not in lines[f"m-{epoch}.npz"] for epoch in (1, 2, 3))


@pytest.mark.parametrize(
    "template",
    ["run/{epoch}/x/m", "run/{epoch}/m", "run/{epoch}/{step}/x/y/m", "run/m-{epoch}", "run/a{epoch}/b/m-{step}"],
)
@pytest.mark.parametrize("other", ["run/other", pytest.param("run/{epoch}/z/other", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("place", ["there", "linked", "damaged beside it"])
def test_another_run_removes_no_history_that_a_checkpoint_below_its_directory_names(
    template: str, other: str, place: str
) -> None:
    if place == "linked":  # also one that leads back to its parent
        Path("real").mkdir()
        Path("run").symlink_to("real")
        Path("real/loop").symlink_to(Path("real").absolute())
    train([ModelCheckpoint(template)], epochs=4)
    next(Path("run").glob(".trainbus-end.json")).unlink()
    if place == "damaged beside it":
        Path("run/trainbus.old.npz.json").write_text("{}")

    train([ModelCheckpoint(other)], epochs=1)

    assert len(train([ModelCheckpoint(template)], epochs=5, resume="auto").history.epochs) == 5


def test_where_too_many_files_are_to_be_searched_no_history_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    train([ModelCheckpoint("run/{epoch}/x/m")], epochs=4)
    next(Path("run").rglob(".trainbus-end.json")).unlink()
    monkeypatch.setattr(file_kind, "SEARCHED", 5)
    train([ModelCheckpoint("run/other")], epochs=1)

    assert len(train([ModelCheckpoint("run/{epoch}/x/m")], epochs=5, resume="auto").history.epochs) == 5


def test_a_history_that_no_checkpoint_names_is_still_removed() -> None:
    train([ModelCheckpoint("run/{epoch}/x/m")], epochs=2)
    for path in Path("run").rglob("*m.npz*"):
        path.unlink()
    before = set(Path("run").glob("trainbus.history-*"))
    assert before
    train([ModelCheckpoint("run/other")], epochs=1)

    assert not before & set(Path("run").glob("trainbus.history-*"))


HARMS: dict[str, Any] = {
    "removed": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "a byte flipped": lambda path: path.write_bytes(b"X" + path.read_bytes()[1:]),
    "a byte flipped in place": lambda path: flip(path),  # noqa: PLW0108 - it is defined below
    "longer": lambda path: path.write_bytes(b"x" * 100_000),
    "another file": lambda path: (path.unlink(), path.write_bytes(b"y" * 100_000)),
    "a copy": lambda path: (path.rename("old"), shutil.copy("old", path)),
    "a link": lambda path: (path.rename("old"), path.symlink_to(Path("old").absolute())),
    "a broken link": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
    "a FIFO": lambda path: (path.unlink(), os.mkfifo(path)),
    "lines of another": lambda path: path.write_bytes(path.read_bytes() + b'["foreign"]\n'),
}


def flip(path: Path) -> None:
    """Change a byte, and let the file keep its identity, its size and its time."""
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"X")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("harm", HARMS)
def test_a_history_that_changes_during_the_run_is_made_again_and_reported(harm: str, resumed: bool) -> None:
    """Every checkpoint has its history again; if something else is at the path, that of the later ones is complete."""
    callbacks = [ModelCheckpoint("run/m-{epoch}"), NO_JOURNAL]
    if resumed:
        train(callbacks[:1], epochs=2)
    with Run(LineSubject(), callbacks, verbose=0, resume="auto" if resumed else None) as run:
        for epoch in run.epochs(6):
            if epoch == 3:
                HARMS[harm](next(Path("run").glob("trainbus.history-*")))
            run.log(val_loss=SCORES[epoch])

    failures = [str(each) for each in run.failures]
    assert len(failures) == (harm != "lines of another")
    assert all("during the run" in each and "history" in each for each in failures)
    blocked = harm in ("a directory", "a FIFO")
    for epoch in range(4 if blocked else 1, 7):
        kept = Run(LineSubject(), [*callbacks[1:]], verbose=0, resume=f"run/m-{epoch}.npz")
        kept.begin()
        assert kept.history["val_loss"] == SCORES[:epoch]
        kept.end()


def test_a_long_history_is_compared_only_if_its_file_has_changed(tmp_path: Path) -> None:
    """The cost of a save stays the same however long the history is."""
    log = HistoryLog(tmp_path, "2a")
    log.add([["epoch", number, {"loss": "x" * 100}] for number in range(2000)])
    log.write()
    read: list[object] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(history_log, "read_start", lambda *of: read.append(of) or history_reader.read_start(*of))
        assert log.flaw == ""
        assert not read
        os.utime(log.path)
        assert log.flaw == ""
        assert len(read) == 1
        assert log.flaw == ""
        assert len(read) == 1
        log.path.write_bytes(b"y" + log.path.read_bytes()[1:])
        assert "was changed" in log.flaw


class Planned:
    """A plugin that decides in the middle of epochs, and may kill its process there."""

    def __init__(self, plan: dict[int, Decision], death: int = 0) -> None:
        self.plan, self.death, self.batches = plan, death, 0

    @hookimpl
    def on_batch_end(self) -> Decision | None:
        self.batches += 1
        if self.batches == self.death:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.plan.get(self.batches)

    def state_dict(self) -> dict[str, int]:
        return {"batches": self.batches}

    def load_state_dict(self, saved: dict[str, int]) -> None:
        self.batches = saved["batches"]


def at(number: int) -> str:
    return f"run/p{number}.npz"


PLANS = {
    "save and forget": {3: save(at(1)), 8: save(at(3)) | forget(at(1))},
    "and cut": {3: save(at(1)), 8: save(at(3)) | forget(at(1)) | scale_learning_rate(0.5)},
    "forget alone": {3: save(at(1)), 7: forget(at(1)), 8: save(at(3))},
    "two": {3: save(at(1)), 4: save(at(2)), 8: save(at(3)) | forget(at(1)) | forget(at(2))},
    "save again": {3: save(at(1)), 7: forget(at(1)), 8: save(at(1)) | save(at(3))},
    "in turn": {3: save(at(1)), 7: save(at(2)) | forget(at(1)), 8: save(at(3)) | forget(at(2))},
}


def files_known_to(path: Path) -> list[str]:
    """The files of the run that the history of a checkpoint lists, in its order."""
    found = read(path)
    reference = HistoryReference.model_validate(found.entry.run_state["history"])
    return [each.name for each in read_past(found, reference, StartDirectory()).files]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("plan", PLANS)
def test_what_a_process_deleted_before_it_died_changes_no_later_checkpoint(plan: str) -> None:
    """The run resumes from before the deletion, and saves again what it had saved then."""

    def callbacks(death: int = 0) -> list[Any]:
        return [ModelCheckpoint("run/m-{epoch}", save_freq="3 epochs"), Planned(PLANS[plan], death)]

    train(callbacks(), epochs=7)
    unbroken = {path.name: files_known_to(path) for path in sorted(Path("run").glob("*.npz"))}
    shutil.rmtree("run")
    for death in (9, 9):
        child = os.fork()
        if child == 0:
            try:
                logging.disable(logging.CRITICAL)
                train(callbacks(death), epochs=7, resume="auto")
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    run = train(callbacks(), epochs=7, resume="auto")

    assert {path.name: files_known_to(path) for path in sorted(Path("run").glob("*.npz"))} == unbroken
    assert {path.name for path in run.result.checkpoints} == set(unbroken)


def test_a_file_that_its_user_deleted_is_not_listed_after_a_resume() -> None:
    """Also after further resumes, and if the directory is moved between them."""
    train([ModelCheckpoint("run/m-{epoch}")], epochs=3)
    Path("run/m-2.npz").unlink()
    for epochs in (4, 5):
        run = train([ModelCheckpoint("run/m-{epoch}")], epochs=epochs, resume="auto")
        assert [path.name for path in run.result.checkpoints] == [f"m-{n}.npz" for n in range(1, epochs + 1) if n != 2]
