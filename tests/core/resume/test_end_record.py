"""A run that is over stays over when it is resumed, whatever it has saved; and it trains on when it is asked to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainbus import Callback, Run
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, ReduceLROnPlateau
from trainbus.resume.end_record import NAME, EndRecord, EndRecords, find_end, read
from trainbus.testing import LineSubject

STOPPING = [4.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
"""The best epoch is the second; with a patience of 3 the run stops after the fifth."""
STOPS = EarlyStopping(patience=3)
BEST = ModelCheckpoint("run/best", save_best_only=True)


def trained(
    callbacks: Sequence[Callback],
    epochs: int = 7,
    scores: Sequence[float] = STOPPING,
    *,
    resume: Any = "auto",
    before: Callable[[Run], object] = lambda _: None,
) -> tuple[Run, list[int]]:
    """Return the run, and the epochs that it has trained."""
    seen = []
    with Run(LineSubject(), list(callbacks), verbose=0, resume=resume) as run:
        before(run)
        for epoch in run.epochs(epochs):
            seen.append(epoch)
            run.step += 10
            run.log(val_loss=scores[epoch])
    return run, seen


def contents() -> dict[Path, bytes]:
    """Return the content of every file, without locks and the copies of snapshots that a resume makes."""
    files = (path for path in Path().rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if not path.name.startswith((".trainbus.", ".trainbus-slot"))}


CASES = {
    "stopped after the best": ([BEST, STOPS], 7, STOPPING),
    "best weights restored": ([BEST, EarlyStopping(patience=3, restore_best_weights=True)], 7, STOPPING),
    "finished after the best": ([BEST], 5, STOPPING),
    "best of some": ([ModelCheckpoint("run/m-{epoch}", keep=1)], 5, STOPPING),
    "every third epoch": ([ModelCheckpoint("run/m", save_freq="3 epochs"), STOPS], 7, STOPPING),
    "every third epoch, finished": ([ModelCheckpoint("run/m", save_freq="3 epochs")], 5, STOPPING),
    "steps": ([ModelCheckpoint("run/m", save_freq="30 steps", save_on=("end",))], 5, STOPPING),
    "no model saved": ([BEST, EarlyStopping(patience=2)], 7, [nan] * 7),
    "no model saved, finished": ([BEST], 3, [nan] * 7),
    "no journal": ([BEST, STOPS, Journal(enabled=False)], 7, STOPPING),
    "two directories": ([BEST, ModelCheckpoint("other/m-{epoch}", save_freq="2 epochs"), STOPS], 7, STOPPING),
    "newest is the last": ([ModelCheckpoint("run/m-{epoch}"), STOPS], 7, STOPPING),
    "weights only": ([ModelCheckpoint("run/m", save_best_only=True, save_weights_only=True), STOPS], 7, STOPPING),
}


@pytest.mark.parametrize("source", ["auto", "run"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.exhaustive
def test_a_run_that_is_over_stays_over(case: str, source: str) -> None:
    """However often it is resumed, with the result that it had; no file changes."""
    callbacks, epochs, scores = CASES[case]
    first, _ = trained(callbacks, epochs, scores)
    files = contents()

    for _ in range(2):
        again, seen = trained(callbacks, epochs, scores, resume=source)
        assert seen == []
        assert again.result.reason == first.result.reason
        assert (again.result.epochs, again.step, again.epoch) == (first.result.epochs, first.step, first.epoch)
        assert again.result.best == first.result.best
        assert str(again.history) == str(first.history)  # NaN is not itself
        assert again.result.learning_rates == first.result.learning_rates
        if source == "auto":
            assert set(again.result.checkpoints) == set(first.result.checkpoints)
        assert contents() == files


def test_a_run_that_its_loop_stopped_is_over_too() -> None:
    """Its reason is in the record."""

    def train(resume: Any) -> tuple[Run, list[int]]:
        seen = []
        with Run(LineSubject(), [BEST], verbose=0, resume=resume) as run:
            for epoch in run.epochs():
                seen.append(epoch)
                run.log(val_loss=STOPPING[epoch])
                if epoch == 3:
                    run.stop("seen enough")
        return run, seen

    assert train(None)[1] == [0, 1, 2, 3]
    again, seen = train("auto")
    assert (seen, again.result.reason, again.result.epochs) == ([], "seen enough", 4)


LAST = ModelCheckpoint("run/m-{epoch}", keep_last=2)
ON = {
    "larger epochs": ([BEST], 5, [BEST], 6, {}, [2, 3, 4, 5]),
    "larger epochs from the last": ([LAST], 5, [LAST], 6, {}, [5]),
    "larger patience": ([BEST, STOPS], 7, [BEST, EarlyStopping(patience=4)], 7, {}, [2, 3, 4, 5]),
    "another metric's direction": (
        [LAST, STOPS],
        7,
        [LAST, EarlyStopping(patience=9, mode="max")],
        7,
        {},
        [5, 6],
    ),
    "no early stopping any more": ([BEST, STOPS], 7, [BEST], 7, {}, [2, 3, 4, 5, 6]),
    "go_on": ([BEST, STOPS], 7, [BEST, STOPS], 7, {"before": Run.go_on}, [2, 3, 4]),
    "go_on after all epochs": ([BEST], 5, [BEST], 5, {"before": Run.go_on}, [2, 3, 4]),
    "the file": ([BEST, STOPS], 7, [BEST, STOPS], 7, {"resume": "run/best.npz"}, [2, 3, 4]),
    "the last file": ([LAST, STOPS], 7, [LAST, STOPS], 7, {"resume": "run/m-5.npz"}, [5]),
    "an older file": ([LAST, STOPS], 7, [LAST, STOPS], 7, {"resume": "run/m-4.npz"}, [4]),
    "no resume": ([BEST, STOPS], 7, [BEST, STOPS], 7, {"resume": None}, [0, 1, 2, 3, 4]),
}


@pytest.mark.parametrize("case", ON)
def test_a_run_that_is_over_trains_on_if_it_is_asked_to(case: str, caplog: pytest.LogCaptureFixture) -> None:
    """From its newest checkpoint, or from the one that is named."""
    before, planned, after, epochs, options, expected = ON[case]
    trained(before, planned)
    _, seen = trained(after, epochs, **options)
    assert seen == expected
    if case == "larger epochs":
        assert "epochs 3 to 5 are trained again: nothing newer was saved" in caplog.text
    if case == "the last file":
        assert "it trains on, since its file is named" in caplog.text


@pytest.mark.parametrize(
    "changed",
    [
        [BEST, STOPS, ReduceLROnPlateau(patience=1)],
        [BEST.model_copy(update={"keep_last": 3}), STOPS],
        [BEST, STOPS, Journal(enabled=False)],
        [STOPS, BEST],
    ],
)
def test_other_changes_do_not_train_on(changed: list[Callback]) -> None:
    """Only the settings of the callback that stopped the run matter."""
    trained([BEST, STOPS])
    run, seen = trained(changed)
    assert seen == []
    assert run.result.reason == "val_loss 4 did not improve on 1 (epoch 2) for the 3rd time"


def test_fewer_epochs_are_done_as_well() -> None:
    """Also after a stop whose callback has changed."""
    trained([BEST, STOPS])
    assert trained([BEST, EarlyStopping(patience=50)], 4)[1] == []


def leave(run: Run) -> None:
    for epoch in run.epochs(5):
        run.log(val_loss=STOPPING[epoch])
        if epoch == 4:
            break


def fail(run: Run) -> None:
    for epoch in run.epochs(5):
        run.log(val_loss=STOPPING[epoch])
        if epoch == 3:
            raise ZeroDivisionError


def interrupt(run: Run) -> None:
    for epoch in run.epochs(5):
        run.log(val_loss=STOPPING[epoch])
        if epoch == 3:
            run._life.stop_requests.request("SIGTERM")


@pytest.mark.parametrize("end", [leave, fail, interrupt])
def test_a_run_that_did_not_come_to_its_end_is_not_over(end: Callable[[Run], object]) -> None:
    """It was left, it failed, or a signal ended it."""
    try:
        with Run(LineSubject(), [BEST], verbose=0) as run:
            end(run)
    except (ZeroDivisionError, KeyboardInterrupt):
        pass
    assert read(Path("run")) is None
    assert trained([BEST], 5)[1] != []


def test_a_run_that_trains_on_is_not_over(tmp_path: Path) -> None:
    """Its record is removed when its first epoch begins, so that a kill after that resumes it."""
    trained([BEST], 5)
    assert read(Path("run")) is not None
    with pytest.raises(ZeroDivisionError), Run(LineSubject(), [BEST], verbose=0, resume="auto") as run:
        for _ in run.epochs(6):
            assert read(Path("run")) is None
            raise ZeroDivisionError
    assert trained([BEST], 5)[1] == [2, 3, 4]


def test_who_deletes_the_checkpoints_starts_anew() -> None:
    """The record alone does not hold a run back whose files are gone."""
    trained([BEST, STOPS])
    for path in Path("run").glob("best*"):
        path.unlink()
    assert trained([BEST, STOPS])[1] == [0, 1, 2, 3, 4]


def test_a_moved_or_copied_directory_is_still_over() -> None:
    """The record goes with it."""
    trained([BEST, STOPS])
    shutil.copytree("run", "copy")
    Path("run").rename("moved")
    for name in ("copy", "moved"):
        saver = ModelCheckpoint(f"{name}/best", save_best_only=True)
        for source in ("auto", name):
            assert trained([saver, STOPS], resume=source)[1] == []


def test_the_record_of_another_run_is_ignored() -> None:
    """A run that was killed after it had replaced the file of a run that was over is resumed."""
    trained([BEST], 5)
    kept = (Path("run") / NAME).read_bytes()
    with pytest.raises(ZeroDivisionError), Run(LineSubject(), [BEST], verbose=0) as run:
        for epoch in run.epochs(5):
            run.log(val_loss=STOPPING[epoch])
            if epoch == 1:
                raise ZeroDivisionError
    (Path("run") / NAME).write_bytes(kept)
    assert trained([BEST], 5)[1] == [1, 2, 3, 4]


def record(**options: Any) -> EndRecord:
    return EndRecord(**{"run": "a", "epochs": 3, "step": 6, "reason": "all epochs done", **options})


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"\xff\xfe\x00",
        b'{"run": 3}',
        record(format=2).model_dump_json().encode(),
        record().model_dump_json().encode()[:-9],
    ],
)
def test_a_record_that_cannot_be_read_is_reported_and_ignored(damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Anyone may have written it."""
    Path(NAME).write_bytes(damage)
    assert read(Path()) is None
    assert caplog.text.count(f"skipped: {NAME}: ") == 1


def test_what_is_no_file_is_no_record() -> None:
    """A directory or a pipe in its place; reading one would not end."""
    for make in (os.mkdir, os.mkfifo):
        make(NAME)
        assert read(Path()) is None
        (os.rmdir if make is os.mkdir else os.unlink)(NAME)


def test_a_huge_record_is_not_read(caplog: pytest.LogCaptureFixture) -> None:
    """It would fill the memory."""
    with Path(NAME).open("wb") as file:
        file.truncate(2**40)
    assert read(Path()) is None
    assert "bytes" in caplog.text


def test_records_are_written_to_every_directory_and_removed_from_each(caplog: pytest.LogCaptureFixture) -> None:
    """Each names the files inside relative to itself; a directory that no longer exists is reported."""
    records, here = EndRecords(), Path.cwd()
    for name in ("one", "two"):
        (here / name).mkdir()
    records.directories = (here / "one", here / "two")
    records.write(record(), [Path("one/m.npz"), here / "two" / "deep" / "m.npz"])
    found = read(here / "one"), read(here / "two")
    assert [each and each.checkpoints for each in found] == [
        ["m.npz", str(here / "two/deep/m.npz")],
        [str(here / "one/m.npz"), "deep/m.npz"],
    ]
    assert find_end(records.directories, "a") == found[0]
    assert find_end(records.directories, "b") is None
    assert find_end(records.directories, None) is None
    records.remove()
    assert find_end(records.directories, "a") is None
    assert caplog.text == ""
    shutil.rmtree("one")
    Path("one").write_text("")
    records.write(record(), [])
    assert "one: no record of the run's end" in caplog.text
    assert find_end(records.directories, None) == record()


@pytest.mark.parametrize(
    "saver",
    [
        BEST,
        ModelCheckpoint("run/m"),
        ModelCheckpoint("run/m-{epoch}", keep_last=1),
        ModelCheckpoint("run/m", save_freq="2 epochs"),
        ModelCheckpoint("run/m", save_freq="9 epochs", save_on=("end",)),
    ],
)
def test_the_weights_are_those_that_the_run_restored_at_its_end(saver: Callback) -> None:
    """If they were saved, by whichever checkpoint came after them; the record says what was restored."""
    for _ in range(3):
        subject, stops = LineSubject(), EarlyStopping(patience=3, restore_best_weights=True)
        with Run(subject, [saver, stops], verbose=0, resume="auto") as run:
            for epoch in run.epochs(7):
                subject.slope = np.float64(epoch)
                run.step += 1
                run.log(val_loss=STOPPING[epoch])
        assert (subject.slope, run.result.epochs) == (1.0, 5)
        found = read(Path("run"))
        assert found is not None
        assert found.restored == "best val_loss"
