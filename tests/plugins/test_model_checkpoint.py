"""The laws of ModelCheckpoint beyond those that it shares with Keras."""

import resource
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import CheckpointError, MissingMetric, Run, SettingsError, decision, hookimpl
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject, scripted


def saved(history: Sequence[dict[str, Any]], **options: Any) -> list[str]:
    """The files that a run over the history saves, in order."""
    options.setdefault("filepath", "m-{epoch}")
    run, _ = scripted(history, ModelCheckpoint(**options), LineSubject())
    return [checkpoint.path.name for checkpoint in run.checkpoints]


@given(st.lists(st.none() | st.floats(), min_size=1, max_size=12))
def test_best_only_saves_exactly_the_strict_records_of_the_finite(values: list[float | None]) -> None:
    """With save_best_only a file is saved where the value is finite and below all finite ones before it."""
    values[0] = 1.0
    history = [{} if value is None else {"val_loss": value} for value in values]
    expected, best = [], np.inf
    for epoch, value in enumerate(values, start=1):
        if value is not None and np.isfinite(value) and value < best:
            best = value
            expected.append(f"m-{epoch}.npz")

    assert saved(history, save_best_only=True) == expected


def test_the_file_holds_the_weights_of_its_epoch() -> None:
    """What is loaded back is the subject as it was when the epoch ended."""
    with Run(LineSubject(), ModelCheckpoint("m-{epoch}")) as run:
        for epoch in run.epochs(3):
            run.subject.slope = np.array(float(epoch))
            run.log(loss=1)

    back = LineSubject()
    for epoch in range(3):
        back.load(Path(f"m-{epoch + 1}.npz"))
        assert back.slope == epoch


def test_the_template_knows_every_metric_epoch_and_step() -> None:
    """Fields are filled from the epoch's metrics, the epoch counted from 1, and the steps made."""
    with Run(LineSubject(), ModelCheckpoint("d/{epoch:02d}-{step}-{val_loss:.2f}-{learning_rate}")) as run:
        for _ in run.epochs(1):
            for _ in run.batches("abc"):
                pass
            run.log(val_loss=0.126)

    assert [path.as_posix() for path in run.result.checkpoints] == ["d/01-3-0.13-0.5.npz"]


def test_a_field_that_nothing_logs_fails_at_the_first_epoch_end_even_if_nothing_would_be_saved() -> None:
    """The path is filled in before the metric is judged, so a misspelt field never waits for the first best epoch."""
    with pytest.raises(MissingMetric, match="'val_los' is not known; did you mean 'val_loss'"):
        saved([{"val_loss": nan}], filepath="{val_los}", save_best_only=True)


def test_epochs_without_validation_are_no_mistake() -> None:
    """Where validation runs every other epoch, the epochs between are saved too, their val_ fields as nan."""
    history = [{"loss": 1}, {"loss": 1, "val_loss": 0.5}, {"loss": 1}]

    assert saved(history, filepath="{epoch}-{val_loss:.1f}") == ["1-nan.npz", "2-0.5.npz", "3-nan.npz"]


def test_batches_are_counted_across_epochs_and_named() -> None:
    """save_freq=3 over epochs of four batches saves at batches 3, 2, 1 and 4 of epochs 1, 2, 3 and 3."""
    with Run(LineSubject(), ModelCheckpoint("{epoch}-{batch}", save_freq=3)) as run:
        for _ in run.epochs(3):
            for _ in run.batches("abcd"):
                run.log(loss=1)

    assert [path.stem for path in run.result.checkpoints] == ["1-3", "2-2", "3-1", "3-4"]


def test_best_only_works_at_batches() -> None:
    """With an integer save_freq the running mean of the epoch is judged, and only a better one saves."""
    with Run(
        LineSubject(), ModelCheckpoint("{epoch}-{batch}", monitor="loss", save_best_only=True, save_freq=1)
    ) as run:
        for epoch in run.epochs(2):
            for loss in run.batches([[3, 1, 5], [1, 9, 9]][epoch]):
                run.log(loss=loss)

    assert [path.stem for path in run.result.checkpoints] == ["1-1", "1-2", "2-1"]


def test_best_only_at_batches_refuses_a_metric_that_batches_do_not_know() -> None:
    """val_loss is known at epoch ends only: the first epoch end says so and names what batches log."""
    run = Run(LineSubject(), ModelCheckpoint("x", save_best_only=True, save_freq=2))
    with pytest.raises(MissingMetric, match=r"'val_loss' is not known when a batch ends.*logged: .*loss.*epoch"), run:
        for _ in run.epochs(2):
            for _ in run.batches("abcd"):
                run.log(loss=1)
            run.log(val_loss=1)

    assert run.epoch == 0


@pytest.mark.parametrize(("threshold", "expected"), [(2.0, ["m-3.npz"]), (0.5, []), (None, ["m-1.npz", "m-3.npz"])])
def test_the_threshold_is_the_first_best(threshold: float | None, expected: list[str]) -> None:
    """Only what beats initial_value_threshold strictly is saved."""
    history = [{"val_loss": value} for value in (2.0, 2.5, 1.0)]

    assert saved(history, save_best_only=True, initial_value_threshold=threshold) == expected


def test_weights_only_leaves_out_the_rest() -> None:
    """The file of save_weights_only has the weights and nothing else."""
    saved([{"loss": 1}], filepath="w", save_weights_only=True)
    saved([{"loss": 1}], filepath="a")

    assert set(np.load("w.npz")) == {"slope", "offset"}
    assert set(np.load("a.npz")) == {"slope", "offset", "learning_rate"}


def test_a_suffix_that_the_subject_cannot_write_is_refused_before_training() -> None:
    """The error names the suffixes that it can write."""
    with pytest.raises(SettingsError, match=r"ModelCheckpoint: .*LineSubject cannot write \.keras; it writes \.npz"):
        Run(LineSubject(), ModelCheckpoint("best.keras"))


class SmallDisk(LineSubject):
    """A subject whose files do not fit while `full` is set."""

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
    """A run whose disk is full in some epochs, and after each epoch what best.npz holds: the value of which epoch."""
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
    """The slope that best.npz holds."""
    subject.load(Path("best.npz"))
    return float(subject.slope)


@given(st.lists(st.tuples(st.floats(1, 9), st.booleans()), min_size=1, max_size=10))
def test_a_save_that_failed_is_tried_again(epochs: list[tuple[float, bool]]) -> None:
    """With on_error="warn" every epoch that beats what is really on the disk is tried; the old file stays whole."""
    Path("best.npz").unlink(missing_ok=True)
    Path("best.npz.trainbus.json").unlink(missing_ok=True)
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
    assert sorted(path.name for path in Path().iterdir()) == ["best.npz", "best.npz.trainbus.json"] * bool(
        disk < np.inf
    )


def test_a_save_that_failed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """One line a time, on_checkpoint_error and the result tell of it; on_checkpoint and on_decision do not."""

    class Hears:
        def __init__(self) -> None:
            self.heard: list[object] = []

        @hookimpl
        def on_checkpoint(self, run: Run) -> None:
            self.heard.append(f"{run.epoch} saved")

        @hookimpl
        def on_checkpoint_error(self, run: Run, path: Path, error: CheckpointError) -> None:
            self.heard.append(f"{run.epoch} {path} {type(error.__cause__).__name__}")

        @hookimpl
        def on_decision(self, run: Run) -> None:
            self.heard.append(f"{run.epoch} decided")

    ears = Hears()
    run, held = trained([3, 2, 2.5], {1}, ears)

    assert held == [3, 3, 2.5]
    assert ears.heard == ["0 saved", "0 decided", "1 best.npz OSError", "2 saved", "2 decided"]
    (line,) = caplog.messages
    assert line.startswith("ModelCheckpoint: CheckpointError: the checkpoint 'best.npz' was not")
    assert line.endswith("File too large; the training goes on")
    assert "failed: ModelCheckpoint" in str(run.result)


@pytest.mark.parametrize("other", [(), ("warn",), ("raise",)])
def test_a_save_that_fails_ends_the_run_unless_everybody_agrees(other: tuple[str, ...]) -> None:
    """With on_error="raise", the default, at the end of its epoch, naming who asked; of two for one path it wins."""

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
    assert list(Path().iterdir()) == []


def test_whose_save_failed_forgets_nothing() -> None:
    """What its asker wanted to delete for the new file stays; what others wanted to delete goes."""

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

    assert sorted(path.name for path in Path().iterdir()) == ["old.npz"]
