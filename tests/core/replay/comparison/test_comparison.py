"""Runs side by side: what each reached, when, in which time, and with which settings."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, isfinite, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import MissingMetric, SettingsError
from trainbus.replay import Recording, Series, compare

losses = st.lists(st.sampled_from([nan, inf, -inf, 0.5, 0.25, 1.0, 2.0]), min_size=1, max_size=6)


def run(name: str, values: list[float], metric: str = "val_loss", **settings: object) -> Recording:
    numbers = np.array(values)
    series = {metric: Series(numbers, np.ones(len(numbers), np.bool_))}
    return Recording(name, np.arange(len(numbers)), series, settings=settings)


@given(st.lists(losses, min_size=1, max_size=5), st.sampled_from(["min", "max"]))
def test_the_best_run_comes_first_and_one_without_a_finite_value_last(runs: list[list[float]], mode: str) -> None:
    """The best is the first finite value that no other one beats."""
    found = compare([run(str(number), values) for number, values in enumerate(runs)], mode=mode)  # type: ignore[arg-type]
    best = min if mode == "min" else max
    bests = [each.best.value for each in found.runs if each.best is not None]

    assert bests == sorted(bests, reverse=mode == "max")
    assert [each.best is None for each in found.runs] == sorted(each.best is None for each in found.runs)
    assert list(found.curves.names) == [each.name for each in found.runs]
    for each in found.runs:
        values = runs[int(each.name)]
        finite = [value for value in values if isfinite(value)]
        assert each.rows == len(values)
        assert (each.best is None) == (not finite)
        if each.best is not None:
            assert (each.best.value, each.best.epoch) == (best(finite), values.index(best(finite)))


def test_times_are_those_of_the_rows() -> None:
    """From the end of the first row; without times they are unknown."""
    timed = replace(run("a", [3.0, 1.0, 2.0]), times=np.array([10.0, 20.0, 40.0]))
    first, second = compare([timed, run("b", [3.0, 2.0])]).runs
    assert (first.seconds, first.seconds_to_best) == (30.0, 10.0)
    assert (second.seconds, second.seconds_to_best) == (None, None)


def test_the_place_of_the_best_value_is_that_of_the_runs_own_count() -> None:
    """A run that counts timesteps has them in its data."""
    values = replace(run("a", [3.0, 1.0, 2.0]), unit="timestep", steps=np.array([2048, 4096, 6144]))
    found = compare([values])
    assert found.as_data()["runs"][0]["best"] == {"value": 1.0, "record": 1, "step": 4096}


def test_data_and_rows_have_only_the_settings_that_differ() -> None:
    """As JSON, with a number that is not finite as text; a column never has the name of another one."""
    runs = [run("a", [1.0, nan], lr=0.1, best="x", same=1), run("b", [2.0], lr=0.2, best="y", same=1)]
    found = compare(runs)
    data = json.loads(json.dumps(found.as_data(), allow_nan=False))
    assert data["settings"] == ["lr", "best"]
    assert [(each["settings"], each["last"]) for each in data["runs"]] == [
        ({"lr": 0.1, "best": "x"}, "nan"),
        ({"lr": 0.2, "best": "y"}, 2.0),
    ]
    first, _ = found.as_rows()
    assert (first["best"], first["settings.best"], first["settings.lr"]) == (1.0, "x", 0.1)


def test_a_run_without_the_metric_is_left_out_and_said() -> None:
    """As in replay; without any such run, it is an error."""
    found = compare([run("a", [1.0]), run("b", [1.0], metric="loss")], monitor="val_loss")
    assert [each.name for each in found.runs] == ["a"]
    assert found.notes == ("1 run does not log val_loss and is left out: b.",)
    with pytest.raises(MissingMetric, match="val_f1"):
        compare([run("a", [1.0])], monitor="val_f1")
    with pytest.raises(SettingsError, match="no runs"):
        compare([])
