"""What the runs of a report count, in words."""

from __future__ import annotations

from typing import Any

import pytest

from trainbus.plugins import EarlyStopping
from trainbus.replay import replay
from trainbus.replay.report.counted import counted, moment, moments

from ..recorded import by_steps, recording


@pytest.mark.parametrize(
    ("units", "number", "words"),
    [
        ([], 0, "0 epochs"),
        (["epoch"], 1, "1 epoch"),
        (["epoch", "epoch"], 1200, "1,200 epochs"),
        (["validation"], 1, "1 validation"),
        (["validation", "validation"], 5000, "5,000 validations"),
        (["validation", "epoch"], 2, "2 epochs and validations"),
        (["epoch", "validation", "epoch"], 0, "0 epochs and validations"),
    ],
)
def test_runs_are_counted_in_their_unit(units: Any, number: int, words: str) -> None:
    """In the singular and the plural; of both units, in both."""
    found = counted(units)
    assert found.total(number) == words
    assert words.endswith((found.one, found.many))


def test_moments_of_a_loop_by_steps_are_steps() -> None:
    """Those of a loop over epochs count from 1."""
    run = recording([1.0] * 6)
    over_epochs, steps = replay([run, by_steps(run, 250)], EarlyStopping(patience=9)).outcomes
    assert (moment(over_epochs, 4), moments(over_epochs, [0, 4])) == ("5", "1 5")
    assert (moment(steps, 4), moments(steps, [0, 4])) == ("step 1,250", "step 250 1,250")
