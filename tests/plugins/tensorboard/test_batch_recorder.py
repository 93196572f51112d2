"""Tests of the events written at batches."""

import tempfile
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau, TensorBoard

from ..event_readers import scalars
from ..far_tensors import Far, far
from .runs import short, train


def test_speed_is_written_only_on_request():
    """Weight updates a second, per epoch and per batch, are there and above 0; otherwise they are not."""
    short(TensorBoard("logs", write_steps_per_second=True, update_freq="batch"))
    short(TensorBoard("plain", update_freq="batch"))
    for tag, steps in (("epoch_steps_per_second", range(4)), ("batch_steps_per_second", range(1, 13))):
        assert all(scalars()["train", tag, step] > 0 for step in steps)
    assert not any("per_second" in tag for _, tag, _ in scalars("plain"))


@given(st.sampled_from(["batch", 1, 2, 3, 7, 100]), st.integers(1, 3), st.integers(0, 7), st.integers(1, 3))
def test_update_freq_adds_batches_and_removes_nothing(every: Any, epochs: int, batches: int, accumulate: int):
    """Batches are written at each multiple of update_freq weight updates, once; epochs as without it."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as plain:
        run = train(TensorBoard(folder, update_freq=every), epochs, batches, accumulate)
        train(TensorBoard(plain), epochs, batches, accumulate)
        found = scalars(folder)
        by_batch = {key for key in found if key[1].startswith("batch_")}
        freq = 1 if every == "batch" else every
        assert by_batch == {("train", "batch_loss", step) for step in range(1, run.step + 1) if step % freq == 0}
        assert {key: value for key, value in found.items() if key not in by_batch} == scalars(plain)


def test_batches_are_running_means():
    """The value written at a batch is the mean of the epoch so far."""
    train(TensorBoard("logs", update_freq="batch"), epochs=1, batches=3)
    assert [scalars()["train", "batch_loss", step] for step in (1, 2, 3)] == [0.0, 0.5, 1.0]


def test_a_validation_between_batches_is_no_batch():
    """Metrics of a validation within an epoch are not written as those of a batch."""
    with Run(None, TensorBoard("logs", update_freq="batch")) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(2)):
                run.log(loss=1.0)
                with run.validation():
                    run.log(loss=2.0)
    assert {tag for _, tag, _ in scalars()} == {"batch_loss", "epoch_loss", "evaluation_loss_vs_iterations"}
    assert scalars()["train", "batch_loss", 2] == 1.0


def test_several_updates_in_a_batch_skip_no_interval():
    """If a batch makes several updates, the first batch past each multiple of update_freq is written."""
    with Run(None, TensorBoard("logs", update_freq=10)) as run:
        run.begin_epoch(0)
        for batch in range(8):
            run.end_batch(batch, {"loss": 1.0}, steps=4)
    assert [step for _, tag, step in scalars() if tag == "batch_loss"] == [12, 20, 32]


def test_with_epochs_only_the_callback_does_not_listen_to_batches():
    """With update_freq="epoch" the callback does not listen to batches."""
    assert not Run(None, TensorBoard("logs")).has_batch_listeners
    assert Run(None, TensorBoard("logs", update_freq="batch")).has_batch_listeners


@pytest.mark.parametrize("layout", ["keras", "slash"])
@pytest.mark.parametrize("every", [1, 3, 100])
def test_a_device_is_waited_for_once_an_interval(every: int, layout: Any):
    """For any number of metrics of any types on it: once an interval of batches, a validation, an epoch.

    Learning rates on the same device are read with the epoch's metrics.
    """
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    groups = [{"params": [each], "lr": far(0.5)} for each in model.parameters()]
    deciding = [each(monitor="val_a", mode="min", patience=9) for each in (EarlyStopping, ReduceLROnPlateau)]
    callbacks = [TensorBoard("logs", update_freq=every, layout=layout), *deciding]
    types = {"a": torch.float32, "b": torch.float64, "c": torch.bfloat16, "d": torch.int64}
    steps, waits = 0, [0]

    def waited() -> int:
        waits.append(Far.waits)
        return waits[-1] - waits[-2]

    with Run(TorchSubject(model, torch.optim.SGD(groups)), callbacks) as run:
        waited()
        for epoch in run.epochs(2):
            assert waited() <= 1  # the end of the epoch before
            for batch in run.batches(range(7)):
                assert waited() == (batch > 0 and steps % every == 0)
                run.log({name: far(epoch + batch, dtype) for name, dtype in types.items()}, plain=1.0)
                steps += 1
            assert waited() == (steps % every == 0)
            with run.validation():
                for _ in range(3):
                    run.log({name: far(epoch, dtype) for name, dtype in types.items()})
                assert waited() == 0
            assert waited() == 1
    assert len(run.history["learning_rate/0"]) == 2
    assert run.history["d"] == [3.0, 4.0]
