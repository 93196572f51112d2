"""One metric of EarlyStopping: thresholds, smoothing, and the words of its reasons."""

from math import inf, nan
from typing import Any

import pytest

from trainbus import Run
from trainbus.plugins import EarlyStopping
from trainbus.testing import scripted

STALLED = "did not improve on 1 (epoch 1)"


def stopped(values: list[float], **options: Any) -> tuple[int, str]:
    """Return the number of epochs and the reason."""
    run, _ = scripted([{"val_loss": value} for value in values], EarlyStopping(**{"patience": 9, **options}))
    return run.result.epochs, run.result.reason


@pytest.mark.parametrize(
    ("values", "options", "epochs", "reason"),
    [
        ([1.0, 0.4, 0.3], {"stopping_threshold": 0.5}, 2, "val_loss 0.4 is better than the stopping threshold 0.5"),
        ([0.4], {"stopping_threshold": 0.5}, 1, "val_loss 0.4 is better than the stopping threshold 0.5"),
        ([1.0, 5.0], {"divergence_threshold": 4.0}, 2, "val_loss 5 is worse than the divergence threshold 4"),
        ([1.0, inf], {"divergence_threshold": 4.0}, 2, "val_loss inf is worse than the divergence threshold 4"),
        ([1.0, nan], {"check_finite": True}, 2, "val_loss nan is not a finite number"),
        ([1.0, -inf], {"check_finite": True}, 2, "val_loss -inf is not a finite number"),
        (
            [0.1, 5.0],
            {"mode": "max", "stopping_threshold": 4.0},
            2,
            "val_loss 5 is better than the stopping threshold 4",
        ),
        ([1.0, 1.0], {"min_delta": 0.5, "patience": 1}, 2, f"val_loss 1 {STALLED} by more than 0.5 for the 1st time"),
        (
            [1.0, 0.98],
            {"min_delta": 0.05, "min_delta_mode": "rel", "patience": 1},
            2,
            f"val_loss 0.98 {STALLED} by more than 5 % for the 1st time",
        ),
        (
            [1.0, nan],
            {"check_finite": True, "smoothing": "median 3"},
            2,
            "median 3 of val_loss nan is not a finite number",
        ),
    ],
)
def test_reasons(values: list[float], options: dict[str, Any], epochs: int, reason: str) -> None:
    assert stopped(values, **options) == (epochs, reason)


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ([0.4, 0.3, 0.2, 0.9], {"stopping_threshold": 0.5, "min_epochs": 3}, 3),
        ([0.4, 0.9, 0.9, 0.9], {"stopping_threshold": 0.5, "min_epochs": 3}, 4),  # asked anew, not latched
        ([0.4, 0.3, 0.2, 0.1], {"stopping_threshold": 0.5, "start_from_epoch": 2}, 3),
        ([1.0, 1.0, 1.0, 1.0], {"patience": 1, "min_epochs": 4}, 4),
        ([1.0, 1.0, 0.5, 1.0], {"patience": 2, "min_epochs": 3}, 4),  # improved while it was held back
        ([1.0, nan, nan, 1.0], {"check_finite": False}, 4),
        ([0.5, 4.0, 4.0, 4.0], {"stopping_threshold": 0.5, "divergence_threshold": 4.0}, 4),
    ],
)
def test_when_it_stops(values: list[float], options: dict[str, Any], epochs: int) -> None:
    assert stopped(values, **options)[0] == epochs


@pytest.mark.parametrize("saved", [{"smoothing": [1.0]}, {"state": [0.0, 1, 2]}, {"at": [0]}, {"state": "x"}])
def test_a_damaged_state_is_refused(saved: dict[str, Any]) -> None:
    with Run(callbacks=EarlyStopping()) as run:
        plugin: Any = run.plugins["EarlyStopping"]
        (metric,) = plugin.metrics
        good = metric.state_dict()
        metric.check_state_dict(good)
        with pytest.raises(ValueError, match=r"."):
            metric.check_state_dict({**good, **saved})
