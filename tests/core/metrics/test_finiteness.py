"""Which metrics are NaN or infinite is known on the host at once, and on a device without waiting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainbus.metrics.finiteness import finiteness
from trainbus.metrics.running_means import RunningMeans

from ...plugins.far_tensors import Far, far

VALUES = st.sampled_from([0.0, 1.5, -3.0, math.nan, math.inf, -math.inf])


@given(st.dictionaries(st.sampled_from("abcdef"), VALUES, max_size=5), st.none() | st.sets(st.sampled_from("abcdef")))
def test_host_and_device_find_the_same_metrics(values: dict[str, float], names: set[str] | None) -> None:
    expected = {name for name, value in values.items() if not math.isfinite(value) and (names is None or name in names)}
    host, device = finiteness(values, names), finiteness({name: far(each) for name, each in values.items()}, names)

    assert (set(host.bad), host.pending) == (expected, [])
    assert device.bad == []
    assert {name for flags in device.pending for name in flags.read()} == expected


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_a_mean_is_not_finite_from_the_first_such_value_on(values: list[float]) -> None:
    means, found = RunningMeans(), []
    for value in values:
        means.add("loss", value)
        found.append(finiteness(means).bad == ["loss"])

    assert found == [not all(map(math.isfinite, values[: number + 1])) for number in range(len(values))]


def test_only_reading_waits_for_a_device() -> None:
    means = RunningMeans()
    for name in ("loss", "accuracy"):
        means.add(name, far(math.nan if name == "loss" else 0.5))
    Far.waits = 0
    (flags,) = finiteness(means).pending
    assert Far.waits == 0

    assert flags.read() == ["loss"]
    assert Far.waits == 1


@pytest.mark.parametrize(
    "value",
    [
        None,
        "nan",
        [math.nan],
        {"a": math.nan},
        np.array([1.0, math.nan]),
        torch.tensor([1.0, math.nan]),
        np.datetime64("nat"),
        3,
        True,
        np.float32(2.0),
        np.int64(3),
        np.array([1.0]),
    ],
)
def test_what_is_no_single_number_or_finite_is_left_out(value: Any) -> None:
    assert finiteness({"value": value}) == ([], [])


@pytest.mark.parametrize(
    "value",
    [np.float32("nan"), np.array([math.inf]), np.array(-math.inf), torch.tensor(math.nan), torch.tensor([math.inf])],
)
def test_single_numbers_of_every_kind_count(value: Any) -> None:
    assert finiteness({"value": value}).bad == ["value"]


def test_an_array_of_jax_is_read_later() -> None:
    numpy = pytest.importorskip("jax.numpy")
    found = finiteness({"loss": numpy.array(math.nan), "accuracy": numpy.array(0.5)})

    assert found.bad == []
    assert [flags.read() for flags in found.pending] == [["loss"]]
