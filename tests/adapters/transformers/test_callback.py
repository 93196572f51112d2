"""What ``TransformersCallback`` takes and refuses, and which runs it has."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from trainbus import LoopError, MissingMetric, SettingsError
from trainbus.adapters.transformers import TransformersCallback
from trainbus.plugins import EarlyStopping, ModelCheckpoint, TensorBoard

from .trainers import deciding, first_of, trained, trainer


@pytest.mark.parametrize(
    ("monitor", "arguments", "message"),
    [
        ("val_lss", {}, "did you mean 'val_loss'"),
        ("val_loss", {"eval_strategy": "no"}, "eval_strategy='epoch'"),
        ("eval_loss", {"eval_strategy": "no"}, "eval_strategy='epoch'"),
        ("loss", {"logging_strategy": "no", "eval_strategy": "no"}, "logging_strategy='epoch'"),
        ("eval_score", {}, "compute_metrics"),
        ("val_runtime", {}, "not logged"),
    ],
)
def test_a_metric_that_is_not_logged_is_an_error(monitor: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(MissingMetric, match=message):
        trained([EarlyStopping(monitor=monitor, mode="min")], num_train_epochs=2, **arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resum": "auto"}, "did you mean 'resume'"),
        ({"resume_from_checkpoint": "auto"}, "did you mean 'resume'"),
        ({"epochs": 3}, "unknown argument 'epochs'"),
        ({"Probe": None}, "did you mean 'probe'"),
        ({"callback": []}, "did you mean 'callbacks'"),
    ],
)
def test_an_unknown_argument_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TransformersCallback([], **options)


def test_what_cannot_work_is_refused_before_the_training() -> None:
    stop = EarlyStopping(patience=1)
    for callbacks, message in (
        ([TransformersCallback(stop), TransformersCallback(stop)], "give all callbacks to one"),
        ([TransformersCallback(transformers.EarlyStoppingCallback(1))], "transformers"),
        ([TransformersCallback(ModelCheckpoint("a.keras"))], "keras"),
        ([TransformersCallback(stop, resume="absent.pt")], "absent.pt"),
    ):
        training = trainer(callbacks)
        before = copy.deepcopy(training.model.state_dict())
        with pytest.raises(Exception, match=message):
            training.train()
        assert all(torch.equal(value, training.model.state_dict()[name]) for name, value in before.items())


def test_without_a_train_there_is_no_run() -> None:
    bus = TransformersCallback([])
    with pytest.raises(LoopError, match="no run yet"):
        _ = bus.run
    with pytest.raises(LoopError, match=r"trainer\.train"):
        bus.on_train_begin(*[None] * 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", first_of(lambda each: pickle.loads(pickle.dumps(each)), copy.copy, copy.deepcopy))
@pytest.mark.exhaustive
def test_copies_keep_the_settings_and_the_last_run(make: Any) -> None:
    bus = TransformersCallback([EarlyStopping(patience=1, min_delta=10.0)], hparams={"width": 3})
    trainer([bus]).train()
    again = make(bus)
    reason = again.run.result.reason
    trainer([again]).train()

    assert reason == bus.run.result.reason == again.run.result.reason
    assert again.run is not bus.run
    assert again.run.hparams == {"width": 3}


def test_its_state_is_restored_by_itself_only() -> None:
    """The trainer would replace it by one without callbacks."""
    trained([EarlyStopping()], save_strategy="epoch", num_train_epochs=1)
    with pytest.raises(SettingsError, match="leave it out"):
        trained([EarlyStopping()], resume_from="trainer/checkpoint-4", restore_callback_states_from_checkpoint=True)


@pytest.mark.exhaustive
def test_two_checkpoints_to_continue_from_are_refused() -> None:
    """But with "auto", that of the trainer counts."""
    trained([ModelCheckpoint("own.pt")], save_strategy="epoch", num_train_epochs=2)
    with pytest.raises(SettingsError, match="give one of them"):
        trained([], options={"resume": "own.pt"}, resume_from="trainer/checkpoint-4")
    run = trained(
        [ModelCheckpoint("own.pt")], options={"resume": "auto"}, resume_from="trainer/checkpoint-4", num_train_epochs=3
    )
    assert len(run.history["val_loss"]) == 3


@pytest.mark.exhaustive
def test_a_checkpoint_of_a_trainer_without_the_callback(caplog: pytest.LogCaptureFixture) -> None:
    """Its epochs are counted, and its history is unknown: one line says so."""
    trainer([], save_strategy="epoch", num_train_epochs=2).train()
    run = trained([EarlyStopping(patience=9)], resume_from="trainer/checkpoint-8", num_train_epochs=4)

    assert "without a TransformersCallback" in caplog.text
    assert (run.epoch, run.step, len(run.history["val_loss"])) == (3, 16, 2)


@pytest.mark.parametrize("damage", first_of("missing", "other"))
def test_best_weights_that_are_missing_at_a_resume_are_reported(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """The decisions are the same nevertheless."""
    whole = trained(deciding(), save_strategy="epoch")
    file = Path("trainer/checkpoint-8/trainbus_snapshots.pt")
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(Path("trainer/checkpoint-4/trainbus_snapshots.pt").read_bytes())
    caplog.clear()
    resumed = trained(deciding(), resume_from="trainer/checkpoint-8")

    assert caplog.text.count("without its snapshots") == 1
    assert (resumed.history, resumed.result.reason) == (whole.history, whole.result.reason)


def test_the_state_is_plain_data_of_the_checkpoint() -> None:
    trained(deciding(), save_strategy="epoch", num_train_epochs=1)
    state = json.loads(Path("trainer/checkpoint-4/trainer_state.json").read_text())

    assert "entry" in json.loads(state["stateful_callbacks"]["TransformersCallback"]["attributes"]["restored_state"])


def test_activations_need_a_probe_which_the_callback_takes(caplog: pytest.LogCaptureFixture) -> None:
    trained([TensorBoard("logs", histogram_freq=1)], num_train_epochs=1)

    assert "give it: TransformersCallback(..., probe=validation_loader)" in caplog.text
