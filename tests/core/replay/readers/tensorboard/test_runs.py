"""Runs in event files: their epochs and names are those of the framework that wrote them."""

import importlib.util
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorboardX
from hypothesis import given
from hypothesis import strategies as st
from torch.utils import tensorboard

from trainbus import Run, SettingsError
from trainbus.plugins import Journal, TensorBoard
from trainbus.replay import Recording, read, read_all

from ...recorded import DATA, shown
from ...streams import assert_reads_as_tensorboard, curve, event, event_pb2, scalar, summary_pb2, write

SAMPLES = {
    "keras": ["keras"],
    "lightning": ["lightning", "lightning_csv"],
    "transformers": ["transformers", "transformers/checkpoint-16"],
}
"""The directories in which each library wrote the same run."""
NEEDS = {"keras": "tensorflow", "lightning": "lightning", "transformers": "transformers"}


def assert_holds(recording: Recording, epochs: list[dict[str, float]]) -> None:
    """The recording has these metrics at every epoch, to the precision of event files."""
    assert recording.epochs.tolist() == list(range(len(epochs)))
    for name in epochs[0]:
        series = recording.metrics[name]
        assert series.logged.all()
        np.testing.assert_allclose(series.values, [epoch[name] for epoch in epochs], rtol=1e-6)


@pytest.mark.parametrize("library", SAMPLES)
def test_samples_of_real_libraries_have_the_reported_values(library: str):
    """Epochs, names and values are those that Keras, Lightning and Transformers reported."""
    epochs = json.loads((DATA / f"{library}.json").read_text())["epochs"]
    for directory in SAMPLES[library]:
        assert_holds(read(DATA / directory), epochs)
        assert_reads_as_tensorboard(DATA / directory)


@pytest.mark.exhaustive
@pytest.mark.parametrize("library", SAMPLES)
def test_the_library_that_is_installed_is_read(library: str, tmp_path: Path):
    """Files that the installed library writes now are read as the samples are."""
    if importlib.util.find_spec(NEEDS[library]) is None:
        pytest.skip(f"needs {NEEDS[library]}")
    subprocess.run(
        [sys.executable, DATA / "make_samples.py", ".", library],
        cwd=tmp_path, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    epochs = json.loads((tmp_path / f"{library}.json").read_text())["epochs"]
    for directory in SAMPLES[library]:
        assert_holds(read(tmp_path / directory), epochs)
        assert_reads_as_tensorboard(tmp_path / directory)


VALUES = st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf])
EPOCHS = st.lists(
    st.dictionaries(st.sampled_from(["loss", "accuracy", "val_loss", "val_f1", "learning_rate"]), VALUES),
    min_size=1,
    max_size=6,
).filter(all)


@pytest.mark.parametrize("layout", ["keras", "lightning", "slash"])
@given(epochs=EPOCHS, batches=st.integers(0, 3))
def test_layouts_of_trainbus_are_read_back(layout, epochs, batches):
    """For each layout, with batches or without, the same metrics are read at the same epochs."""
    with tempfile.TemporaryDirectory() as folder:
        callback = TensorBoard(folder, layout=layout, update_freq="batch", write_steps_per_second=False)
        with Run(None, [callback, Journal(enabled=False)], verbose=0) as run:
            for _, metrics in zip(run.epochs(len(epochs)), epochs, strict=True):
                for batch in range(batches):
                    run.begin_batch(batch)
                    run.end_batch(batch)
                run.log({name: value for name, value in metrics.items() if not name.startswith("val_")})
                with run.validation():
                    run.log({name[4:]: value for name, value in metrics.items() if name.startswith("val_")})
        found = read(folder)

    assert found.epochs.tolist() == list(range(len(epochs)))
    for epoch, metrics in enumerate(epochs):
        had = {name: series.values[epoch] for name, series in found.metrics.items() if series.logged[epoch]}
        assert repr(dict(sorted(had.items()))) == repr(
            {name: np.float64(np.float32(value)) for name, value in sorted(metrics.items())}
        )
    assert found.times is not None
    assert (np.diff(found.times) >= 0).all()


@pytest.mark.parametrize("library", [tensorboard, tensorboardX], ids=["torch", "tensorboardX"])
@pytest.mark.parametrize(
    ("train", "val"), [("Loss/train", "Loss/val"), ("train/loss", "valid/loss"), ("loss", "val_loss")]
)
def test_writers_of_pytorch_are_read(library, train: str, val: str, tmp_path: Path):
    """For any spelling of the tags, the metrics are "loss" and "val_loss", and steps are epochs."""
    with library.SummaryWriter(str(tmp_path)) as writer:
        for epoch in range(5):
            writer.add_scalar(train, 1 / (epoch + 1), epoch)
            writer.add_scalar(val, 2 / (epoch + 1), epoch)
            writer.add_scalars("acc", {"train": 0.25 * epoch, "val": 0.125 * epoch}, epoch)
            writer.add_histogram("weights", np.arange(3.0), epoch)
    found = read(tmp_path)

    assert_reads_as_tensorboard(tmp_path)
    assert found.epochs.tolist() == [0, 1, 2, 3, 4]
    assert set(found.metrics) == {"loss", "val_loss", "acc", "val_acc"}
    assert shown(found)["val_loss"] == [float(np.float32(2 / (epoch + 1))) for epoch in range(5)]
    assert shown(found)["val_acc"] == [0.125 * epoch for epoch in range(5)]
    assert found.notes == ("Steps are read as epochs.",)


def test_hyperparameters_of_pytorch_are_not_a_run(tmp_path: Path):
    """The directory that ``add_hparams`` creates is part of the run; a note says that it is left out."""
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        for epoch in range(3):
            writer.add_scalar("loss", epoch, epoch)
        writer.add_hparams({"lr": 0.1}, {"hparam/loss": 0.5}, run_name="hyper")
    found = read(tmp_path)

    assert shown(found) == {"loss": [0.0, 1.0, 2.0]}
    assert "'hyper' has no curve and is left out." in found.notes


def test_a_resume_replaces_later_steps(tmp_path: Path):
    """The later of several files replaces the earlier from its first step on, regardless of their names."""
    write(tmp_path / "events.out.tfevents.2", curve("loss", range(6)))
    late = [
        event(step, 200.0 + step, summary=summary_pb2.Summary(value=[scalar("loss", step + 0.5)])) for step in (3, 4)
    ]
    write(tmp_path / "events.out.tfevents.1", late)
    found = read(tmp_path)

    assert shown(found) == {"loss": [0.0, 1.0, 2.0, 3.5, 4.5]}
    assert found.times is not None
    assert found.times.tolist() == [100, 101, 102, 203, 204]
    assert any("3 numbers are left out" in note for note in found.notes)


def test_a_restart_in_a_file_voids_later_steps(tmp_path: Path):
    """Values that ``SessionLog.START`` invalidates are not in the run, even for tags that are not written again."""
    start = event(2, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
    records = [*curve("loss", range(4)), *curve("val_loss", range(4)), start, *curve("loss", [2])]
    write(tmp_path / "events.out.tfevents.1", records)

    assert shown(read(tmp_path)) == {"loss": [0.0, 1.0, 2.0], "val_loss": [0.0, 1.0]}


def test_runs_are_distinguished(tmp_path: Path):
    """Each directory is a run except "train" and "validation"; other stage names are runs if they have no sibling."""
    for run in ("a/train", "a/validation", "b", "b/inner", "test", "deep/er/version_10", "deep/er/version_9"):
        write(tmp_path / run / "events.out.tfevents.1", curve("loss", range(3)))
    found = read_all(tmp_path)

    names = ["a", "b", "b/inner", "deep/er/version_9", "deep/er/version_10", "test"]
    assert [each.name for each in found] == names
    assert set(found[0].metrics) == {"loss", "val_loss"}
    assert set(read(tmp_path / "a/validation").metrics) == {"val_loss"}


@pytest.mark.parametrize("steps_per_epoch", [None, 2])
@pytest.mark.parametrize("tag", ["hp_metric", "training_decisions/stop", "epoch", "train/epoch"])
def test_a_run_without_a_metric_is_refused(tag: str, steps_per_epoch: int | None, tmp_path: Path):
    """Lightning writes "hp_metric" before the first epoch; a run that ends there does not affect the others."""
    write(tmp_path / "crashed/events.out.tfevents.1", curve(tag, range(4)))
    with pytest.raises(SettingsError, match="has no completed epoch"):
        read(tmp_path, steps_per_epoch=steps_per_epoch)
    write(tmp_path / "good/events.out.tfevents.1", curve("loss", range(4)))
    unread: list[SettingsError] = []

    assert [each.name for each in read_all(tmp_path, unread=unread.append)] == ["good"]
    assert len(unread) == 1


def test_directories_without_numbers_are_refused(tmp_path: Path):
    """A run that crashed before it logged anything causes an error."""
    write(tmp_path / "events.out.tfevents.1", [])
    with pytest.raises(SettingsError, match="no numbers"):
        read(tmp_path)
