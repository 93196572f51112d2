"""Charts continued from a checkpoint; those of killed runs are with the reliability tests."""

from pathlib import Path
from typing import Any

import pytest

from trainbus import Run
from trainbus.plugins import ModelCheckpoint, TensorBoard
from trainbus.testing import LineSubject

from ...event_readers import EventAccumulator, everything


def train(*, resume: Any = None, epochs: int = 6, **settings: Any) -> None:
    """Two updates an epoch and a checkpoint after each."""
    callbacks = [TensorBoard(**{"log_dir": "logs", "update_freq": "batch", **settings}), ModelCheckpoint("at-{epoch}")]
    with Run(LineSubject(), callbacks, resume=resume) as run:
        for epoch in run.epochs(epochs):
            for _ in run.batches(range(2)):
                run.log(loss=float(epoch))


def checkpoint(epoch: int) -> Path:
    """Return the checkpoint of an epoch, counted from 1."""
    (path,) = (each for each in Path().glob(f"at-{epoch}.*") if each.suffix != ".json")
    return path


@pytest.fixture
def unbroken() -> dict[Any, list[str]]:
    """Return the charts of six epochs."""
    train()
    return everything("logs")


@pytest.mark.parametrize("epoch", [1, 3, 6])
def test_charts_continue_from_any_checkpoint(unbroken: dict[Any, list[str]], epoch: int):
    """Events after the checkpoint are removed and written again, so that none is written twice."""
    train(resume=checkpoint(epoch))
    assert everything("logs") == unbroken


def test_a_finished_run_continues_with_more_epochs():
    """A finished run that trains on has the charts of one that trained that long at once."""
    train(epochs=3)
    train(epochs=6, resume=checkpoint(3))
    found = everything("logs")
    Path("logs").rename("resumed")
    train()
    assert everything("logs") == found


def test_purge_never_removes_no_event(unbroken: dict[Any, list[str]]):
    """With purge="never" the steps after the checkpoint are written twice."""
    train(resume=checkpoint(3), purge="never")
    found = everything("logs")
    assert set(found) == set(unbroken)
    twice = {step for (_, tag, step), values in found.items() if tag == "epoch_loss" and len(values) == 2}
    assert twice == {3, 4, 5}


def test_charts_in_another_directory_stay_unchanged(unbroken: dict[Any, list[str]]):
    """A run that continues in another directory does not change the first one's charts and begins where it resumes."""
    train(resume=checkpoint(3), log_dir="more")
    assert everything("logs") == unbroken
    assert {step for _, tag, step in everything("more") if tag == "epoch_loss"} == {3, 4, 5}


def test_charts_of_other_runs_stay_unchanged():
    """Of two runs that wrote to one directory, resuming the first removes no event of the second."""
    train(epochs=4)
    first = {path: path.read_bytes() for path in Path("logs").rglob("events*")}
    saved = {path: path.read_bytes() for path in Path().glob("*at-2.*")}
    train(epochs=2)
    second = {path: path.read_bytes() for path in Path("logs").rglob("events*") if path not in first}
    for path, content in saved.items():
        path.write_bytes(content)
    train(epochs=4, resume=checkpoint(2))
    assert all(path.read_bytes() == content for path, content in second.items())
    assert all(content.startswith(path.read_bytes()) for path, content in first.items())


def test_deleted_charts_start_again(unbroken: dict[Any, list[str]]):
    """If the event files were deleted, the charts begin with the resumed epochs, as a new run."""
    for path in Path("logs").rglob("events*"):
        path.unlink()
    train(resume=checkpoint(5))
    found = everything("logs")
    assert {step for _, tag, step in found if tag == "epoch_loss"} == {5}
    assert ("train", "settings", 0) in found


@pytest.mark.parametrize("layout", ["lightning", "slash"])
def test_a_running_tensorboard_drops_removed_events(layout: str):
    """A reader that has read the later steps shows the same as a new reader after the resume."""
    train(layout=layout)
    live = EventAccumulator("logs", size_guidance={"scalars": 0}).Reload()
    train(layout=layout, resume=checkpoint(3))
    live.Reload()
    new = EventAccumulator("logs", size_guidance={"scalars": 0}).Reload()
    for tag in new.Tags()["scalars"]:
        if not tag.startswith("training_decisions/"):
            assert [(e.step, e.value) for e in live.Scalars(tag)] == [(e.step, e.value) for e in new.Scalars(tag)]
