"""Tests of which models are saved, and which files stay."""

import os
import resource
import shutil
import tempfile
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from itertools import count
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.storage.dying import dying_at
from trainbus import CheckpointError, Run, decision, hookimpl
from trainbus.checkpoints import CheckpointInfo, remove, scan
from trainbus.plugins import ModelCheckpoint
from trainbus.storage.atomic_file import remove_debris
from trainbus.testing import EventRecorder, LineSubject, scripted

from .saved_files import on_disk, saved, visible


@given(st.lists(st.none() | st.floats(), min_size=1, max_size=12))
def test_best_only_saves_exactly_the_finite_new_bests(values: list[float | None]) -> None:
    """With save_best_only a file is saved if the value is finite and below all earlier finite ones."""
    values[0] = 1.0
    history = [{} if value is None else {"val_loss": value} for value in values]
    expected, best = [], np.inf
    for epoch, value in enumerate(values, start=1):
        if value is not None and np.isfinite(value) and value < best:
            best = value
            expected.append(f"m-{epoch}.npz")

    assert saved(history, save_best_only=True) == expected


@pytest.mark.parametrize(("threshold", "expected"), [(2.0, ["m-3.npz"]), (0.5, []), (None, ["m-1.npz", "m-3.npz"])])
def test_the_threshold_is_the_first_best(threshold: float | None, expected: list[str]) -> None:
    """Only a model that is better than initial_value_threshold is saved."""
    history = [{"val_loss": value} for value in (2.0, 2.5, 1.0)]

    assert saved(history, save_best_only=True, initial_value_threshold=threshold) == expected


values = st.lists(st.floats(0, 3).map(round) | st.floats(), min_size=1, max_size=8)


@given(values, st.integers(0, 3), st.integers(0, 3), st.sampled_from(["min", "max"]))
def test_the_directory_has_the_best_k_and_the_last_n(losses: list[float], keep: int, last: int, mode: str) -> None:
    """After a run the directory has exactly the files of the best k finite values and of the last n epochs."""
    sign = -1 if mode == "max" else 1
    ranked = sorted(
        (epoch for epoch, loss in enumerate(losses) if isfinite(loss)), key=lambda each: sign * losses[each]
    )
    expected = {*ranked[:keep], *(range(len(losses))[-last:] if last else ())}
    if not (keep or last):
        expected = set(range(len(losses)))

    with tempfile.TemporaryDirectory() as folder:
        saved(
            [{"loss": loss} for loss in losses],
            filepath=f"{folder}/{{epoch}}",
            monitor="loss",
            mode=mode,
            keep=keep or None,
            keep_last=last or None,
        )
        assert on_disk(folder) == {str(epoch + 1) for epoch in expected}


@given(values)
def test_keep_1_decides_as_save_best_only(losses: list[float]) -> None:
    """keep=1 decides as save_best_only does: the same epochs are saved."""
    history = [{"loss": loss} for loss in losses]
    epochs = []
    for options in ({"keep": 1}, {"save_best_only": True}):
        with tempfile.TemporaryDirectory() as folder:
            run, _ = scripted(history, ModelCheckpoint(f"{folder}/best", monitor="loss", **options), LineSubject())
        epochs.append([checkpoint.epoch for checkpoint in run.state.checkpoints])

    assert epochs[0] == epochs[1]


def test_with_best_only_retention_counts_new_bests_only() -> None:
    """The last two new bests stay, though a later epoch was not a new best."""
    history = [{"val_loss": value} for value in (5, 4, 4.5, 3, 9)]

    assert saved(history, save_best_only=True, keep_last=2) == ["m-1.npz", "m-2.npz", "m-4.npz"]
    assert on_disk() == {"m-2", "m-4"}


def test_an_epoch_without_the_metric_is_kept_as_one_of_the_last_only() -> None:
    """If validation runs every other epoch, the epochs between are never among the best."""
    history = [{"loss": 1}, {"loss": 1, "val_loss": 2}, {"loss": 1}, {"loss": 1, "val_loss": 3}, {"loss": 1}]

    saved(history, keep=1, keep_last=1)
    assert on_disk() == {"m-2", "m-5"}


def survivors(step: int, losses: Sequence[float]) -> tuple[bool, list[CheckpointInfo]]:
    """Return the files on disk after a process died before its ``step``-th file system call in a last epoch."""
    folder = Path(f"death-{step}")
    shutil.copytree("before", folder)

    def last_epoch() -> None:
        os.chdir(folder)
        train_on(losses)

    died = dying_at(step, last_epoch)
    for seconds, path in enumerate(sorted(folder.glob("*.npz"), reverse=True)):
        os.utime(path, (seconds, seconds))  # the times contradict the order of the steps
    remove_debris(folder)
    return died, scan(folder, verify=True)


def train_on(losses: Sequence[float]) -> None:
    saver = ModelCheckpoint("m-{epoch}", monitor="loss", keep=2, keep_last=1, save_on=())
    with Run(LineSubject(), saver, verbose=0, resume="auto") as run:
        for epoch in run.epochs(len(losses)):
            run.log(loss=losses[epoch])


@pytest.mark.parametrize(
    ("last", "stride"),
    [
        pytest.param(1.0, 3, id="a new best"),
        pytest.param(1.0, 1, id="a new best, each call", marks=pytest.mark.exhaustive),
        pytest.param(9.0, 1, id="no best", marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.exhaustive
def test_a_process_killed_while_it_removes_files_leaves_the_best_and_the_last(
    last: float, stride: int, monkeypatch
) -> None:
    """At any time the previous or the current best and last checkpoints are complete, ordered by step."""
    losses = [3.0, 2.0, 8.0, 5.0]
    Path("before").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir("before")
        train_on(losses)
    before, after = {1, 2, 4}, ({5, 2} if last < min(losses) else {1, 2, 5})
    seen = set()
    for step in count(step=stride):
        died, found = survivors(step, [*losses, last])
        intact = [int(each.path.stem[2:]) for each in found if not each.flaw]
        assert intact == sorted(intact, reverse=True)
        assert before <= set(intact) or after <= set(intact), (step, intact)
        seen.add(frozenset(intact))
        if not died:
            break

    assert set(intact) == after
    assert len(seen) > 2
    assert step > 20


def test_a_file_that_was_removed_from_outside_does_not_count() -> None:
    """After a resume as many files are kept as requested, not one less for each that was removed."""
    train_on([3.0, 2.0, 8.0])
    remove(Path("m-1.npz"))
    train_on([3.0, 2.0, 8.0, 5.0, 9.0])

    assert on_disk() == {"m-2", "m-4", "m-5"}


def test_decisions_have_reasons_to_save_and_forget_files() -> None:
    """Reasons name the metric, its value and the limits."""
    _, decided = scripted(
        [{"val_loss": value} for value in (3.0, 2.0)], ModelCheckpoint("m-{epoch}", keep=1, keep_last=1), LineSubject()
    )

    assert decided[1][1].reasons == (
        "val_loss of 2.00000 is the best",
        "no longer among the best 1 or the last 1",
    )


def test_no_file_is_removed_for_one_that_could_not_be_written() -> None:
    """If saving fails, the files that retention would have deleted still exist."""

    class Full(LineSubject):
        def save(self, path: Path, *, weights_only: bool) -> None:
            if Path("m-2.npz").exists():
                raise OSError("no space left on device")
            super().save(path, weights_only=weights_only)

    with pytest.raises(CheckpointError, match="no space left"):
        scripted([{"loss": 1}] * 3, ModelCheckpoint("m-{epoch}", keep_last=1), Full())

    assert on_disk() == {"m-2"}


class SmallDisk(LineSubject):
    """A subject whose files do not fit while ``full`` is set."""

    full = False

    def save(self, path: Path, *, weights_only: bool) -> None:
        """Write the file, as far as it goes."""
        with ExitStack() as stack:
            if self.full:
                limits = resource.getrlimit(resource.RLIMIT_FSIZE)
                stack.callback(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
            super().save(path, weights_only=weights_only)


def trained(values: Sequence[float], full: Collection[int], *callbacks: object) -> tuple[Run, list[float]]:
    """Return a run whose disk is full in some epochs, and the value in best.npz after each epoch."""
    subject, held, back = SmallDisk(), list[float](), LineSubject()
    with Run(subject, [ModelCheckpoint("best", save_best_only=True, on_error="warn"), *callbacks]) as run:
        for epoch in run.epochs(len(values)):
            if epoch:
                held.append(float(back.slope) if not Path("best.npz").exists() else loaded(back))
            subject.full = epoch in full
            subject.slope = np.array(values[epoch])
            run.log(val_loss=values[epoch])
    return run, [*held, loaded(back) if Path("best.npz").exists() else 0.0]


def loaded(subject: LineSubject) -> float:
    """Return the slope in best.npz."""
    subject.load(Path("best.npz"))
    return float(subject.slope)


@given(st.lists(st.tuples(st.floats(1, 9), st.booleans()), min_size=1, max_size=10))
def test_a_save_that_failed_is_tried_again(epochs: list[tuple[float, bool]]) -> None:
    """With on_error="warn" every epoch better than the saved one is tried; the old file stays complete."""
    Path("best.npz").unlink(missing_ok=True)
    Path("trainbus.best.npz.json").unlink(missing_ok=True)
    values, full = [value for value, _ in epochs], {epoch for epoch, (_, full) in enumerate(epochs) if full}
    run, held = trained(values, full)

    disk, expected, tried = np.inf, list[float](), 0
    for epoch, value in enumerate(values):
        if value < disk and epoch in full:
            tried += 1
        elif value < disk:
            disk = value
        expected.append(disk if np.isfinite(disk) else 0.0)
    assert held == expected
    assert [each.plugin for each in run.failures] == ["ModelCheckpoint"] * tried
    assert sorted(visible()) == ["best.npz", "trainbus.best.npz.json"] * bool(disk < np.inf)


def test_a_save_that_failed_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Each failure logs a line, calls on_checkpoint_error (no on_checkpoint, no on_decision), and is in the result."""
    recorder = EventRecorder("on_checkpoint", "on_checkpoint_error", "on_decision")
    run, held = trained([3, 2, 2.5], {1}, recorder)

    assert held == [3, 3, 2.5]
    assert [(event.values["epoch"], event.hook) for event in recorder.events] == [
        (0, "on_checkpoint"),
        (0, "on_decision"),
        (1, "on_checkpoint_error"),
        (2, "on_checkpoint"),
        (2, "on_decision"),
    ]
    ((path, error),) = recorder.of("on_checkpoint_error", "path", "error")
    assert path == Path("best.npz")
    assert type(error.__cause__) is OSError
    (line,) = caplog.messages
    assert line.startswith("ModelCheckpoint: CheckpointError: the checkpoint 'best.npz' was not")
    assert line.endswith("File too large; the training continues")
    assert "failed: ModelCheckpoint" in str(run.result)


@pytest.mark.parametrize("other", [(), ("warn",), ("raise",)])
def test_a_failed_save_ends_the_run_unless_every_plugin_set_on_error_to_warn(other: tuple[str, ...]) -> None:
    """With on_error="raise", the default, it ends at that epoch, and names the plugins; of two policies it wins."""

    class Asks:
        @hookimpl
        def on_epoch_end(self) -> Any:
            wanted = [decision.save("best.npz", on_error=each) for each in other]  # type: ignore[arg-type]
            return wanted[0] if wanted else None

    subject = SmallDisk()
    subject.full = True
    run = Run(subject, [ModelCheckpoint("best"), Asks()])
    with pytest.raises(CheckpointError, match="File too large") as raised, run:
        for _ in run.epochs(3):
            run.log(loss=1)

    assert run.epoch == 0
    assert raised.value.__notes__ == [f"asked for by {'Asks and ' if other else ''}ModelCheckpoint"]
    assert run.error is raised.value
    assert visible() == set()


def test_a_plugin_whose_save_failed_removes_no_file() -> None:
    """The files that its plugin wanted to delete for the new one stay; those of other plugins are deleted."""

    class Rotates:
        @hookimpl
        def on_epoch_end(self) -> Any:
            return decision.save("new.npz", on_error="warn") | decision.forget("old.npz")

    class Tidies:
        @hookimpl
        def on_epoch_end(self) -> Any:
            return decision.forget("other.npz")

    for name in ("old.npz", "other.npz"):
        Path(name).touch()
    subject = SmallDisk()
    subject.full = True
    with Run(subject, [Rotates(), Tidies()]) as run:
        for _ in run.epochs(1):
            run.log(loss=1)

    assert visible() == {"old.npz"}
