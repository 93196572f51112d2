"""Simulated learning rate cuts."""

from __future__ import annotations

import pytest

from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.replay import replay

from .recorded import recording


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


def test_a_value_that_does_not_fit_its_format_is_saved_as_in_a_run() -> None:
    """Under a name without a format, which no other epoch has."""
    history = {"n": [1.0, 2.5], "val_loss": [2.0, 1.0]}
    (outcome,) = replay([recording(history)], ModelCheckpoint("{n:03d}")).outcomes
    assert [each.of for each in outcome.decisions if each.action == "save"] == [0, 1]
