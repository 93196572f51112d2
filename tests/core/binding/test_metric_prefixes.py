"""The names that the metrics of a framework have in trainbus."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.binding.metric_prefixes import renamed_metrics


@given(st.text(), st.floats(allow_nan=False))
def test_only_the_prefix_changes(name: str, value: float) -> None:
    assert renamed_metrics({f"eval_{name}": value}, {"eval_": "val_"}) == {f"val_{name}": value}


def test_the_first_prefix_that_fits_counts() -> None:
    prefixes = {"eval_test_": "test_", "eval_": "val_"}
    assert list(renamed_metrics({"eval_test_loss": 1, "eval_loss": 1, "loss": 1}, prefixes)) == [
        "test_loss",
        "val_loss",
        "loss",
    ]


@pytest.mark.parametrize("metrics", [0.5, {1: 0.5}])
def test_metrics_without_names_are_refused(metrics: Any) -> None:
    with pytest.raises(SettingsError):
        renamed_metrics(metrics, {})
