"""Snapshots that cannot be written next to the checkpoints, or removed from there, cost the training nothing."""

import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainbus import Decision, Run, hookimpl, journal
from trainbus.checkpoints import entries_of, payloads_in, read
from trainbus.decision import NOTHING, forget, keep, save
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.storage.backend import backend_for
from trainbus.storage.paths import location
from trainbus.testing import LineSubject


class Raises:
    """A plugin that raises at the end of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    @hookimpl(trylast=True)
    def on_epoch_end(self, epoch: int) -> None:
        if epoch == self.epoch:
            raise ZeroDivisionError


class Mishaps:
    """A plugin that replaces a directory by a file within one epoch, and removes the file after it."""

    critical = False

    def __init__(self, epoch: int, directory: str) -> None:
        self.epoch, self.directory = epoch, Path(directory)

    @hookimpl(tryfirst=True)
    def on_validation_end(self, epoch: int) -> None:
        if epoch == self.epoch:
            self.directory.rename("away")
            self.directory.touch()

    @hookimpl
    def on_epoch_begin(self, epoch: int) -> None:
        if epoch == self.epoch + 1:
            self.directory.unlink()
            Path("away").rename(self.directory)


def train(scores: list[float], *callbacks: Any, **options: Any) -> Run:
    """Train a line whose slope is the number of epochs trained."""
    subject = LineSubject()
    with Run(subject, callbacks, verbose=0, signals=(), **options) as run:
        for epoch in run.epochs(len(scores)):
            subject.slope = subject.slope + 1
            with run.validation():
                run.log(loss=scores[epoch])
            run._life.executor.writer.wait()
    return run


def lost_by(path: str) -> dict[str, bool]:
    """Return each slot that a checkpoint names, and whether a run that resumes from it has lost the snapshot."""
    slots = read(Path(path)).entry.run_state.get("slots", {})
    return {slot: each.get("lost", False) for slot, each in slots.items()}


@pytest.mark.parametrize("again", [False, True])
def test_what_was_kept_and_could_not_be_written_is_in_memory_only(
    again: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """One line reports it, and it is restored at the end; checkpoints name it as lost until it is kept again."""
    early = EarlyStopping(patience=9, restore_best_weights=True)
    saver = ModelCheckpoint("run/m-{epoch}", save_freq="2 epochs", save_on=())
    scores = [3.0, 3.0, 1.0, 2.0, 0.5 if again else 2.0, 2.0]
    run = train(scores, Mishaps(2, "run"), saver, early)

    assert sorted(each.plugin for each in run.failures) == ["Journal", "snapshots"]
    assert len(journal.read(Path("run/journal.jsonl"))[0].epochs) == 6
    assert caplog.text.count("the snapshot is in memory only: ") == 1
    assert run.subject.slope == (5 if again else 3)
    assert lost_by("run/m-2.npz") == {"best val_loss": False}
    assert lost_by("run/m-4.npz") == {"best val_loss": True}
    assert lost_by("run/m-6.npz") == {"best val_loss": not again}


def test_what_a_dead_run_had_in_memory_only_is_reported_and_not_restored(caplog: pytest.LogCaptureFixture) -> None:
    """The resumed run trains to the end with the current weights; later snapshots are restored again."""
    early = EarlyStopping(patience=9, restore_best_weights=True)
    saver = ModelCheckpoint("run/m-{epoch}", save_freq="2 epochs", save_on=())
    scores = [3.0, 3.0, 1.0, 2.0]
    train(scores, Mishaps(2, "run"), saver, early)

    run = train([*scores, 2.0, 2.0], saver, early, resume="run/m-4.npz")
    assert caplog.text.count("the snapshot 'best val_loss' is lost: it could not be written") == 1
    assert [(each.plugin, "'best val_loss' is not restored" in str(each)) for each in run.failures] == [
        ("EarlyStopping", True)
    ]
    assert run.subject.slope == 6
    assert lost_by("run/m-6.npz") == {"best val_loss": True}
    run = train([*scores, 2.0, 2.0, 0.5, 2.0], saver, early, resume="run/m-6.npz")
    assert not run.failures
    assert run.subject.slope == 7
    assert lost_by("run/m-8.npz") == {"best val_loss": False}


@pytest.mark.parametrize("mishap", ["missing", "damaged", "moved"])
def test_what_was_kept_and_is_damaged_or_left_behind_is_reported_and_costs_the_resume_nothing_else(
    mishap: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A checkpoint alone is enough to continue from; only its own bytes are needed."""
    early = EarlyStopping(patience=9, restore_best_weights=True)
    saver = ModelCheckpoint("run/m-{epoch}", keep_last=1, save_on=())
    scores = [1.0, 2.0, 2.0]
    train(scores, saver, early)
    (kept,) = Path("run").glob(".trainbus-slot-*")
    folder = "elsewhere" if mishap == "moved" else "run"
    if mishap == "moved":
        Path(folder).mkdir()
        for file in Path("run").glob("*m-3*"):
            file.rename(f"{folder}/{file.name}")
    elif mishap == "damaged":
        kept.write_bytes(kept.read_bytes()[:-1])
    else:
        kept.unlink()

    run = train([*scores, 3.0, 0.5], saver, early, resume=folder)
    assert caplog.text.count(f"the snapshot 'best val_loss' is lost: '{folder}/{kept.name}' ") == 1
    assert ("its bytes are not those" if mishap == "damaged" else "move it together with the checkpoint") in caplog.text
    assert (run.subject.slope, run.failures) == (5, [])
    run = train([*scores, 3.0], saver, early, resume="auto")
    assert run.resumed is not None
    assert run.resumed.epoch == 4


@pytest.mark.parametrize("scores", [[3.0, 4.0, 2.0, 4.0, 4.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
def test_when_a_run_is_over_only_snapshots_that_its_checkpoints_name_are_left(scores: list[float]) -> None:
    """The snapshot of a checkpoint that was deleted is deleted too."""
    early = EarlyStopping(patience=9, restore_best_weights=True)
    run = train(scores, ModelCheckpoint("run/m-{epoch}", keep_last=2, save_on=()), early)

    slots = [slot for path in run.state.files for slot in read(path).entry.run_state["slots"].values()]
    recorded = {slot["file"] for slot in slots if slot["file"]}
    present = {path.name for path in Path("run").glob(".trainbus-slot-*")}
    assert recorded == present


def names_in_manifests(folder: Path) -> set[str]:
    """The snapshot files that any checkpoint in a directory names."""
    slots = (
        entry.run_state.get("slots", {}).values() for path in payloads_in(folder) for entry in entries_of(Path(path))
    )
    return {slot["file"] for several in slots for slot in several if slot["file"]}


class Looks:
    """A plugin that compares the snapshot files with what the checkpoints name, when each epoch begins."""

    critical = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @hookimpl
    def on_epoch_begin(self) -> None:
        assert names_in_manifests(self.folder) <= {path.name for path in self.folder.iterdir()}


@given(
    scores=st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0]), min_size=2, max_size=9),
    options=st.sampled_from([
        {"filepath": "m-{epoch}", "keep_last": 2},
        {"filepath": "m-{epoch}"},
        {"filepath": "m", "save_freq": "2 epochs"},
        {"filepath": "m", "save_weights_only": True},
        {"filepath": "best", "save_best_only": True, "save_last": True},
        {"filepath": "m-{epoch}", "keep": 2},
    ]),
)  # fmt: skip
@example([3.0, 4.0, 2.0, 4.0, 1.0, 4.0], {"filepath": "m", "save_freq": "2 epochs"})  # it names another one each time
def test_while_a_run_trains_no_snapshot_that_a_checkpoint_names_is_removed(
    scores: list[float], options: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        saver = ModelCheckpoint(**{**options, "filepath": f"{folder}/{options['filepath']}"})
        train(scores, saver, EarlyStopping(patience=99, restore_best_weights=True), Looks(Path(folder)))


NESTED = {
    "a directory an epoch": [ModelCheckpoint("run/{epoch}/m", keep_last=2)],
    "deeper": [ModelCheckpoint("run/{epoch}/x/m", keep_last=2)],
    "fields in both": [ModelCheckpoint("run/e{epoch}/m-{step}", keep_last=2)],
    "a metric": [ModelCheckpoint("run/{val_loss:.1f}/m", keep_last=2)],
    "at the root": [ModelCheckpoint("{epoch}/m", keep_last=2)],
    "the best": [ModelCheckpoint("run/{epoch}/m", save_best_only=True, keep=1)],
    "weights": [ModelCheckpoint("run/{epoch}/m", keep_last=2, save_weights_only=True)],
    "two in one": [ModelCheckpoint("run/{epoch}/m", keep_last=2), ModelCheckpoint("run/best/b", save_best_only=True)],
    "apart": [ModelCheckpoint("a/{epoch}/m", keep_last=1), ModelCheckpoint("b/{epoch}/m", keep_last=1)],
    "and the last": [ModelCheckpoint("run/{epoch}/m", keep_last=2, save_last=True)],
    "flat": [ModelCheckpoint("run/m-{epoch}", keep_last=2)],
}


class Counts:
    """A plugin that counts the snapshot files when each epoch begins."""

    def __init__(self) -> None:
        self.found: list[int] = []

    @hookimpl
    def on_epoch_begin(self) -> None:
        self.found.append(len(list(Path().rglob(".trainbus-slot-*"))))
        assert named_anywhere() <= {path.name for path in Path().rglob(".trainbus-slot-*")}


def named_anywhere() -> set[str]:
    """The names of the snapshot files that any checkpoint in any directory names."""
    found = set[str]()
    for manifest in Path().rglob("trainbus.*.json"):
        found |= {name.rpartition("/")[2] for name in names_in_manifests(manifest.parent)}
    return found


@pytest.mark.parametrize("kind", NESTED)
def test_in_whatever_directory_checkpoints_are_only_snapshots_that_they_name_are_left(kind: str) -> None:
    """While the run trains, too: each new best would leave a copy of the weights."""
    counts, early = Counts(), EarlyStopping(patience=99, restore_best_weights=True)
    scores = [20.0 - epoch for epoch in range(12)]
    run = train(scores, *NESTED[kind], early, counts)

    assert not run.failures
    assert max(counts.found) <= 4
    assert {path.name for path in Path().rglob(".trainbus-slot-*")} == named_anywhere()
    train([*scores, 30.0, 30.0], *NESTED[kind], early, counts, resume="auto")
    assert max(counts.found) <= 4
    assert {path.name for path in Path().rglob(".trainbus-slot-*")} == named_anywhere()


@pytest.mark.parametrize("template", ["run/other", "run/{epoch}/other", "run/{step}/x/m", "run/m-{epoch}"])
def test_another_run_removes_no_snapshot_that_a_checkpoint_below_its_directory_names(template: str) -> None:
    early = EarlyStopping(patience=99, restore_best_weights=True)
    train([1.0, 2.0, 3.0], ModelCheckpoint("run/{epoch}/m"), early)
    train([3.0, 2.0, 1.0], ModelCheckpoint(template), early)

    run = train([1.0, 2.0, 3.0, 4.0], ModelCheckpoint("run/{epoch}/m"), early, resume="run/3/m.npz")
    assert run.subject.slope == 1


@pytest.mark.parametrize("template", ["{epoch}/m", "m-{epoch}", "{epoch}/x/m"])
def test_in_a_store_only_snapshots_that_checkpoints_name_are_left(template: str) -> None:
    store = location(f"memory://{Path.cwd().name}")
    early = EarlyStopping(patience=99, restore_best_weights=True)
    run = train([20.0 - epoch for epoch in range(8)], ModelCheckpoint(f"{store}/{template}", keep_last=2), early)

    assert not run.failures
    names = [each.name for each in backend_for(store).files_below()]
    assert len([name for name in names if name.endswith(".npz")]) == 2
    train([1.0, 2.0, 3.0], ModelCheckpoint(f"{store}/other-{template}", keep_last=1), early)
    assert len([name for name in (each.name for each in backend_for(store).files_below()) if "slot-" in name]) == 1


def test_a_plugin_without_a_callback_leaves_only_snapshots_that_its_checkpoints_name() -> None:
    class Plain:
        @hookimpl
        def on_epoch_end(self, epoch: int) -> Decision:
            old = forget(f"plain/m-{epoch - 2}.npz") if epoch > 1 else NOTHING
            return keep("best") | save(f"plain/m-{epoch}.npz") | old

    run = train([1.0] * 9, Plain())

    assert not run.failures
    assert len(list(Path("plain").glob(".trainbus-slot-*"))) <= 2


READS = """
import os, sys
from trainbus import Run
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import LineSubject

read = []
sys.addaudithook(lambda event, of: read.append(of) if event == "open" and str(of[0]).endswith("npz.json") else None)
best = EarlyStopping(patience=9, restore_best_weights=True)
with Run(LineSubject(), [ModelCheckpoint("run/m-{epoch}"), best], verbose=0) as run:
    for epoch in run.epochs(40):
        run.log(val_loss=1 / (epoch + 1))
        if epoch in (9, 10, 38, 39):
            print(len(read))
"""


def test_a_save_reads_no_manifest_of_earlier_checkpoints_again(tmp_path: Path) -> None:
    """However many checkpoints there are, a save costs the same."""
    done = subprocess.run([sys.executable, "-c", READS], cwd=tmp_path, capture_output=True, text=True, check=True)
    ninth, tenth, later, last = map(int, done.stdout.split())

    assert tenth - ninth == last - later


@pytest.mark.parametrize("scores", [[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 1.0, 3.0, 4.0], [2.0, 1.0]])
@pytest.mark.parametrize("ended", ["finished", "stopped early", "error"])
def test_a_run_whose_best_model_is_saved_leaves_no_snapshot(scores: list[float], ended: str) -> None:
    """The best checkpoint holds what was kept; a run that is over needs no second name of it."""
    early = EarlyStopping(patience=1 if ended == "stopped early" else 9, restore_best_weights=True)
    saver = ModelCheckpoint("run/best", save_best_only=True, save_on=())
    with suppress(ZeroDivisionError):
        train(scores, saver, early, *([Raises(len(scores) - 1)] if ended == "error" else []))

    assert not list(Path("run").glob(".trainbus-slot-*"))
    run = train([*scores, 9.0, 9.0], saver, early, resume="run/best.npz")
    assert run.subject.slope == scores.index(min(scores)) + 1


KILLED = """
import os, signal, sys
from pathlib import Path
from trainbus import Run
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import LineSubject

def train(epochs, resume=None, killed_in=None, at=""):
    if (child := os.fork()) != 0:
        return os.waitpid(child, 0)
    early = EarlyStopping(patience=99, restore_best_weights=True)
    savers = eval(sys.argv[1])
    subject = LineSubject()
    with Run(subject, [early, *savers], verbose=0, resume=resume) as run:
        if at == "begin":
            os.kill(os.getpid(), signal.SIGKILL)
        for epoch in run.epochs(epochs):
            if epoch == killed_in:
                os.kill(os.getpid(), signal.SIGKILL)
            subject.slope = subject.slope + 1
            with run.validation():
                run.log(loss=[3.0, 2.0, 1.0][min(epoch, 2)] + max(0, epoch - 2))
            run._life.executor.writer.wait()
    Path("slope").write_text(str(subject.slope))
    os._exit(0)

count = lambda: sum(1 for _ in Path().rglob(".trainbus-slot-*"))
train(6, killed_in=4)
found = [count()]
for at in ["begin", "epoch"] * 2:
    train(6, sys.argv[2], at=at, killed_in=3 if at == "epoch" else None)
    found.append(count())
train(6, sys.argv[2])
print(*found, count(), Path("slope").read_text())
"""
"""Trains in processes that are killed; prints the number of snapshot files after each, and the restored slope."""


@pytest.mark.parametrize(
    ("savers", "source", "most"),
    [
        ('[ModelCheckpoint("run/best", save_best_only=True, save_on=())]', "auto", 1),
        pytest.param(
            '[ModelCheckpoint("run/best", save_best_only=True, save_on=())]', "run", 1, marks=pytest.mark.exhaustive
        ),
        pytest.param(
            '[ModelCheckpoint("run/best", save_best_only=True, save_on=())]',
            "run/best.npz",
            1,
            marks=pytest.mark.exhaustive,
        ),
        pytest.param('[ModelCheckpoint("run/m-{epoch}", keep=1, save_on=())]', "auto", 1, marks=pytest.mark.exhaustive),
        ('[ModelCheckpoint("run/m-{epoch}", keep_last=1, save_on=())]', "auto", 1),
        ('[ModelCheckpoint("run/{epoch}/m", keep_last=1, save_on=())]', "auto", 2),
        pytest.param(
            '[ModelCheckpoint("a/best", save_best_only=True), ModelCheckpoint("b/last")]',
            "auto",
            2,
            marks=pytest.mark.exhaustive,
        ),
        ('[ModelCheckpoint("run/w", save_best_only=True, save_weights_only=True, save_on=())]', "auto", 1),
    ],
)
def test_resumes_that_are_killed_leave_no_more_files_than_the_run_needs(savers: str, source: str, most: int) -> None:
    """Each resume gives its slot a new file, and removes those that no checkpoint names."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, savers, source], capture_output=True, text=True, check=True, timeout=120
    )
    *found, slope = done.stdout.split()
    assert max(map(int, found)) <= most
    assert float(slope) == 3


def test_a_snapshot_that_a_checkpoint_elsewhere_names_is_not_removed_by_its_resume() -> None:
    """The run that resumes writes into the directory of the snapshot only."""
    early = EarlyStopping(patience=9, restore_best_weights=True)
    first, second = ModelCheckpoint("a/m-{epoch}", keep_last=1, save_on=()), ModelCheckpoint("b/m", save_on=())
    train([1.0, 2.0, 3.0], early, first, second)
    run = train([1.0, 2.0, 3.0, 4.0], early, first, resume="b/m.npz")
    assert run.subject.slope == 1
    Path("a/m-4.npz").unlink()
    again = train([1.0, 2.0, 3.0, 4.0, 5.0], early, first, second, resume="b/m.npz")
    assert again.subject.slope == 1


def test_a_file_that_cannot_be_removed_stays_and_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """One line names it; all that comes after it is saved and forgotten as ever."""
    saver = ModelCheckpoint("run-{epoch}/m", keep_last=1, save_on=())
    run = train([1.0, 1.0, 1.0], Mishaps(1, "run-1"), saver)

    (failure,) = run.failures
    assert failure.plugin == "ModelCheckpoint"
    assert caplog.text.count("'run-1/m.npz' could not be deleted: ") == 1
    assert sorted(map(str, Path().glob("run-*/m.npz"))) == ["run-1/m.npz", "run-3/m.npz"]
    assert list(run.state.files) == [Path("run-3/m.npz")]
