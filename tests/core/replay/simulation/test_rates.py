"""Recorded learning rates, and those that a cut would have left."""

from __future__ import annotations

from typing import Any

import pytest

from trainbus import SettingsError
from trainbus.plugins import ReduceLROnPlateau
from trainbus.replay import replay

from ..recorded import recording

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


def test_rates_in_single_precision_reach_their_floor_as_the_library_stores_it() -> None:
    """Three cuts by 0.1 from 0.1 reach a min_lr of 1e-4 in single precision; then Keras makes no further cut."""
    run = recording({"val_loss": [1.0] * 12, "lr": [0.1] * 12})

    (found,) = replay([run], ReduceLROnPlateau(patience=1, factor=0.1, min_lr=1e-4), by="keras").outcomes
    assert [each.epoch for each in found.cuts] == [1, 2, 3]
