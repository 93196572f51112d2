"""Simulated learning rate cuts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainbus import SettingsError
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.replay import replay
from trainbus.testing import LineSubject, scripted

from ..recorded import by_steps, recording


def test_only_the_first_reduction_that_the_record_does_not_show_is_exact() -> None:
    """Everything after it, including stops and saves, is hypothetical."""
    callbacks = [
        ReduceLROnPlateau(monitor="val_loss", patience=2),
        EarlyStopping(monitor="val_loss", patience=5),
        ModelCheckpoint("{epoch}", monitor="val_loss"),
    ]
    history = {"val_loss": [1.0] * 8, "lr": [0.1] * 8}
    (outcome,) = replay([recording(history)], callbacks).outcomes

    assert [(each.epoch, each.exact) for each in outcome.cuts] == [(2, True), (4, False)]
    assert (outcome.stop.epoch, outcome.stop.exact) == (5, False)
    assert [each.exact for each in outcome.decisions if each.action == "save"] == [True] * 3 + [False] * 3
    assert outcome.hypothetical_from == 2


@pytest.mark.parametrize("noted", ["before", "after"])
def test_reductions_that_the_record_shows_leave_what_follows_exact(noted: str) -> None:
    """The rate of an epoch may be logged before or after the cut."""
    rates = [0.1, 0.1, 0.1, 0.01, 0.01, 0.001] if noted == "before" else [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    history = {"val_loss": [1.0] * 6, "learning_rate": rates}
    (outcome,) = replay([recording(history)], ReduceLROnPlateau(patience=2)).outcomes

    assert [(each.epoch, each.exact) for each in outcome.cuts] == [(2, True), (4, True)]
    assert outcome.hypothetical_from is None


def test_a_rate_at_its_floor_is_not_reduced() -> None:
    """A recorded rate at the floor prevents cuts; without a recorded rate, cuts are assumed."""
    callback = ReduceLROnPlateau(patience=1, min_lr=0.1)
    with_rate, without = {"val_loss": [1.0] * 3, "lr": [0.1] * 3}, {"val_loss": [1.0] * 3}

    cuts = [replay([recording(each)], callback).outcomes[0].cuts for each in (with_rate, without)]
    assert [[each.epoch for each in some] for some in cuts] == [[], [1, 2]]


TWO = {"val_loss": [1.0] * 6, "learning_rate/0": [0.4] * 6, "learning_rate/1": [0.4, 0.4, 0.2, 0.1, 0.1, 0.1]}


@pytest.mark.parametrize(
    ("options", "cuts"),
    [
        ({"groups": ["learning_rate/1"], "min_lr": {"learning_rate/1": 0.1}}, [(1, True), (2, True)]),
        ({"groups": ["learning_rate/1"], "min_lr": 0.1}, [(1, True), (2, True)]),
        ({"groups": ["learning_rate/0"], "min_lr": 0.15}, [(1, True), (2, False)]),
        ({"min_lr": {"learning_rate/0": 0.4, "learning_rate/1": 0.1}}, [(1, True), (2, True)]),
        ({"min_lr": {"learning_rate/0": 0.4, "learning_rate/1": 0.4}}, []),
        ({"groups": ["learning_rate/1"], "eps": 0.15}, [(1, True)]),
        ({"eps": 0.2}, []),
    ],
)
def test_floors_and_groups_are_those_of_recorded_names(options: dict[str, Any], cuts: list[tuple[int, bool]]) -> None:
    """Only rates that may be cut count; a cut is exact if each of these shows it."""
    (outcome,) = replay([recording(TWO)], ReduceLROnPlateau(patience=1, factor=0.5, **options)).outcomes

    assert [(each.epoch, each.exact) for each in outcome.cuts] == cuts


@pytest.mark.parametrize("options", [{"groups": ["learning_rate/2"]}, {"min_lr": {"learning_rate/2": 0.1}}])
def test_a_name_that_a_run_has_not_logged_is_refused(options: dict[str, Any]) -> None:
    """With those that it has; a run without rates is not refused."""
    callback = ReduceLROnPlateau(patience=1, **options)
    with pytest.raises(
        SettingsError, match=r"'learning_rate/2' is not a learning rate.* learning_rate/0, learning_rate/1"
    ):
        replay([recording(TWO)], callback)

    (outcome,) = replay([recording({"val_loss": [1.0] * 3})], callback).outcomes
    assert [each.epoch for each in outcome.cuts] == [1, 2]


@pytest.mark.parametrize(
    "options", [{"groups": ["learning_rate/1"]}, {"min_lr": {"learning_rate/1": 0.1}}, {"eps": 0.1}]
)
def test_options_that_keras_does_not_have_are_refused_as_keras(options: dict[str, Any]) -> None:
    """Torch has them, except for groups."""
    callback = ReduceLROnPlateau(patience=1, **options)
    with pytest.raises(SettingsError, match=next(iter(options))):
        replay([recording(TWO)], callback, by="keras")
    if "groups" in options:
        with pytest.raises(SettingsError, match="groups: unknown option"):
            replay([recording(TWO)], callback, by="torch")
    else:
        assert replay([recording(TWO)], callback, by="torch").outcomes


def test_a_live_run_and_its_replay_decide_the_same() -> None:
    """Of groups with floors of their own, until none may be cut."""

    class Rates(LineSubject):
        def __init__(self) -> None:
            super().__init__()
            self.rates = {"learning_rate/0": 0.4, "learning_rate/1": 0.1, "learning_rate/2": 0.4}

        def learning_rates(self) -> Any:
            return dict(self.rates)

        def set_learning_rates(self, rates: Any) -> None:
            self.rates.update(rates)

    floors = {"learning_rate/0": 0.15, "learning_rate/1": 0.01}
    callback = ReduceLROnPlateau(patience=2, factor=0.5, min_lr=floors, groups=list(floors), eps=1e-3)
    run, decided = scripted([{"val_loss": 1.0}] * 16, callback, Rates())
    (outcome,) = replay([recording(dict(run.history))], callback).outcomes

    assert [epoch for epoch, _ in decided] == [each.epoch for each in outcome.cuts] == [2, 4, 6, 8]
    assert all(each.exact for each in outcome.cuts)


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
