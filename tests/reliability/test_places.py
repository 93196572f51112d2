"""Every place that a run names is fixed when the run begins, whatever its loop does to the working directory."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainbus import Run, SettingsError
from trainbus.checkpoints import scan
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, TensorBoard
from trainbus.testing import LineSubject

SCORES = [5.0, 3.0, 4.0, 2.0, 6.0, 7.0]


class InBackground(LineSubject):
    """A line that a thread writes."""

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        copy = LineSubject()
        copy.restore(self.snapshot())
        return lambda path: copy.save(path, weights_only=weights_only)


def train(
    *callbacks: Any, moves: dict[int, str] | None = None, epochs: int = 6, die_at: int | None = None, **options: Any
) -> Run:
    """Train; change the working directory in some epochs."""
    with Run(InBackground(), list(callbacks), verbose=0, **options) as run:
        for epoch in run.epochs(epochs):
            if moves and epoch in moves:
                os.chdir(moves[epoch])
            if epoch == die_at:
                raise SystemExit
            for _ in run.batches("ab"):
                run.subject.train(np.array([1.0]), np.array([3.0 + epoch]))
            run.log(val_loss=SCORES[epoch])
    return run


def names(folder: str | Path) -> list[str]:
    """All files below a directory but the lock, without the random parts of names."""
    found = (path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())
    return sorted(without_random(name) for name in found if ".lock" not in name)


def without_random(name: str) -> str:
    """A name without its random part."""
    return "slot" if ".trainbus-slot" in name else re.sub("history-.*", "history", name)


FORMS: list[list[Any]] = [
    [ModelCheckpoint("run/m-{epoch}", keep_last=2)],
    [ModelCheckpoint("run/m-{epoch}", keep_last=2, background=False)],
    [ModelCheckpoint("./run/m-{epoch}", keep=2, keep_last=1, save_last=True)],
    [ModelCheckpoint("run/../run/{epoch}/m", keep_last=1)],
    [ModelCheckpoint("run/m", save_best_only=True, save_on="end")],
    [ModelCheckpoint("run/m-{step}", save_freq="1 step", keep_last=3)],
    [ModelCheckpoint("run/m-{epoch}", keep=1), EarlyStopping(patience=9, restore_best_weights=True)],
    [EarlyStopping(patience=9, restore_best_weights=True), ModelCheckpoint("run/m-{epoch}", save_freq="5 epochs")],
    [ModelCheckpoint("run/m"), Journal("run/j.jsonl")],
]
MOVES = [{1: ".."}, {0: "../other"}, {2: "../other", 4: "../third"}, {1: "../other", 3: "../start"}]


@pytest.fixture(autouse=True)
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory in which runs begin, with two others beside it."""
    for name in ("start", "other", "third"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "start")
    return tmp_path / "start"


@pytest.mark.covering(1)
@pytest.mark.parametrize("moves", MOVES)
@pytest.mark.parametrize("callbacks", FORMS)
def test_a_loop_that_changes_its_working_directory_splits_no_run(
    callbacks: list[Any], moves: dict[int, str], start: Path
) -> None:
    """The files, those that retention keeps, and the restored weights are those of a run that stays."""
    stayed = train(*callbacks)
    expected = names(start)
    shutil.rmtree(start / "run")

    moved = train(*callbacks, moves=moves)

    assert names(start) == expected
    assert names(start.parent / "other") == names(start.parent / "third") == []
    assert all(each.flaw == "" for each in scan(start / "run") if each.path.exists())
    assert all(path.exists() for path in moved.result.checkpoints), "also seen from another directory"
    os.chdir(start)
    assert moved.result.checkpoints == stayed.result.checkpoints
    assert moved.subject.slope == stayed.subject.slope


@pytest.mark.covering(1)
@pytest.mark.parametrize("callbacks", FORMS)
@pytest.mark.parametrize("die_at", [3, 5])
def test_a_run_that_has_changed_its_working_directory_resumes_where_it_began(
    callbacks: list[Any], die_at: int, start: Path
) -> None:
    """Also if the resumed run changes it again, before its states are restored a second time."""
    stayed = train(*callbacks)
    expected = names(start)
    shutil.rmtree(start / "run")
    with pytest.raises(SystemExit):
        train(*callbacks, moves={1: "../other"}, die_at=die_at)
    os.chdir(start)

    resumed = train(*callbacks, moves=dict.fromkeys(range(6), "../third"), resume="auto")
    os.chdir(start)

    assert names(start) == expected
    assert names(start.parent / "third") == []
    assert resumed.history["val_loss"] == SCORES
    assert resumed.subject.slope == stayed.subject.slope
    assert set(resumed.result.checkpoints) == set(stayed.result.checkpoints)


def test_charts_and_the_stop_file_stay_where_the_run_began(start: Path) -> None:
    def run() -> Run:
        with Run(LineSubject(), [ModelCheckpoint("run/m"), TensorBoard("logs")], verbose=0) as run:
            for epoch in run.epochs(6):
                os.chdir(start.parent / "other")
                run.log(val_loss=1.0)
                if epoch == 1:
                    (start / "run" / "stop").touch()
        return run

    with pytest.raises(KeyboardInterrupt):
        run()

    assert names(start.parent / "other") == []
    assert any(name.startswith("logs/train/events") for name in names(start))
    assert "run/signal.npz" in names(start)


@pytest.mark.covering(1)
@pytest.mark.parametrize("way", ["copied", "moved", "from its directory"])
@pytest.mark.parametrize("callbacks", FORMS)
def test_a_run_that_was_copied_or_moved_resumes(callbacks: list[Any], way: str, start: Path) -> None:
    """In another directory of the same machine, from the directory or by auto; the original is left as it was."""
    stayed = train(*callbacks)
    expected, listed = names(start), set(stayed.result.checkpoints)
    shutil.rmtree(start / "run")
    with pytest.raises(SystemExit):
        train(*callbacks, die_at=5)
    target = start.parent / "other"
    if way == "copied":
        shutil.copytree(start / "run", target / "run")
    else:
        shutil.move(start / "run", target / "run")
    before = names(start)
    os.chdir(target)

    searched = "run" if way == "from its directory" and "{epoch}/m" not in str(callbacks) else "auto"
    resumed = train(*callbacks, resume=searched)

    assert names(target) == expected
    assert names(start) == before
    assert resumed.history["val_loss"] == SCORES
    assert resumed.subject.slope == stayed.subject.slope
    assert set(resumed.result.checkpoints) == listed


def best_and_last(place: str) -> list[Any]:
    """Files in two directories."""
    return [ModelCheckpoint(f"{place}/best/{{epoch}}", keep=1, monitor="val_loss"), ModelCheckpoint(f"{place}/last")]


ANYWHERE: list[Callable[[str], list[Any]]] = [
    lambda place: [ModelCheckpoint(f"{place}/run/m-{{epoch}}", keep_last=2, save_last=True)],
    lambda place: [ModelCheckpoint(f"{place}/run/../run/m-{{epoch}}", keep_last=2)],
    lambda place: [ModelCheckpoint(f"{place}/run/m", save_best_only=True), Journal("off.jsonl")],
    lambda place: [ModelCheckpoint(f"{place}/run/{{epoch}}/m", keep=2)],
    lambda place: [
        ModelCheckpoint(f"{place}/run/m-{{epoch}}", keep=1),
        EarlyStopping(patience=9, restore_best_weights=True),
    ],
    lambda place: best_and_last(f"{place}/run"),
    lambda place: [*best_and_last(f"{place}/run"), EarlyStopping(patience=9, restore_best_weights=True)],
    lambda place: [ModelCheckpoint(f"{place}/run/m-{{epoch}}", keep_last=2), TensorBoard(f"{place}/run/logs")],
]


def files_in(folder: Path) -> list[str]:
    """The payloads and manifests below a directory."""
    return [name for name in names(folder) if not {"logs", "off.jsonl"} & set(name.split("/"))]


@pytest.mark.parametrize(
    "kind", ["absolute", *(pytest.param(each, marks=pytest.mark.exhaustive) for each in ("through a link", "relative"))]
)
@pytest.mark.parametrize("make", ANYWHERE)
def test_a_run_resumes_wherever_it_is_now(
    make: Callable[[str], list[Any]], kind: str, start: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files that one decision left are written at the new place, retention counts the files that are there."""
    old, new = start.parent / "third", start.parent / "other"
    (start / "old").symlink_to(old)
    (start / "new").symlink_to(new)
    before = {"absolute": str(old), "through a link": "old", "relative": "../third"}[kind]
    after = {"absolute": str(new), "through a link": "new", "relative": "../other"}[kind]
    stayed = train(*make(before))
    expected = files_in(old)
    shutil.rmtree(old / "run")
    with pytest.raises(SystemExit):
        train(*make(before), die_at=4)
    shutil.copytree(old / "run", new / "run")
    left = names(old)
    for last in new.rglob("*last.npz*"):  # as if the run had died before it wrote that file
        last.unlink()

    resumed = train(*make(after), resume="auto")

    assert files_in(new) == expected
    assert names(old) == left
    assert "starts without a state" not in caplog.text
    assert "->" not in caplog.text
    assert resumed.history == stayed.history
    assert resumed.subject.slope == stayed.subject.slope
    there = [path.absolute().resolve() for path in resumed.result.checkpoints]
    assert sorted(there) == sorted(
        Path(str(path.resolve()).replace("third", "other")) for path in stayed.result.checkpoints
    )


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ("run/m-{epoch}", "{start}/run/m-4.npz"),
        ("run/m-{epoch}", "../start/run/m-4.npz"),
        ("run/m-{epoch}", "link/m-4.npz"),
        ("{start}/run/m-{{epoch}}", "run/m-4.npz"),
        ("link/m-{epoch}", "run/m-4.npz"),
        ("run/../run/m-{epoch}", "{start}/run/m-4.npz"),
        ("run/m-{epoch}", "{start}/run"),
    ],
)
def test_no_file_is_listed_twice_whichever_form_its_path_has(given: str, source: str, start: Path) -> None:
    callback = ModelCheckpoint(given.format(start=start, epoch="{epoch}"), keep_last=2, save_last=True)
    (start / "run").mkdir()
    (start / "link").symlink_to(start / "run")
    stayed = train(callback)
    expected, listed = names(start / "run"), [path.resolve() for path in stayed.result.checkpoints]
    shutil.rmtree(start / "run")
    (start / "run").mkdir()
    with pytest.raises(SystemExit):
        train(callback, die_at=4)
    for last in (start / "run").glob("*last.npz*"):
        last.unlink()

    resumed = train(callback, resume=source.format(start=start))

    assert names(start / "run") == expected
    assert [path.resolve() for path in resumed.result.checkpoints] == listed


def test_a_run_in_a_store_resumes_from_a_copy(start: Path) -> None:
    import fsspec

    files = fsspec.filesystem("memory")

    def callbacks(place: str) -> list[Any]:
        return [*best_and_last(f"memory://{place}"), EarlyStopping(patience=9, restore_best_weights=True)]

    def listing(place: str) -> list[str]:
        found = [name.removeprefix(f"/{place}/") for name in files.find(f"/{place}")]
        return sorted(without_random(name) for name in found if ".lock" not in name)

    stayed = train(*callbacks("places-stayed"))
    with pytest.raises(SystemExit):
        train(*callbacks("places-old"), die_at=4)
    files.copy("/places-old", "/places-new", recursive=True)
    for name in [name for name in files.find("/places-new") if "last.npz" in name or ".lock" in name]:
        files.rm(name)
    left = listing("places-old")

    resumed = train(*callbacks("places-new"), resume="auto")

    assert listing("places-new") == listing("places-stayed")
    assert listing("places-old") == left
    assert resumed.subject.slope == stayed.subject.slope
    assert [str(path).replace("stayed", "new") for path in stayed.result.checkpoints] == [
        str(path) for path in resumed.result.checkpoints
    ]


@pytest.mark.parametrize(
    ("callback", "made"),
    [
        (lambda place: ModelCheckpoint(f"{place}/run/m"), "run/m.npz"),
        (lambda place: ModelCheckpoint(Path(place, "run", "m-{epoch}")), "run/m-6.npz"),
        (lambda place: Journal(f"{place}/j.jsonl"), "j.jsonl"),
        (lambda place: Journal(Path(place) / "deep/j.jsonl"), "deep/j.jsonl"),
        (lambda place: ModelCheckpoint(f"{place}/m", save_best_only=True), "m.npz"),
    ],
)
def test_a_tilde_is_the_home_directory(callback: Any, made: str, start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = start.parent / "other"
    monkeypatch.setenv("HOME", str(home))

    train(callback("~"))

    assert (home / made).is_file()
    assert names(start) == []


def test_a_tilde_is_the_home_directory_for_charts_and_resumes(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = start.parent / "other"
    monkeypatch.setenv("HOME", str(home))
    train(ModelCheckpoint("~/run/m"), TensorBoard("~/logs"), epochs=3)

    assert any(name.startswith("logs/") for name in names(home))
    for source in ("auto", "~/run", "~/run/m.npz", Path("~/run/m.npz")):
        assert train(ModelCheckpoint("~/run/m"), epochs=3, resume=source).resumed is not None
    assert names(start) == []


def test_a_tilde_inside_a_name_is_a_character(start: Path) -> None:
    train(ModelCheckpoint("./~m"), ModelCheckpoint("run/~/m~"), epochs=3)
    resumed = train(ModelCheckpoint("./~m"), ModelCheckpoint("run/~/m~"), resume="auto")

    assert {"~m.npz", "run/~/m~.npz"} <= set(names(start))
    assert set(map(str, resumed.result.checkpoints)) == {"~m.npz", "run/~/m~.npz"}


@pytest.mark.parametrize("make", [ModelCheckpoint, TensorBoard, Journal])
def test_the_home_directory_of_nobody_is_refused(make: Any) -> None:
    with pytest.raises(SettingsError, match=r"no home directory of '~nobody-here'; write '\./~nobody-here/run' for"):
        make("~nobody-here/run")
    with pytest.raises(SettingsError, match="no home directory of '~nobody-here'"):
        train(resume="~nobody-here/run")


@pytest.mark.parametrize("moves", [*MOVES, None])
@pytest.mark.parametrize("template", ["run/m-{epoch}", "./run/m", "run/../run/m-{epoch}"])
def test_every_path_that_a_run_shows_is_valid_where_the_loop_is(
    template: str,
    moves: dict[int, str] | None,
    start: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The line at a requested end, and the lines of ``verbose``, name files that exist from the present directory."""
    shown: list[str] = []

    def check(pattern: str, lines: str) -> None:
        found = re.findall(pattern, lines)
        assert all(Path(each).exists() for each in found), lines
        shown.extend(found)

    with (
        pytest.raises(KeyboardInterrupt),
        Run(InBackground(), [ModelCheckpoint(template, background=False)], verbose=2) as run,
    ):
        for epoch in run.epochs(6):
            check("saving model to (.*)", capfd.readouterr().out)
            if moves and epoch in moves:
                os.chdir(moves[epoch])
            if epoch == 5:
                (start / "run" / "stop").touch()
            run.log(val_loss=SCORES[epoch])

    assert len(shown) == 5
    check("resume='auto' continues from (.*)", caplog.text)
    assert len(shown) == 6
