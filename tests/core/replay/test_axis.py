"""The units that recorded runs count, and their words."""

from typing import get_args

import pytest

from trainbus.replay.axis import AXES, Unit


def test_each_unit_has_words() -> None:
    """No unit is without."""
    assert set(AXES) == set(get_args(Unit))


@pytest.mark.parametrize(
    ("unit", "words"),
    [("epoch", "epoch 1,235"), ("validation", "step 4,000"), ("evaluation", "evaluation 1,235"),
     ("step", "step 4,000"), ("iteration", "iteration 4,000"), ("timestep", "timestep 4,000")],
)  # fmt: skip
def test_moments_are_named_by_what_the_run_counted(unit: Unit, words: str) -> None:
    """Epochs and evaluations count from 1."""
    assert AXES[unit].moment(1234, 4000) == words
