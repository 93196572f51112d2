"""Cuts of the learning rate in replayed runs."""

from __future__ import annotations

from typing import Any

import pytest

from trainbus import SettingsError
from trainbus.plugins import ReduceLROnPlateau
from trainbus.replay import replay

from ..recorded import recording

TWO = {"val_loss": [1.0] * 6, "learning_rate/0": [0.4] * 6, "learning_rate/1": [0.4, 0.4, 0.2, 0.1, 0.1, 0.1]}


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
