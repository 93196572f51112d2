"""The laws of ModelCheckpoint beyond those that it shares with Keras."""

import os
import resource
import shutil
import tempfile
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from itertools import count
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.storage.dying import dying_at
from trainbus import CheckpointError, MissingMetric, Run, SettingsError, UnknownDirection, decision, hookimpl
from trainbus.checkpoints import CheckpointInfo, remove, scan
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.storage.atomic_file import remove_debris
from trainbus.storage.directory_lock import LOCK
from trainbus.testing import EventRecorder, LineSubject, scripted


def saved(history: Sequence[dict[str, Any]], **options: Any) -> list[str]:
    """The files that a run over the history saves, in order."""
    options.setdefault("filepath", "m-{epoch}")
    run, _ = scripted(history, ModelCheckpoint(**options), LineSubject())
    return [checkpoint.path.name for checkpoint in run.checkpoints]


def visible(folder: Path | str = ".") -> set[str]:
    """The files in a directory but the run's lock and journal; what a writer has staged is shown."""
    return {path.name for path in Path(folder).iterdir() if path.is_file()} - {LOCK, "journal.jsonl"}


def on_disk(folder: Path | str = ".") -> set[str]:
    """The checkpoints in a directory; each has its manifest, and no manifest is left alone."""
    names = visible(folder)
    payloads = {name for name in names if not name.endswith(".trainbus.json")}
    assert names - payloads == {f"{name}.trainbus.json" for name in payloads}
    return {name.removesuffix(".npz") for name in payloads}


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


values = st.lists(st.floats(0, 3).map(round) | st.floats(), min_size=1, max_size=8)


@given(values, st.integers(0, 3), st.integers(0, 3), st.sampled_from(["min", "max"]))
def test_the_best_k_and_the_last_n_lie_on_the_disk(losses: list[float], keep: int, last: int, mode: str) -> None:
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
def test_keeping_the_best_one_under_one_name_is_saving_the_best_only(losses: list[float]) -> None:
    """keep=1 decides as save_best_only does: the same epochs are saved."""
    history = [{"loss": loss} for loss in losses]
    epochs = []
    for options in ({"keep": 1}, {"save_best_only": True}):
        with tempfile.TemporaryDirectory() as folder:
            run, _ = scripted(history, ModelCheckpoint(f"{folder}/best", monitor="loss", **options), LineSubject())
        epochs.append([checkpoint.epoch for checkpoint in run.checkpoints])

    assert epochs[0] == epochs[1]


def test_with_best_only_retention_sees_new_bests_alone() -> None:
    """What is no new best is not offered: the last two records stay, though another epoch was the last."""
    history = [{"val_loss": value} for value in (5, 4, 4.5, 3, 9)]

    assert saved(history, save_best_only=True, keep_last=2) == ["m-1.npz", "m-2.npz", "m-4.npz"]
    assert on_disk() == {"m-2", "m-4"}


def test_an_epoch_without_the_metric_is_kept_as_one_of_the_last_only() -> None:
    """Where validation runs every other epoch, the epochs between are never among the best."""
    history = [{"loss": 1}, {"loss": 1, "val_loss": 2}, {"loss": 1}, {"loss": 1, "val_loss": 3}, {"loss": 1}]

    saved(history, keep=1, keep_last=1)
    assert on_disk() == {"m-2", "m-5"}


def survivors(step: int, losses: Sequence[float]) -> tuple[bool, list[CheckpointInfo]]:
    """What is on the disk when a process died before its `step`-th call to the file system in a last epoch."""
    folder = Path(f"death-{step}")
    shutil.copytree("before", folder)

    def last_epoch() -> None:
        os.chdir(folder)
        train_on(losses)

    died = dying_at(step, last_epoch)
    for moment, path in enumerate(sorted(folder.glob("*.npz"), reverse=True)):
        os.utime(path, (moment, moment))  # clocks say the contrary
    remove_debris(folder)
    return died, scan(folder, verify=True)


def train_on(losses: Sequence[float]) -> None:
    saver = ModelCheckpoint("m-{epoch}", monitor="loss", keep=2, keep_last=1, save_on=())
    with Run(LineSubject(), saver, progress=False, resume="auto") as run:
        for epoch in run.epochs(len(losses)):
            run.log(loss=losses[epoch])


@pytest.mark.parametrize("last", [1.0, 9.0], ids=["a new best", "no best"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_death_at_any_step_of_pruning_leaves_the_best_and_the_last(last: float, monkeypatch) -> None:
    """At every moment those that were the best and the last, or those that now are, are whole, ordered by step."""
    losses = [3.0, 2.0, 8.0, 5.0]
    Path("before").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir("before")
        train_on(losses)
    before, after = {1, 2, 4}, ({5, 2} if last < min(losses) else {1, 2, 5})
    seen = set()
    for step in count():
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


def test_a_file_that_somebody_removed_is_no_longer_counted() -> None:
    """After a resume as many are kept as were asked for, not one less for each that is gone."""
    train_on([3.0, 2.0, 8.0])
    remove(Path("m-1.npz"))
    train_on([3.0, 2.0, 8.0, 5.0, 9.0])

    assert on_disk() == {"m-2", "m-4", "m-5"}


def test_decisions_tell_why_files_are_saved_and_forgotten() -> None:
    """Reasons name the metric, its value and the limits."""
    _, decided = scripted(
        [{"val_loss": value} for value in (3.0, 2.0)], ModelCheckpoint("m-{epoch}", keep=1, keep_last=1), LineSubject()
    )

    assert decided[1][1].reasons == (
        "val_loss of 2.00000 is the best",
        "no longer among the best 1 or the last 1",
    )


def test_nothing_is_forgotten_for_a_file_that_could_not_be_written() -> None:
    """When saving fails, what retention would have given up is still there."""

    class Full(LineSubject):
        def save(self, path: Path, *, weights_only: bool) -> None:
            if Path("m-2.npz").exists():
                raise OSError("no space left on device")
            super().save(path, weights_only=weights_only)

    with pytest.raises(CheckpointError, match="no space left"):
        scripted([{"loss": 1}] * 3, ModelCheckpoint("m-{epoch}", keep_last=1), Full())

    assert on_disk() == {"m-2"}


def test_the_last_model_is_saved_at_every_event_that_the_best_leaves_out_too() -> None:
    """With save_last the file "last" holds the epoch that ended last, beside the best one."""
    history = [{"val_loss": value} for value in (2, 1, 3)]
    run, _ = scripted(history, ModelCheckpoint("d/best", save_best_only=True, save_last=True), LineSubject())

    newest = {checkpoint.path.stem: checkpoint.epoch for checkpoint in run.checkpoints}
    assert newest == {"best": 1, "last": 2}
    assert on_disk("d") == {"best", "last"}


def test_fixed_names_lie_where_no_field_moves_them() -> None:
    """A directory that changes with the epoch does not scatter the last files."""
    saved([{"loss": 1}, {"loss": 1}], filepath="d/{epoch}/m", save_last=True, save_on=("end",))

    assert on_disk("d") == {"last", "end"}


def test_the_best_at_steps_refuses_a_metric_that_batches_do_not_know_and_still_saves_the_last() -> None:
    """Retention by val_loss could never work at batches: the first epoch end says so; what is kept as last is saved."""
    run = Run(LineSubject(), ModelCheckpoint("{step}", keep=1, keep_last=1, save_last=True, save_freq="2 steps"))
    with pytest.raises(MissingMetric, match="'val_loss' is not known when a batch ends, so save_freq='2 steps'"), run:
        for _ in run.epochs(2):
            for _ in run.batches("abcd"):
                run.log(loss=1)
            run.log(val_loss=1)

    assert on_disk() == {"4", "last"}


def train_until(error: BaseException | None, *callbacks: Any) -> Run:
    """A run of three epochs, the third of which ends with the error."""
    run = Run(LineSubject(), list(callbacks))
    with run:
        for epoch in run.epochs(3):
            run.subject.slope = np.array(float(epoch))
            run.log(val_loss=1)
            if error is not None and epoch == 2:
                raise error
    return run


@pytest.mark.parametrize("error", [ValueError("spoilt"), KeyboardInterrupt(), None])
def test_how_the_training_ended_tells_which_file_holds_its_end(error: BaseException | None) -> None:
    """An exception or an interrupt saves to "exception", any other end to "end"; the best file stays as it was."""
    callback = ModelCheckpoint("best", save_best_only=True, save_on=("end", "exception"))
    if error is None:
        train_until(None, callback)
    else:
        with pytest.raises(type(error)):
            train_until(error, callback)

    ending = "end" if error is None else "exception"
    assert on_disk() == {"best", ending}
    assert np.load(f"{ending}.npz")["slope"] == 2
    assert np.load("best.npz")["slope"] == 0


def test_an_early_stop_is_an_end() -> None:
    """A run that a decision has stopped saves to "end"; what was not asked for is not saved."""
    stopping = EarlyStopping(patience=1)
    train_until(None, ModelCheckpoint("m", save_on=("end",)), stopping)
    with pytest.raises(ValueError, match="spoilt"):
        train_until(ValueError("spoilt"), ModelCheckpoint("m", save_on=("end",)))

    assert on_disk() == {"m", "end"}


def test_a_training_that_never_began_saves_nothing() -> None:
    """When a plugin refuses at the beginning, there is nothing worth a file."""

    class Refuses:
        @hookimpl
        def on_train_begin(self) -> None:
            raise SettingsError("not like this")

    with pytest.raises(SettingsError, match="not like this"):
        train_until(None, Refuses(), ModelCheckpoint("m", save_on=("exception",)))

    assert on_disk() == set()


def test_fixed_names_of_two_callbacks_in_one_directory_clash() -> None:
    """Two callbacks that would write the same "last" are refused, as is one whose filepath is it."""
    last = ModelCheckpoint("a-{epoch}.npz", save_last=True)
    for other in (ModelCheckpoint("b-{epoch}.npz", save_last=True), ModelCheckpoint("last.npz")):
        with pytest.raises(SettingsError, match=r"two callbacks would write '.*last\.npz'"):
            Run(LineSubject(), [last, other])


def test_keeping_the_best_needs_a_direction() -> None:
    """With keep the monitored metric matters: a name that tells no direction is refused before training."""
    with pytest.raises(UnknownDirection, match="mode="):
        Run(LineSubject(), ModelCheckpoint("{epoch}", monitor="grad_norm", keep=2))


def test_one_ending_may_go_without_a_comma() -> None:
    """The parentheses of ("end") make no tuple; what is meant is taken."""
    assert ModelCheckpoint("m", save_on=("end")) == ModelCheckpoint("m", save_on=("end",))  # type: ignore[arg-type]


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
    assert sorted(visible()) == ["best.npz", "best.npz.trainbus.json"] * bool(disk < np.inf)


def test_a_save_that_failed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """One line a time, on_checkpoint_error and the result tell of it; on_checkpoint and on_decision do not."""
    recorder = EventRecorder("on_checkpoint", "on_checkpoint_error", "on_decision")
    run, held = trained([3, 2, 2.5], {1}, recorder)

    assert held == [3, 3, 2.5]
    assert [(values["epoch"], hook) for hook, values in recorder.events] == [
        (0, "on_checkpoint"),
        (0, "on_decision"),
        (1, "on_checkpoint_error"),
        (2, "on_checkpoint"),
        (2, "on_decision"),
    ]
    ((path, error),) = recorder.of("on_checkpoint_error", "path", "error")
    assert (path, type(error.__cause__)) == (Path("best.npz"), OSError)
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
    assert visible() == set()


def test_whose_save_failed_forgets_nothing() -> None:
    """What its asker wanted to delete for the new file stays; what others wanted to delete goes."""
    rotation = decision.save("new.npz", on_error="warn") | decision.forget("old.npz")
    rotates = EventRecorder("on_epoch_end", answer=lambda _: rotation)
    tidies = EventRecorder("on_epoch_end", answer=lambda _: decision.forget("other.npz"))
    for name in ("old.npz", "other.npz"):
        Path(name).touch()
    subject = SmallDisk()
    subject.full = True
    with Run(subject, [rotates, tidies]) as run:
        for _ in run.epochs(1):
            run.log(loss=1)

    assert visible() == {"old.npz"}
