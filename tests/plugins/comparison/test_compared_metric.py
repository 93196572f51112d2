"""The scores of a monitored metric, and of the one that breaks its ties."""

from typing import Any

import pytest

from trainbus import MissingMetric, Run
from trainbus.plugins import EarlyStopping
from trainbus.plugins.comparison import ComparedMetric, Observation

INF = float("inf")


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"val_loss": 2.0, "val_f1": 0.5}, Observation(-2.0, 0.5)),
        ({"val_loss": 2.0}, Observation(-2.0)),
        ({"val_loss": 2.0, "val_f1": None}, Observation(-2.0)),
        ({"val_f1": 0.5}, None),
        ({"val_loss": None, "val_f1": 0.5}, None),
        ({}, None),
    ],
)
def test_scores_of_what_is_there(metrics: dict[str, Any], expected: Observation | None) -> None:
    """Inside of an epoch nothing is missing yet; without a second value, every other is higher."""
    settings = EarlyStopping(tie_breaker="val_f1")
    compared = ComparedMetric(settings, "val_loss", "auto")
    with Run() as run:
        for _ in run.epochs(1):
            compared.begin(run)
            assert compared.read(metrics, required=False) == expected
            run.log(val_loss=1.0, val_f1=1.0)


@pytest.mark.parametrize("metrics", [{"val_loss": 1.0}, {"val_f1": 1.0}, {}])
def test_at_the_end_of_an_epoch_both_are_required(metrics: dict[str, float]) -> None:
    with pytest.raises(MissingMetric, match="is not logged"), Run(callbacks=EarlyStopping(tie_breaker="val_f1")) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
            with run.validation():
                run.log(**{name.removeprefix("val_"): value for name, value in metrics.items()})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"min_delta": 0.0}),
        ({"min_delta": 0.1, "min_delta_mode": "abs"}, {"min_delta": 0.1}),
        ({"min_delta": 0.1, "min_delta_mode": "rel"}, {"min_delta": 0.1, "min_delta_mode": "rel"}),
        ({"cumulative_delta": False}, {"min_delta": 0.0, "cumulative_delta": False}),
        ({"ties": "newer", "tie_breaker": "val_f1"}, {"min_delta": 0.0, "ties": "newer", "tie_breaker": "val_f1"}),
        ({"every": "5 steps"}, {"min_delta": 0.0, "every": "5 steps"}),
    ],
)
def test_the_journal_has_the_options_that_are_given(options: dict[str, Any], expected: dict[str, Any]) -> None:
    assert ComparedMetric(EarlyStopping(**options), "val_loss", "min").options() == expected


@pytest.mark.parametrize(
    ("options", "margin"),
    [({}, ""), ({"min_delta": 0.05}, "0.05"), ({"min_delta": 0.05, "min_delta_mode": "rel"}, "5 %")],
)
def test_the_margin_in_words(options: dict[str, Any], margin: str) -> None:
    assert ComparedMetric(EarlyStopping(**options), "val_loss", "min").margin() == margin
