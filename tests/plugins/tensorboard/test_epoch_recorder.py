"""Tests of the events written once an epoch, as TensorBoard's own reader returns them."""

import os
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run, SettingsError, hookimpl, journal
from trainbus.adapters.torch import TorchSubject
from trainbus.capabilities import Node
from trainbus.plugins import ModelCheckpoint, TensorBoard
from trainbus.plugins.tensorboard.writer import event_writer
from trainbus.testing import LineSubject, scripted

from ..event_readers import everything, read, scalars
from ..full_disk import files_of_at_most
from .runs import TorchLike, steps, train

numbers = st.one_of(st.floats(width=32), st.integers(-1000, 1000), st.none(), st.just(np.ones(3)))
histories = st.lists(
    st.dictionaries(st.sampled_from(["loss", "val_loss", "f1", "val_head/f1", "größe"]), numbers, max_size=4),
    max_size=5,
)


@given(histories)
def test_scalars_are_those_of_the_history(history: list[dict[str, Any]]):
    """Exactly the single numbers of every epoch, finite or not, are written, with Keras's tags and steps."""
    with tempfile.TemporaryDirectory() as folder:
        scripted(history, TensorBoard(folder))
        expected = {
            ("validation" if name.startswith("val_") else "train", f"epoch_{name.removeprefix('val_')}", epoch): value
            for epoch, metrics in enumerate(history)
            for name, value in metrics.items()
            if isinstance(value, (int, float))
        }
        found = scalars(folder)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert np.float32(value) == np.float32(found[key]) or np.isnan([value, found[key]]).all()


def test_each_learning_rate_has_a_curve():
    """Learning rates are written with every epoch, each group under its name."""
    train(TensorBoard("logs"), epochs=1, batches=1, subject=TorchLike())
    assert scalars()["train", "epoch_learning_rate/body", 0] == 0.5
    assert scalars()["train", "epoch_learning_rate/head", 0] == 0.25


@pytest.mark.parametrize("freq", [1, 2, 3])
@pytest.mark.parametrize("subject", [LineSubject, TorchLike])
def test_weights_every_histogram_freq_epochs(freq: int, subject: Any):
    """Every weight has a histogram, and an image if it is not a scalar, in the epochs 0, freq, 2 freq and so on."""
    made = subject()
    train(TensorBoard("logs", histogram_freq=freq), epochs=4, batches=1, subject=made)
    reader = read()["train"]
    weights = dict(made.weights())
    due = range(0, 4, freq)
    assert steps(reader, "histograms") == {(f"{name}/histogram", epoch) for name in weights for epoch in due}
    assert steps(reader, "images") == {
        (f"{name}/image", epoch) for name, array in weights.items() if array.ndim for epoch in due
    }
    for name, array in weights.items():
        value = reader.Histograms(f"{name}/histogram")[-1].histogram_value
        assert (value.num, value.min, value.max) == (array.size, array.min(), array.max())
        assert value.sum == pytest.approx(array.astype(float).sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("settings", "histograms", "images"),
    [
        ({}, set[int](), {2}),
        ({"write_images": False}, set[int](), set[int]()),
        ({"write_images": False, "histogram_freq": 2}, {0, 2}, set[int]()),
    ],
)
def test_images_without_histograms_are_written_once_at_the_end(settings: Any, histograms: set[int], images: set[int]):
    """write_images alone shows the weights as they are at the end, and can be switched off."""
    train(TensorBoard("logs", **settings), epochs=3, batches=1, subject=TorchLike())
    reader = read()["train"]
    assert {step for _, step in steps(reader, "histograms")} == histograms
    assert {step for _, step in steps(reader, "images")} == images


@pytest.mark.parametrize("freq", [0, 1])
@pytest.mark.parametrize("most", [1, 3])
def test_a_weight_of_many_kernels_has_at_most_max_images(freq: int, most: int):
    """The first one has the tag of the weight, those after it have their numbers, too."""
    subject = TorchSubject(torch.nn.Conv2d(700, 300, 3, bias=False))
    train([TensorBoard("logs", histogram_freq=freq, max_images=most)], epochs=1, batches=1, subject=subject)
    tags = ["weight/image", "weight/image/1", "weight/image/2"]
    assert sorted(read()["train"].Tags()["images"]) == tags[:most]


def test_weights_that_are_not_finite_do_not_end_the_run():
    """NaN, infinite, empty and extreme weights are shown as far as they can be."""

    class Broken:
        def weights(self):
            yield "nan", np.full(3, np.nan)
            yield "mixed", np.array([1.0, np.inf, 2.0])
            yield "empty", np.zeros((0, 2))
            yield "huge", np.array([1e200, -1e200])

    train(TensorBoard("logs", histogram_freq=1), epochs=1, batches=1, subject=Broken())
    reader = read()["train"]
    assert {tag for tag, _ in steps(reader, "histograms")} == {"mixed/histogram", "huge/histogram"}
    assert {tag for tag, _ in steps(reader, "images")} == {"nan/image", "mixed/image", "huge/image"}


def test_no_run_without_an_event():
    """A run that shows nothing leaves no files behind."""
    with Run(None, TensorBoard("logs")):
        pass
    assert list(Path("logs").rglob("events*")) == []


class Failing:
    """A plugin that raises at the end of the second epoch."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @hookimpl
    def on_epoch_end(self, epoch: int) -> None:
        if epoch == 1:
            raise self.error


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_files_are_closed_whatever_ends_the_run(error: BaseException):
    """After an error the events before it are in closed files; after an interruption the images are, too."""
    subject = TorchLike()
    with pytest.raises(type(error)):
        train([TensorBoard("logs"), Failing(error)], epochs=3, batches=1, subject=subject)
    assert not [file for file in Path("/proc/self/fd").glob("*") if "tfevents" in os.path.realpath(file)]
    assert {step for _, tag, step in scalars() if tag == "epoch_loss"} == {0, 1}
    assert bool(steps(read()["train"], "images")) == (not isinstance(error, Exception))


def test_events_can_be_read_within_seconds():
    """During a run, past events can soon be read, even if no further event follows."""
    with Run(None, TensorBoard("logs")) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
        until = time.monotonic() + 60
        while ("train", "epoch_loss", 0) not in scalars():
            assert time.monotonic() < until
            time.sleep(0.05)


def test_runs_share_nothing():
    """One callback in two runs at once, and in a later one, writes all three, each to separate files."""
    callback = TensorBoard("logs")
    train(callback, epochs=1, batches=1)
    with Run(None, callback) as run, Run(None, TensorBoard("others")) as other:
        for epoch, _ in zip(run.epochs(2), other.epochs(2), strict=False):
            run.log(mine=float(epoch))
            other.log(other=float(epoch))
    tags = {tag for _, tag, _ in scalars()}
    assert tags == {"epoch_mine", "epoch_loss", "evaluation_loss_vs_iterations"}
    assert {tag for _, tag, _ in scalars("others")} == {"epoch_other"}
    assert len(list(Path("logs/train").iterdir())) == 2


def test_two_simultaneous_runs_never_write_to_one_directory():
    """While a run writes there, another is rejected before it trains; after the first has ended it is not."""
    callback = TensorBoard("logs")
    with Run(None, callback):
        with pytest.raises(
            SettingsError, match=r"a run of this process .* saves its charts in .*, or give each run its own directory"
        ):
            Run(None, callback).begin()
        with Run(None, TensorBoard("logs/other")):
            pass
    with pytest.raises(ValueError, match="no"), Run(None, callback):
        raise ValueError("no")
    train(callback, epochs=1, batches=1)


def test_checkpoints_may_be_in_the_same_directory():
    """One run may write both its charts and its checkpoints there."""
    train([TensorBoard("logs"), ModelCheckpoint("logs/best")], epochs=1, batches=1, subject=LineSubject())


def reported_failures(run: Run) -> list[str]:
    """The failures in the journal, which are those of the run and come before its end."""
    (run_journal,) = journal.read(Path("logs/journal.jsonl"))
    reported = [each for each in run_journal.events if isinstance(each, journal.FailureReported)]
    assert [(each.plugin, each.lost) for each in reported] == [(each.plugin, each.lost) for each in run.failures]
    assert run_journal.events[-1] is run_journal.end
    return [each.lost for each in reported]


def test_a_full_disk_loses_events_but_not_the_training(logged: Any):
    """The journal records once that charts cannot be written, and the number of lost events; the others can be read."""
    with files_of_at_most(20_000):
        run = train(TensorBoard("logs", update_freq="batch"), epochs=4, batches=400)
    shown = sum(len(reader.Scalars(tag)) for reader in read().values() for tag in reader.Tags()["scalars"])
    texts = len(read()["train"].Tags()["tensors"])
    logs = Path("logs").absolute()
    assert run.result.epochs == 4
    assert reported_failures(run) == [
        f"cannot write to {logs}",
        # of each epoch: its batches, itself, its validation by epoch and by update
        f"{4 * 400 + 4 * 3 + 2 - shown - texts:,} events of this run are not in {logs}",
    ]
    assert logged() == [f"{each}; the training continues" for each in run.failures]


def test_a_disk_that_does_not_respond_loses_events_but_not_the_training(monkeypatch: pytest.MonkeyPatch, logged: Any):
    """While the writer thread is blocked, batches, epochs, checkpoints and the end continue after a while."""
    monkeypatch.setattr(event_writer, "MAX_EVENTS", 50)
    monkeypatch.setattr(event_writer, "_WAKE_EVENTS", 10)
    monkeypatch.setattr(event_writer, "PATIENCE_SECONDS", 0.05)
    answers = threading.Event()

    class Held(Sequence[Node]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, number: Any) -> Any:
            answers.wait()
            raise IndexError

    class Holding(LineSubject):
        def graph(self) -> Sequence[Node]:
            return Held()

    logs = Path("logs").absolute()
    run = train([TensorBoard("logs", update_freq="batch"), ModelCheckpoint("logs/m")], 4, 40, subject=Holding())
    answers.set()
    assert run.result.epochs == 4
    began, ended = reported_failures(run)
    assert began == f"cannot write to {logs}"
    assert ended.endswith(f" events of this run are not in {logs}")
    assert logged() == [f"{each}; the training continues" for each in run.failures]


def test_a_directory_that_cannot_be_created_is_rejected_before_training():
    """A log_dir below a file is rejected by name when the training begins."""
    Path("file").touch()
    with (
        pytest.raises(SettingsError, match="log_dir='file/logs': charts cannot be saved"),
        Run(None, TensorBoard("file/logs")),
    ):
        raise AssertionError


def test_changing_the_working_directory_moves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A relative log_dir is that of the beginning of the run."""
    with Run(None, TensorBoard("logs")) as run:
        run.begin_epoch(0)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        run.end_epoch({"val_loss": 1.0})
    assert scalars(tmp_path / "logs") == {("validation", "epoch_loss", 0): 1.0}


@pytest.mark.parametrize(
    ("layout", "training", "validation"),
    [
        ("keras", ("train", "loss"), ("validation", "loss")),
        ("lightning", (".", "loss"), (".", "val_loss")),
        ("slash", (".", "loss/train"), (".", "loss/val")),
    ],
)
def test_the_charts_of_a_loop_by_steps_are_over_steps(
    layout: Any, training: tuple[str, str], validation: tuple[str, str]
) -> None:
    """No name of a series and no step speaks of epochs; decisions have their steps."""
    callbacks = [TensorBoard("logs", layout=layout), ModelCheckpoint("m-{step}")]
    with Run(LineSubject(), callbacks) as run:
        for number, _ in enumerate(run.steps(range(3), 50, validate_every=20)):
            run.log(loss=float(number))
            if run.validation_due:
                with run.validation():
                    run.log(loss=0.5)
    found = scalars("logs")
    assert {step: value for (*name, step), value in found.items() if tuple(name) == validation} == {
        20: 0.5,
        40: 0.5,
        50: 0.5,
    }
    assert {step for (*name, step) in found if tuple(name) == training} == {20, 40, 50}
    assert not [name for _, name, _ in found if "epoch" in name]
    main = training[0]
    written = [each for each in everything("logs").items() if each[0][:2] == (main, "decisions")]
    table = "\n".join(text for _, texts in written for text in texts)
    assert {step for (_, _, step), _ in written} == {20, 40, 50}
    assert "| step | decision |" in table
    assert "| 20 | checkpoint | m-20" in table
