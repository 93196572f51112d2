"""The files of ModelCheckpoint in replayed runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.replay import replay

from ..recorded import by_steps, recording


def test_a_value_that_does_not_fit_its_format_is_saved_as_in_a_run() -> None:
    """Under a name without a format, which no other epoch has."""
    history = {"n": [1.0, 2.5], "val_loss": [2.0, 1.0]}
    (outcome,) = replay([recording(history)], ModelCheckpoint("{n:03d}")).outcomes
    assert [each.of for each in outcome.decisions if each.action == "save"] == [0, 1]


@pytest.mark.parametrize(
    ("filepath", "steps", "kept"),
    [
        ("m-{step}", [10, 20, 30], (0, 1, 2)),
        ("m-{step:05d}", [10, 20, 30], (0, 1, 2)),
        ("m-{step}", [7, 7, 7], (2,)),
        ("m-{step}", [0, 0, 5], (1, 2)),
        ("m-{step}", None, (0, 1, 2)),
        ("m", [10, 20, 30], (2,)),
    ],
)
def test_the_step_in_a_name_is_the_recorded_one(filepath: str, steps: list[int] | None, kept: tuple[int, ...]) -> None:
    """A later save to the same name replaces the earlier file; without steps, each epoch has another name."""
    run = replace(recording([3.0, 2.0, 1.0]), steps=None if steps is None else np.array(steps))
    (outcome,) = replay([run], ModelCheckpoint(filepath)).outcomes
    assert outcome.kept == kept


@pytest.mark.parametrize(
    ("history", "saved"),
    [
        ({"val_loss": [3.0, 2.0, 1.0]}, [0, 1, 2]),
        ({"val_loss": [3.0, 2.0, None], "loss": [1.0, 1.0, 1.0]}, [0, 1]),
        ({"val_loss": [3.0, None, 1.0], "loss": [1.0, 1.0, 1.0]}, [0, 1, 2]),
        ({"val_loss": [3.0, 2.0, None], "val_acc": [None, 0.5, 0.6]}, [0, 1, 2]),
        ({"loss": [3.0, 2.0, 1.0]}, []),
        ({"val_loss": [None, None, float("nan")], "loss": [1.0, 1.0, 1.0]}, [0, 1, 2]),
    ],
)
def test_saves_at_validations_leave_out_what_was_trained_after_the_last(history: Any, saved: list[int]) -> None:
    """In a loop by steps, which may end between two; a loop that never validates saves nothing."""
    callbacks = ModelCheckpoint("m-{step}", save_freq="validation"), EarlyStopping(monitor="loss", patience=9)
    run = by_steps(recording({"loss": [1.0] * 3, **history}))
    (outcome,) = replay([run], callbacks).outcomes
    assert [each.epoch for each in outcome.decisions if each.action == "save"] == saved


@pytest.mark.parametrize("filepath", ["runs/{run}/m-{epoch}", "{run}-x/{epoch0}", "a/{run}/{val_loss:.1f}"])
def test_the_id_of_a_run_in_a_path_changes_no_decision(filepath: str) -> None:
    """A recording has none, and it changes no decision."""
    history = {"val_loss": [2.0, 1.0, 3.0]}
    saver, plain = (ModelCheckpoint(each, keep=1) for each in (filepath, filepath.replace("{run}", "id")))
    (outcome,), (expected,) = (replay([recording(history)], each).outcomes for each in (saver, plain))
    assert outcome.decisions == expected.decisions
    assert [each.action for each in outcome.decisions].count("save") == 2


@pytest.mark.parametrize("filepath", ["{part}-{epoch}", "runs/{run}/{part}_{val_loss:.1f}", "x-{part}-{epoch0}.pt"])
@pytest.mark.parametrize("options", [{"keep": 1}, {"keep_last": 2}, {"save_best_only": True, "save_last": True}])
def test_a_file_for_each_model_changes_no_decision(filepath: str, options: dict[str, Any]) -> None:
    """A recording has no models; all files of a save are written and deleted together."""
    history = {"val_loss": [2.0, 1.0, 3.0, 0.5]}
    saver, plain = (ModelCheckpoint(each, **options) for each in (filepath, filepath.replace("{part}", "net")))
    (outcome,), (expected,) = (replay([recording(history)], each).outcomes for each in (saver, plain))
    assert outcome.decisions == expected.decisions
    assert outcome.decisions
