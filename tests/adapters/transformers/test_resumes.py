"""A run that is continued from its own checkpoints, and from those of the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from trainbus import Run, SettingsError
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import check_binding

from .trainers import ROWS, deciding, end_of, first_of, trained

STEPS = {"logging_strategy": "steps", "logging_steps": 1}
OWN: dict[str, dict[str, Any]] = {
    "updates": {"logging_strategy": "no"},
    "schedule": {**STEPS, "lr_scheduler_type": "cosine", "optim": "adamw_torch"},
    "accumulation": {**STEPS, "gradient_accumulation_steps": 2},
    "evaluations by steps": {**STEPS, "eval_strategy": "steps", "eval_steps": 3},
    "a last part of an epoch": {"logging_strategy": "no", "max_steps": 14},
    "a delay": {"logging_strategy": "no", "eval_delay": 2},
}
ITS: dict[str, dict[str, Any]] = {
    "epochs": {"save_strategy": "epoch"},
    "schedule": {"save_strategy": "epoch", "lr_scheduler_type": "cosine", "optim": "adamw_torch"},
    "updates": {**STEPS, "save_strategy": "steps", "save_steps": 1},
    "evaluations by steps": {
        **STEPS,
        "save_strategy": "steps",
        "save_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 3,
    },
    "accumulation": {**STEPS, "save_strategy": "steps", "save_steps": 1, "gradient_accumulation_steps": 3},
    "the best": {"save_strategy": "best", "load_best_model_at_end": True, "metric_for_best_model": "eval_loss"},
    "a last part of an epoch": {
        "logging_strategy": "no",
        "save_strategy": "steps",
        "save_steps": 1,
        "max_steps": 14,
    },
}


def looks(way: Mapping[str, Any]) -> list[Any]:
    return deciding(**({"every": "validation"} if way.get("eval_strategy") == "steps" else {}))


@pytest.mark.parametrize(
    "name",
    first_of("accumulation", *(each for each in OWN if each != "accumulation")),
)
def test_it_continues_from_each_of_its_checkpoints(name: str) -> None:
    """What the trainer trained before is left out; dropout is as if it had not been interrupted."""
    way, quiet = OWN[name], {"verbose": 0}
    whole = trained([*looks(way), ModelCheckpoint("own/{step}", save_freq="1 steps")], options=quiet, **way)
    for step in range(1, whole.step + 1, 3 if name == "accumulation" else 1):
        again = [*looks(way), ModelCheckpoint("again/{step}", save_freq="1 steps")]
        resumed = trained(again, options={"resume": f"own/{step}.pt", **quiet}, **way)

        assert end_of(resumed) == end_of(whole), step


@pytest.mark.parametrize("name", first_of("epochs", *(each for each in ITS if each != "epochs")))
def test_it_continues_from_each_checkpoint_of_the_trainer(name: str) -> None:
    """Also after the last update of an epoch, whose evaluation the trainer alone would leave out."""
    way = ITS[name]
    whole = trained(looks(way), options={"verbose": 0}, **way)
    found = sorted(Path("trainer").glob("checkpoint-*"))
    assert found
    for path in found:
        resumed = trained(looks(way), folder="again", options={"verbose": 0}, resume_from=str(path), **way)
        expected = end_of(whole)

        assert end_of(resumed) == expected, path


def in_a_process(plugin: object, resume: bool, *, own: bool, **arguments: Any) -> Run:
    """A training for ``check_binding``, resumed by its own checkpoints or those of the trainer."""
    callbacks = [*looks(arguments), ModelCheckpoint("own-{epoch}", keep_last=2), plugin]
    complete = {int(each.parent.name[11:]): each.parent for each in Path().glob("trainer/*/trainer_state.json")}
    source = str(complete[max(complete)]) if resume and complete and not own else None
    start = "auto" if resume and own else None
    return trained(callbacks, options={"resume": start, "verbose": 0}, resume_from=source, **arguments)


@pytest.mark.parametrize("own", first_of(False, True))
def test_a_training_that_is_killed_and_resumed_decides_the_same(own: bool) -> None:
    """Killed by SIGKILL at the end of each epoch."""
    save = "no" if own else "epoch"
    train = partial(in_a_process, own=own, save_strategy=save, num_train_epochs=3)
    check_binding(train, at=["on_epoch_end"])


@pytest.mark.exhaustive
@pytest.mark.parametrize("way", ["epochs", "updates", "evaluations by steps"])
def test_a_training_that_is_killed_at_any_event_and_resumed_decides_the_same(way: str) -> None:
    """Killed by SIGKILL at every event."""
    check_binding(partial(in_a_process, own=False, num_train_epochs=3, **ITS[way]))


@pytest.mark.exhaustive
def test_a_training_that_is_killed_at_any_event_and_resumes_itself_decides_the_same() -> None:
    check_binding(partial(in_a_process, own=True, num_train_epochs=4))


def test_epochs_that_are_left_out_load_no_data_and_warn_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    loaded: list[int] = []

    class Rows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 16

        def __getitem__(self, index: int) -> Any:
            loaded.append(index)
            return ROWS[index]

    transformers.logging.enable_propagation()
    trained([ModelCheckpoint("own/{step}", save_freq="1 steps")], num_train_epochs=3, logging_strategy="no")
    run = trained([], options={"resume": "own/10.pt"}, num_train_epochs=3, logging_strategy="no", train_dataset=Rows())

    assert run.step == 12
    assert len(loaded) == 8
    assert "single sample" not in caplog.text


def test_what_cannot_be_left_out_is_refused_before_the_training() -> None:
    """A part of an epoch whose last weight update is shorter, and a loader that no Accelerate has prepared."""
    options = {"gradient_accumulation_steps": 3, "logging_strategy": "no", "num_train_epochs": 2}
    trained([ModelCheckpoint("own/{step}", save_freq="1 steps")], **options)
    with pytest.raises(SettingsError, match="resume_from_checkpoint=True"):
        trained([], options={"resume": "own/3.pt"}, **options)
    assert trained([], options={"resume": "own/2.pt"}, **options).step == 4

    class Plain(transformers.Trainer):
        def get_train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(ROWS[:16], batch_size=4)

    with pytest.raises(SettingsError, match="has not prepared their loader"):
        trained([], options={"resume": "own/2.pt"}, kind=Plain, **options)


@pytest.mark.exhaustive
def test_a_run_that_had_stopped_stays_stopped() -> None:
    stop = EarlyStopping(patience=1, min_delta=10.0)
    for resume in ("auto", None):
        whole = trained([stop, ModelCheckpoint("own/{epoch}")], save_strategy="epoch", folder=f"{resume}")
        again = trained(
            [stop, ModelCheckpoint("own/{epoch}")],
            options={"resume": resume},
            resume_from=None if resume else "None/checkpoint-8",
        )

        assert end_of(again) == end_of(whole)


@pytest.mark.exhaustive
def test_what_the_trainer_cannot_know_after_a_resume_is_said(caplog: pytest.LogCaptureFixture) -> None:
    trained([ModelCheckpoint("own.pt")], num_train_epochs=1)
    trained([], options={"resume": "own.pt"}, num_train_epochs=2, save_strategy="epoch", load_best_model_at_end=True)
    assert caplog.text.count("load_best_model_at_end") == 1

    trained([], save_strategy="steps", save_steps=1, num_train_epochs=1)
    trained([], resume_from="trainer/checkpoint-2", num_train_epochs=1, ignore_data_skip=True)
    assert caplog.text.count("ignore_data_skip") == 1
