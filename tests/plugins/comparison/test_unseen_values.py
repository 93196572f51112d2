"""Which values a look sees: of each metric the last that no look has seen, and the last of one that breaks ties."""

from __future__ import annotations

from math import isnan, nan
from typing import Any

import pytest

from trainbus import Run
from trainbus.plugins import EarlyStopping
from trainbus.plugins.comparison import ComparedMetric
from trainbus.plugins.comparison.unseen_values import UnseenValues


def seen(rows: list[tuple[bool, dict[str, Any]]], *, again_after: int | None = None) -> list[dict[str, Any]]:
    """Return what each look sees of ``a``, whose ties ``b`` breaks; a row is an epoch with or without a look."""
    settings = EarlyStopping(monitor="a", mode="min", tie_breaker="b", tie_breaker_mode="max")
    with Run(callbacks=settings, verbose=0) as run:
        metric, values, found = ComparedMetric(settings, "a", "min"), UnseenValues(), []
        metric.begin(run)
        for epoch, (looks, metrics) in enumerate(rows):
            run.state.epoch = epoch
            if epoch == again_after:
                saved, values = values.state_dict(), UnseenValues()
                values.load_state_dict(saved)
            if looks:
                found.append(values.look(run, [metric], metrics))
            else:
                values.keep(run, [metric], metrics)
    return found


CASES = [
    ([(False, {"a": 1.0, "b": 2.0}), (True, {})], [{"a": 1.0, "b": 2.0}]),
    ([(False, {"a": 1.0}), (False, {"a": 3.0}), (True, {}), (True, {})], [{"a": 3.0}, {}]),
    ([(False, {"a": 1.0}), (True, {"a": 3.0}), (True, {})], [{"a": 3.0}, {}]),
    ([(False, {"a": 1.0}), (True, {"a": None}), (True, {"a": None})], [{"a": 1.0}, {}]),
    ([(False, {"b": 2.0}), (True, {"a": 1.0}), (True, {"a": 1.0})], [{"a": 1.0, "b": 2.0}] * 2),
    ([(True, {"b": 2.0}), (True, {"a": 1.0, "b": None})], [{}, {"a": 1.0, "b": 2.0}]),
    ([(False, {"a": "text", "b": 2.0}), (True, {})], [{}]),
]


@pytest.mark.parametrize(("rows", "expected"), CASES)
@pytest.mark.parametrize("again_after", [None, 1, 2])
def test_each_value_is_seen_once(rows: Any, expected: Any, again_after: int | None) -> None:
    """Also if its state was saved and loaded between two rows."""
    assert seen(rows, again_after=again_after) == expected


def test_nan_is_a_value() -> None:
    """It waits as any other."""
    ((_, value),) = seen([(False, {"a": nan}), (True, {})])[0].items()
    assert isnan(value)
