"""A monitor of any source of metrics: its name, its direction, its best value."""

from math import inf, isfinite, nan
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import MissingMetric, UnknownDirection
from trainbus.metrics import monitor as monitor_module
from trainbus.metrics.best_value import BestValue
from trainbus.metrics.monitor import Monitor, Monitors

from .forms import MASKED, NOT_NUMBERS
from .sources import Source

logged = st.lists(st.none() | st.sampled_from([nan, inf, -inf]) | st.floats(-9, 9), max_size=12)


@given(logged, st.integers(0, 12), st.sampled_from(["min", "max"]))
def test_the_best_value_does_not_depend_on_when_the_monitor_began(
    values: list[float | None], begun: int, mode: Literal["min", "max"]
) -> None:
    """Past epochs and epochs that it watched count equally: the first best finite value wins."""
    epochs = [(epoch, {} if value is None else {"score": value}) for epoch, value in enumerate(values)]
    source = Source(epoch_metrics=list(epochs[:begun]))
    monitor = Monitor(source, "score", mode)
    for epoch, metrics in epochs[begun:]:
        if metrics:
            monitor.watch(metrics, epoch)

    finite = [(value, epoch) for epoch, value in enumerate(values) if value is not None and isfinite(value)]
    sign = 1 if mode == "max" else -1
    expected = min(finite, key=lambda each: (-sign * each[0], each[1]), default=None)
    assert monitor.best == (None if expected is None else BestValue(*expected))


def test_an_alias_is_replaced_by_the_logged_name_which_is_then_found_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are compared by their meaning only until the metric is found."""
    monitor = Monitor(Source(), "val_acc")
    assert monitor.value({"loss": 1.0, "val_accuracy": 0.5}) == 0.5
    assert monitor.metric == "val_accuracy"
    monkeypatch.setattr(monitor_module, "resolve", None)

    assert monitor.score({"loss": 1.0, "val_accuracy": 0.75}) == 0.75


@pytest.mark.parametrize("name", ["val_loss", "valid_loss", "eval/loss", "validation_loss", "Val/Loss"])
def test_a_resumed_run_has_the_logged_name_before_its_first_epoch(name: str) -> None:
    """The reason of a decision at its end names the metric, also if it trains no further epoch."""
    past: list[tuple[int, dict[str, float]]] = [(0, {name: 1.0}), (1, {"loss": 1.0})]
    assert Monitor(Source(epoch_metrics=list(past)), "val_loss").metric == name


def test_a_metric_that_is_due_is_missed_until_it_was_logged() -> None:
    """Before that, only an epoch without a validation may lack it."""
    source = Source(due=False)
    monitor = Monitor(source, "val_loss")
    assert monitor.value({"loss": 1.0}) is None
    source.due = True
    with pytest.raises(MissingMetric, match=r"'val_loss' is not logged.*there was no validation in this epoch"):
        monitor.value({"loss": 1.0})
    with pytest.raises(MissingMetric, match="'val_loss' cannot be monitored: 'low' is not a number"):
        monitor.value({"val_loss": "low"})

    assert monitor.value({"loss": 1.0}) is None


@pytest.mark.parametrize("name", ["fid", "val_loss", "val/mAP@0.5", "test_acc", "bleu"])
@pytest.mark.parametrize("nothing", [None, np.ma.masked], ids=["None", "masked"])
def test_a_metric_that_is_logged_as_none_is_known(name: str, nothing: Any) -> None:
    """It has no value yet; a later epoch may leave it out or log a value."""
    monitor = Monitor(Source(), name, "max")
    assert [monitor.score(each) for each in ({name: nothing}, {}, {name: 0.5}, {name: None})] == [None, None, 0.5, None]
    assert monitor.best is None


@pytest.mark.parametrize(
    ("name", "logged", "why"),
    [
        ("val_loss", ["loss"], "there was no validation in this epoch: .*validation_freq=2.*; logged: loss$"),
        ("val_acc", ["loss", "acc"], "there was no validation in this epoch: .*; logged: loss, acc$"),
        ("valid/f1", ["f1"], "there was no validation in this epoch: .*; logged: f1$"),
        (
            "val_acuracy",
            ["loss", "accuracy"],
            r"did you mean 'val_accuracy'\? there was no validation in .*",
        ),
        ("val_acuracy", ["loss"], r"did you mean 'val_accuracy'\? there was no validation in this epoch: .*"),
        ("val_presicion", ["loss"], r"did you mean 'val_precision'\? there was no validation"),
        ("valid/los", ["loss"], r"did you mean 'val_loss'\? there was no validation"),
        ("val_dice", ["loss", "Dice_1"], "did you mean 'val_Dice_1'"),
        ("val_auroc", [], "there was no validation in this epoch: .*; logged: nothing$"),
        ("val_custom", ["loss"], "there was no validation in this epoch: .*; logged: loss$"),
        ("val_los", ["loss", "val_loss"], r"did you mean 'val_loss'\? logged: loss, val_loss$"),
        ("acuracy", ["accuracy"], r"did you mean 'accuracy'\? logged: accuracy$"),
        ("fid", ["loss"], r"in an epoch that has no value, log None: run.log\({'fid': None}\); logged: loss$"),
        ("bleu", [], r"in an epoch that has no value, log None: run.log\({'bleu': None}\); logged: nothing$"),
    ],
)
def test_the_error_says_what_to_do_about_a_missing_metric(name: str, logged: list[str], why: str) -> None:
    """A validation that some epochs lack, a slip in the name, or a metric that some epochs do not compute."""
    with pytest.raises(MissingMetric, match=f"^'{name}' is not logged; {why}"):
        Monitor(Source(), name, "max").value(dict.fromkeys(logged, 1.0))


def test_a_metric_is_not_expected_before_any_plugin_needs_it() -> None:
    """The plugin that needs it first decides."""
    source = Source()
    monitors = Monitors(source)
    monitor = monitors.get("fid", start_from_epoch=3)
    for source.epoch in (0, 2):
        monitors.update({}, source.epoch)
    assert monitors.get("fid", start_from_epoch=2) is monitor
    with pytest.raises(MissingMetric):
        monitors.update({}, source.epoch)
    assert monitors.get("fid", start_from_epoch=9).start_from_epoch == 2


def test_a_metric_object_that_is_built_later_decides_the_direction() -> None:
    """Without one, a name without a known direction is refused at once."""

    class Subject:
        declared: Literal["min", "max"] | None = None

        def direction_of(self, metric: str) -> Literal["min", "max"] | None:
            return self.declared

    subject = Subject()
    monitor = Monitor(
        Source(subject=subject, epoch_metrics=[(0, {"grad_norm": 3.0}), (1, {"grad_norm": 2.0})]), "grad_norm"
    )
    assert monitor.best is None
    with pytest.raises(UnknownDirection):
        _ = monitor.direction
    subject.declared = "min"

    assert (monitor.direction, monitor.best) == ("min", BestValue(2.0, 1))
    with pytest.raises(UnknownDirection):
        Monitor(Source(), "grad_norm")


@pytest.mark.parametrize(
    ("wanted", "logged"),
    [
        ("val_准确率", "val_损失"),
        ("val_точность", "val_потери"),
        ("f1+", "f1-"),
        ("-loss", "loss"),
        ("recall<0.5", "recall>0.5"),
        ("val_😀_score", "val_😢_score"),
    ],
)
def test_a_name_with_other_letters_or_symbols_is_another_metric(wanted: str, logged: str) -> None:
    """Only a known synonym or spelling of a name is monitored in its place."""
    with pytest.raises(MissingMetric, match="is not logged"):
        Monitor(Source(), wanted, "min").value({logged: 0.5})
    assert Monitor(Source(), wanted, "min").value({logged: 0.5, wanted: 0.25}) == 0.25


@pytest.mark.parametrize("value", MASKED, ids=repr)
def test_a_masked_value_is_missing(value: Any) -> None:
    """A metric whose value NumPy has masked is no best value, whoever logs it."""
    monitor = Monitor(Source(epoch_metrics=[(0, {"loss": value})]), "loss")
    assert monitor.value({"loss": 1.0}) == 1.0
    assert monitor.score({"loss": value}) is None
    assert monitor.best is None


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=lambda value: type(value).__name__)
def test_what_is_no_number_cannot_be_monitored(value: Any) -> None:
    """The error names the metric and what was logged."""
    with pytest.raises(MissingMetric, match="'loss' cannot be monitored: "):
        Monitor(Source(), "loss").value({"loss": value})


# --- the monitors of a run: one for each metric and mode, all updated together


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
