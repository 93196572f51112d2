"""Metrics of several ranks equal those of one rank that logged all values."""

from math import isnan, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.distributed.metric_reduction import MetricReducer
from trainbus.metrics.running_means import RunningMeans

numbers = st.integers(-1000, 1000).map(float) | st.just(nan)
reduces = {"loss": "mean", "tokens": "sum", "worst": "max", "least": "min", "same": None}
logged = st.lists(st.tuples(st.sampled_from(list(reduces)), numbers, st.integers(1, 9)), max_size=8)


def means_of(values: list[tuple[str, float, int]]) -> RunningMeans:
    means = RunningMeans()
    for name, value, count in values:
        means.add(name, value, count, reduces[name])  # type: ignore[arg-type]
    return means


def reduced(each: list[RunningMeans]) -> RunningMeans:
    """Return the metrics that the ranks reduce together."""
    rows = [MetricReducer(rank) for rank in range(len(each))]
    for row, means in zip(rows, each, strict=True):
        row.take(means)
    layouts = [row.layout for row in rows]
    for row in rows:
        row.agree(layouts)
    total = [sum(place) for place in zip(*(row.row() for row in rows), strict=True)]
    best = [max(place) for place in zip(*(row.candidates() for row in rows), strict=True)]
    return rows[0].means(total, best)


def same(one: Any, other: Any) -> bool:
    return one == other or (isnan(one) and isnan(other))


@given(st.lists(logged, min_size=1, max_size=4))
def test_reducing_is_logging_everything_on_one_rank(ranks: list[list[tuple[str, float, int]]]) -> None:
    """Means by counts, sums, extremes; of a metric that is not reduced, what rank 0 has; NaN stays NaN."""
    found = reduced([means_of(values) for values in ranks]).read()
    joint = means_of([each for rank, values in enumerate(ranks) for each in values if rank == 0 or each[0] != "same"])

    assert found.keys() == joint.read().keys()
    assert all(same(found[name], joint[name]) for name in found)


@given(st.lists(logged, min_size=1, max_size=4))
def test_merging_the_sums_of_ranks_is_logging_everything(ranks: list[list[tuple[str, float, int]]]) -> None:
    """So a run that continues with fewer ranks has the metrics that all had."""
    joined = RunningMeans()
    for values in ranks:
        joined.merge(means_of(values).sums())
    firsts = [each for values in ranks for each in values if each[0] == "same"]
    expected = means_of([each for values in ranks for each in values if each[0] != "same"]).read()

    assert joined.keys() - {"same"} == expected.keys()
    assert all(same(joined[name], expected[name]) for name in expected)
    assert ("same" in joined) == bool(firsts)


def test_one_name_for_two_kinds_of_metric_is_refused() -> None:
    """Naming both ranks."""
    one, other = RunningMeans(), RunningMeans()
    one.add("loss", 1.0)
    other.add("loss", 1.0, reduce="max")

    with pytest.raises(SettingsError, match=r"'loss' is not the same .*reduce='mean' on rank 0, .*'max' on rank 1"):
        reduced([one, other])


@pytest.mark.parametrize("value", [None, 1.5, np.ones(3)], ids=["never", "number", "vector"])
def test_a_metric_without_a_value_yet_is_known_on_all_ranks(value: Any) -> None:
    """Rank 0 logs it as None; its first value may come later, on any rank, and have any shape."""
    reducers = [MetricReducer(rank) for rank in range(2)]

    def epoch(*logged: dict[str, Any]) -> RunningMeans:
        for reducer, metrics in zip(reducers, logged, strict=True):
            means = RunningMeans()
            for name, each in metrics.items():
                means.add(name, each)
            reducer.take(means)
        layouts = [reducer.layout for reducer in reducers]
        for reducer in reducers:
            reducer.agree(layouts)
        return reducers[0].means([sum(place) for place in zip(*(each.row() for each in reducers), strict=True)], [])

    first = epoch({"loss": 1.0, "fid": None}, {"loss": 3.0})
    assert (dict(first), list(first.without_value)) == ({"loss": 2.0}, ["fid"])
    second = epoch({"loss": 1.0}, {"loss": 1.0, "fid": value})
    assert list(second) == (["loss"] if value is None else ["fid", "loss"])
    assert value is None or np.array_equal(second["fid"], value)


@given(st.lists(st.lists(logged, min_size=2, max_size=2), min_size=1, max_size=3))
def test_a_metric_that_any_rank_measures_anew_is_without_earlier_values(rounds: list[Any]) -> None:
    """A rank may have no batch in a validation; what no rank measures again keeps its values."""
    ranks, last = [RunningMeans(), RunningMeans()], dict[str, Any]()
    for values in rounds:
        each_alone = [RunningMeans(), RunningMeans()]
        for rank, own in enumerate(values):
            ranks[rank].restart_validation()
            for means in (ranks[rank], each_alone[rank]):
                for name, value, count in own:
                    means.add(f"val_{name}", value, count, reduces[name])  # type: ignore[arg-type]
            ranks[rank].end_validation()
        found = reduced(ranks)
        alone = reduced(each_alone).read()
        last |= alone
        assert found.read_validation().keys() == alone.keys()
        assert found.read().keys() == last.keys()
        assert all(same(found[name], last[name]) for name in last)
