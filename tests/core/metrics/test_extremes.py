"""The epochs that decisions may need are few, and monitors continue from them as from all."""

from collections.abc import Mapping
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.metrics.extremes import known_epochs

values = st.one_of(st.floats(width=16), st.integers(-3, 3), st.none(), st.just([1.0, 2.0]))
histories = st.lists(st.dictionaries(st.sampled_from(["loss", "acc", "f1"]), values, max_size=3), max_size=12)


@given(histories)
def test_the_known_epochs_have_the_first_extremes_and_the_whole_last_epoch(history: list[Mapping[str, Any]]) -> None:
    """Their number is bounded by the metrics, not by the epochs."""
    epochs = list(enumerate(history))
    found = known_epochs(epochs).epochs()

    names = {name for metrics in history for name in metrics}
    assert len(found) <= 3 * len(names) + 1
    assert repr(found[-1:]) == repr([(number, dict(metrics)) for number, metrics in epochs[-1:]])
    for name in names:
        numbers = [
            (metrics[name], number)
            for number, metrics in epochs
            if isinstance(metrics.get(name), (int, float)) and abs(metrics[name]) < inf
        ]
        kept = {number for number, metrics in found if name in metrics}
        if numbers:
            assert min(numbers)[1] in kept
            assert min(numbers, key=lambda each: (-each[0], each[1]))[1] in kept


@given(histories, st.integers(0, 12))
def test_known_epochs_of_known_epochs_are_the_same(history: list[Mapping[str, Any]], cut: int) -> None:
    """So a run that resumes again and again without its history knows them still."""
    epochs = list(enumerate(history))
    at_once = known_epochs(epochs).epochs()
    resumed = known_epochs([*known_epochs(epochs[:cut]).epochs(), *epochs[cut:]]).epochs()

    assert repr([number for number, _ in resumed]) == repr([number for number, _ in at_once])


@pytest.mark.parametrize("value", [nan, inf, -inf, "text", None])
def test_what_is_no_finite_number_is_no_extreme(value: Any) -> None:
    found = dict(known_epochs([(0, {"loss": 1.0}), (1, {"loss": value}), (2, {})]).epochs())
    assert found[0]["loss"] == 1.0
