"""Tests of how far a training had come before its run began."""

from math import inf, nan

import pytest
from pydantic import ValidationError

from tests.core.metrics.sources import Source
from trainbus.metrics.best_value import BestValue
from trainbus.metrics.monitor import Monitor
from trainbus.metrics.origin import Origin


@pytest.mark.parametrize("values", [{"epoch": -1}, {"step": -1}, {"best": {"a": nan}}, {"best": {"a": inf}}])
def test_a_damaged_origin_is_refused(values: dict[str, object]) -> None:
    """A forged checkpoint cannot make a run count from a negative epoch, or from a best value that none beats."""
    with pytest.raises(ValidationError):
        Origin.model_validate(values)


@pytest.mark.parametrize(
    ("metric", "best", "first", "score"),
    [
        ("val_acc", {"val_acc": 71.0}, 71.0, 71.0),
        ("val_loss", {"val_loss": 0.3}, 0.3, -0.3),
        ("val_acc", {}, None, -inf),
    ],
)
def test_a_monitor_begins_with_the_best_value(
    metric: str, best: dict[str, float], first: float | None, score: float
) -> None:
    """Its epoch is the last one before the run, and an epoch that is no better does not replace it."""
    source = Source(origin=Origin(epoch=4, best=best), epoch=4)
    monitor = Monitor(source, metric)
    assert monitor.first_score == score
    assert monitor.best == (None if first is None else BestValue(first, 3))
    monitor.watch({metric: 71.0 if metric == "val_acc" else 0.3}, 4)
    assert monitor.best is not None
    assert monitor.best.epoch == (4 if first is None else 3)


@pytest.mark.parametrize(("epoch", "last"), [(0, 0), (1, 0), (4, 3)])
def test_the_last_epoch_counts_from_0(epoch: int, last: int) -> None:
    """It is that of the best value."""
    assert Origin(epoch=epoch).last_epoch == last
