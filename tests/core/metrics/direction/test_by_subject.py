"""The metric object of a subject decides in which direction its metric improves; without one, the name does."""

from typing import Literal

import pytest

from trainbus import UnknownDirection
from trainbus.metrics.direction import direction_for


class Declaring:
    """A subject whose metric objects declare a direction each."""

    def __init__(self, **directions: Literal["min", "max"]) -> None:
        self.directions = directions

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        return self.directions.get(metric)


@pytest.mark.parametrize(
    ("subject", "metric", "direction"),
    [
        (None, "val_loss", "min"),
        (object(), "accuracy", "max"),
        (Declaring(), "accuracy", "max"),
        (Declaring(accuracy="min"), "accuracy", "min"),
        (Declaring(loss="min"), "accuracy", "max"),
        (Declaring(grad_norm="max"), "grad_norm", "max"),
    ],
)
def test_the_metric_object_comes_before_the_name(subject: object, metric: str, direction: str) -> None:
    assert direction_for(subject, metric) == direction


@pytest.mark.parametrize("subject", [None, Declaring(), Declaring(loss="min")])
def test_a_direction_that_neither_gives_is_an_error(subject: object) -> None:
    with pytest.raises(UnknownDirection, match="grad_norm"):
        direction_for(subject, "grad_norm")
