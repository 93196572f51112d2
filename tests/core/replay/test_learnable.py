"""Where nothing can be learnt, nothing is recommended."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trainbus.replay import sweep

from .recorded import FOUND, History, recording


@pytest.mark.parametrize(
    ("histories", "why"),
    [
        ([[0.0] * 20], "val_loss never changes"),
        ([[0.0] * 20, [1.0] * 20], "val_loss never changes"),
        ([[math.nan] * 9], "val_loss has no finite value"),
        ([[float(9 - epoch) for epoch in range(10)]], "best at its end"),
        ([[3.0, 2.0, 1.0, 1.5, 1.6]], "the run has 5 values of val_loss, and fewer than 8 show no trend"),
        ([[3.0, 1.0, 2.0], [3.0, 2.0]], "no run has more than 3 values"),
    ],
)
def test_nothing_is_recommended_and_the_reason_is_told(histories: list[History], why: str) -> None:
    """A metric that never changes, an only run that is best at its end, or too few values; JSON has the reason."""
    found = sweep([recording(history, str(number)) for number, history in enumerate(histories)])

    assert found.recommendations == ()
    data: dict[str, Any] = found.as_data()
    assert data["recommendations"] == {}
    assert why in data["nothing_to_learn"]


def test_runs_that_have_turned_are_learnt_from() -> None:
    """One such run is enough, and several may improve to their ends."""
    falling = [float(20 - epoch) for epoch in range(20)]
    for histories in ([FOUND], [falling, falling], [[0.0] * 20, FOUND]):
        found = sweep([recording(history, str(number)) for number, history in enumerate(histories)])
        assert found.nothing_to_learn is None
        assert [each.advice for each in found.recommendations] == ["careful", "balanced", "eager"]
