"""A directory that is removed during a run is made again at the next write, and never shared with another run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.plugins.event_readers import scalars
from trainbus import CheckpointError, Run, journal
from trainbus.decision import keep
from trainbus.plugins import Journal, ModelCheckpoint, TensorBoard
from trainbus.storage.directory_lock import lock_directories
from trainbus.testing import LineSubject

BACKGROUND = pytest.mark.parametrize("background", [False, None], ids=["waiting", "background"])


def train(remove: Callable[[], object], callbacks: Any, epochs: int = 4, when: int = 2, kept: bool = False) -> Run:
    """Train, and remove something in the middle of an epoch."""
    subject = LineSubject()
    with Run(subject, callbacks, verbose=0) as run:
        for epoch in run.epochs(epochs):
            for x in run.batches([0.0, 1.0]):
                run.log(loss=subject.train(np.array([x]), np.array([1.0])))
            if kept and epoch == 0:
                run.decide(keep("best"))
            if epoch == when:
                remove()
    return run


def other_run(directory: str) -> subprocess.Popen[str]:
    """Begin a run of another process in a directory; return when it has the lock."""
    script = f"""
import sys
from trainbus import Run
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject
with Run(LineSubject(), ModelCheckpoint({directory!r} + "/m-{{epoch}}"), verbose=0) as run:
    for epoch in run.epochs(1):
        run.log(loss=9.0)
    print("saved", flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "saved\n", process.communicate()
    return process


@BACKGROUND
@pytest.mark.parametrize("removed", ["run", "run/.trainbus.lock", "deep/er/run"])
def test_a_removed_directory_is_made_again_and_what_is_lost_is_reported(removed: str, background: bool | None) -> None:
    """Later checkpoints, the whole journal and the lock are there; one failure names the files that are lost."""
    directory = removed.removesuffix("/.trainbus.lock")
    gone = Path(removed)

    def remove() -> None:
        gone.unlink() if gone.is_file() else shutil.rmtree(Path(removed).parts[0])

    run = train(remove, ModelCheckpoint(f"{directory}/m-{{epoch}}", background=background), kept=True)

    whole = removed != directory
    names = sorted(each.name for each in Path(directory).glob("m-*"))
    assert names == ["m-1.npz", "m-2.npz", "m-3.npz", "m-4.npz"][0 if whole else 2 :]
    assert [each.name for each in run.result.checkpoints] == names
    (found,) = journal.read(Path(directory, journal.NAME))
    assert [each.epoch for each in found.epochs] == [0, 1, 2, 3]
    assert found.end is not None
    reported = [str(each) for each in run.failures if each.plugin == "checkpoints"]
    assert len(reported) == 1
    assert all(each in reported[0] for each in ("m-1.npz", "m-2.npz", "'best'")) != whole
    assert [each.plugin for each in run.failures].count("Journal") == (not whole)
    with pytest.raises(CheckpointError, match="end it first"), lock_directories([Path(directory)]):
        lock_directories([Path(directory)])


@pytest.mark.parametrize("removed", ["logs", "logs/train", "logs/validation", "logs/.trainbus.tensorboard.lock"])
def test_removed_charts_are_made_again(removed: str) -> None:
    """The event files have every curve, those before the removal, too."""
    gone = Path(removed)

    def remove() -> None:
        gone.unlink() if gone.is_file() else shutil.rmtree(gone, ignore_errors=True)

    saver = ModelCheckpoint("run/m-{epoch}")  # each save waits until the events are in their file
    run = train(remove, [saver, TensorBoard("logs"), Journal(enabled=False)])

    assert sorted(step for _, tag, step in scalars("logs") if tag == "epoch_loss") == [0, 1, 2, 3]
    assert [each.plugin for each in run.failures] == ["TensorBoard"] * (removed in ("logs", "logs/train"))


@BACKGROUND
@pytest.mark.parametrize("removed", ["run", "run/.trainbus.lock"])
@pytest.mark.covering(1)
def test_a_second_run_that_got_in_is_alone(removed: str, background: bool | None) -> None:
    """The first run writes and deletes nothing there any more, and says whose the directory is."""
    others: list[subprocess.Popen[str]] = []

    def remove() -> None:
        shutil.rmtree("run") if removed == "run" else Path(removed).unlink()
        others.append(other_run("run"))

    try:
        with pytest.raises(CheckpointError) as raised:
            train(
                remove, [ModelCheckpoint("run/m-{epoch}", keep_last=1, background=background), Journal(enabled=False)]
            )
        content = Path("run/m-1.npz").read_bytes()
        with pytest.raises(CheckpointError, match=f"process {others[0].pid} on"):
            lock_directories([Path("run")])
    finally:
        for each in others:
            each.communicate("")

    assert f"another run (process {others[0].pid} on" in str(raised.value)
    assert content == Path("run/m-1.npz").read_bytes()
    assert not Path("run/m-3.npz").exists()
    assert Path("run/.trainbus-end.json").exists(), "the second run has ended in peace"


def test_a_journal_that_another_file_replaced_is_left_alone() -> None:
    """Nothing is appended to a file of someone else; failures say so, and the training continues."""

    def replace() -> None:
        Path("elsewhere").write_text("theirs")
        Path("elsewhere").replace("journal.jsonl")

    run = train(replace, Journal("journal.jsonl"))

    assert Path("journal.jsonl").read_text() == "theirs"
    assert run.result.epochs == 4
    assert ["another file is there now" in str(each) for each in run.failures] == [True]


def test_a_directory_that_moves_is_made_again_where_it_was() -> None:
    """The moved files stay as they are: the run follows the path that its user named."""
    run = train(lambda: Path("run").rename("moved"), ModelCheckpoint("run/m-{epoch}"))

    assert sorted(each.name for each in Path("run").glob("m-*")) == ["m-3.npz", "m-4.npz"]
    assert sorted(each.name for each in Path("moved").glob("m-*")) == ["m-1.npz", "m-2.npz"]
    assert len(journal.read(Path("run/journal.jsonl"))[0].epochs) == 4
    assert len([each for each in run.failures if each.plugin == "checkpoints"]) == 1


def test_a_directory_that_cannot_be_made_again_is_an_error() -> None:
    """A file in its place is named; nothing is written elsewhere."""

    def remove() -> None:
        shutil.rmtree("run")
        Path("run").write_text("in the way")

    with pytest.raises(CheckpointError, match="run"):
        train(remove, ModelCheckpoint("run/m-{epoch}"))

    assert Path("run").read_text() == "in the way"


def test_a_run_resumes_after_its_directory_was_made_again() -> None:
    """The snapshot that is lost is named; everything else continues from the newest checkpoint."""
    callbacks = ModelCheckpoint("run/m-{epoch}")
    train(lambda: shutil.rmtree("run"), callbacks, kept=True)

    with Run(LineSubject(), callbacks, verbose=0, resume="auto") as run:
        for _ in run.epochs(6):
            run.log(loss=1.0)

    assert run.result.epochs == 6
    assert len(run.history["loss"]) == 6


@pytest.mark.parametrize("when", [0, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in (1, 2)), 3])
@pytest.mark.parametrize("size", [0, 10, 2000])
@pytest.mark.parametrize("resumed", [False, True])
def test_a_truncated_journal_is_one_of_the_later_events_and_a_failure_says_so(
    size: int, when: int, resumed: bool
) -> None:
    """A program that rotates logs copies it before it truncates it."""
    saver, path = ModelCheckpoint("run/m-{epoch}"), Path("run/journal.jsonl")
    if resumed:
        train(lambda: None, saver, epochs=2)
    before: list[int] = []

    def truncate() -> None:
        before.append(path.stat().st_size)
        os.truncate(path, min(size, before[0]))

    with Run(LineSubject(), saver, verbose=0, resume="auto" if resumed else None) as run:
        for epoch in run.epochs(6):
            run.log(loss=1.0)
            if epoch == when + 2 * resumed:
                truncate()

    (found,) = journal.read(path)
    assert [each.epoch for each in found.epochs][-1] == 5
    assert found.end is not None
    lost = [str(each) for each in run.failures if "was truncated during the run" in str(each)]
    assert len(lost) == (before[0] > size)
    assert len([each for each in found.events if isinstance(each, journal.FailureReported)]) == len(lost)


@pytest.mark.parametrize("size", [0, 1, 30, 100, 5000])
@pytest.mark.parametrize("when", [pytest.param(1, marks=pytest.mark.exhaustive), 2])
def test_truncated_charts_are_readable(when: int, size: int) -> None:
    """The later events are there; the earlier ones are lost, as a failure says."""

    def truncate() -> None:
        for path in Path("logs").rglob("events.*"):
            os.truncate(path, min(size, path.stat().st_size))

    run = train(truncate, [ModelCheckpoint("run/m-{epoch}"), TensorBoard("logs"), Journal(enabled=False)], when=when)

    assert max(step for _, tag, step in scalars("logs") if tag == "epoch_loss") == 3
    assert {each.plugin for each in run.failures} == {"TensorBoard"} - ({"TensorBoard"} if size == 5000 else set())
