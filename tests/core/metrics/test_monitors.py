"""The monitors of a run: one for each metric and mode, all watched together, all that is missing named at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import MissingMetric, UnknownDirection
from trainbus.metrics.monitor import BestValue
from trainbus.metrics.monitors import Monitors

from .sources import Source


def test_plugins_that_ask_for_the_same_metric_share_its_monitor() -> None:
    """Another mode is another monitor; a metric without a known direction needs a mode."""
    monitors = Monitors(Source(validated=True))

    assert monitors.get("loss") is monitors.get("loss", "auto")
    assert monitors.get("loss", "max") is not monitors.get("loss")
    with pytest.raises(UnknownDirection):
        monitors.get("grad_norm")


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=8))
def test_each_monitor_sees_each_epoch(values: list[tuple[float, float]]) -> None:
    """The best value of each metric is the first best one."""
    monitors = Monitors(Source(validated=True))
    monitors.get("loss"), monitors.get("accuracy")
    assert monitors.best() == {}
    for epoch, (loss, accuracy) in enumerate(values):
        monitors.update({"loss": loss, "accuracy": accuracy}, epoch)

    losses, accuracies = zip(*values, strict=True)
    assert monitors.best() == {
        "loss": BestValue(min(losses), losses.index(min(losses))),
        "accuracy": BestValue(max(accuracies), accuracies.index(max(accuracies))),
    }


def test_all_missing_metrics_are_named_in_one_error() -> None:
    """A single one keeps its own error; a metric that is there is watched all the same."""
    monitors = Monitors(Source(validated=True))
    monitors.get("val_loss")
    with pytest.raises(MissingMetric, match="'val_loss' is not logged"):
        monitors.update({"loss": 1.0}, 0)
    monitors.get("loss"), monitors.get("val_accuracy")

    with pytest.raises(MissingMetric) as raised:
        monitors.update({"loss": 1.0}, 0)
    lines = str(raised.value).splitlines()
    assert ["'val_loss' is not" in lines[0], "'val_accuracy' is not" in lines[1]] == [True, True]
    assert monitors.best() == {"loss": BestValue(1.0, 0)}
