"""When the best value of a metric was reached."""

import pytest

from trainbus.metrics.best_value import BestValue


@pytest.mark.parametrize(("step", "where"), [(None, "in epoch 1"), (0, "at step 0"), (1500, "at step 1500")])
def test_it_says_where_it_was_reached(step: int | None, where: str) -> None:
    """By its epoch, counted from 1; in a loop by steps, by its step."""
    assert BestValue(0.5, 0, step).where == where
