"""Options that all policies of a sweep share: each is the only value of its axis."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.plugins import EarlyStopping
from trainbus.replay import Recording, Sweep, replay, sweep
from trainbus.replay.libraries.settings import find_library

from .recorded import FOUND, finite, recording

runs = st.lists(st.lists(finite, min_size=1, max_size=20), min_size=1, max_size=5)


def assert_policies_are_those_of_replay(found: Sweep, runs: list[Recording], given: dict[str, Any]) -> None:
    """Assert that each policy has the given options, and stops as a replay of the callback that is printed."""
    library = find_library(found.library)
    for number, policy in enumerate(found.grid):
        callback = policy.callback(found.choice.monitor, found.choice.mode, library, found.fixed)
        assert {name: getattr(callback, name) for name in given} == given
        stops = [each.stop.epoch if each.stop else -1 for each in replay(runs, callback, by=found.library).outcomes]
        assert found.stopped[number].tolist() == stops, callback


@pytest.mark.parametrize(
    ("by", "given"),
    [
        ("trainbus", {"start_from_epoch": 9, "min_delta": 0.5}),
        ("trainbus", {"patience": 3}),
        ("trainbus", {"smoothing": "ema 0.9"}),
        ("trainbus", {"baseline": 1.45}),
        ("trainbus", {"patience": 2, "divergence_threshold": 2.5}),
        ("trainbus", {"min_delta": 0.1, "min_delta_mode": "rel", "every": "2 epochs"}),
        ("trainbus", {"monitor": ("val_loss", "val_acc"), "patience": 2, "min_delta": 0.3}),
        ("torch", {"patience": 1, "start_from_epoch": 4}),
        ("keras", {"baseline": 1.45, "start_from_epoch": 3}),
        ("keras", {"min_delta": -0.2}),
        ("lightning", {"patience": 1, "min_delta": 0.4}),
        ("lightning", {"min_delta": -0.2}),
        ("ignite", {"patience": 4, "threshold": 0.2}),
        ("ignite", {"threshold_mode": "rel"}),
        ("ignite", {"threshold": 0.3, "threshold_mode": "rel", "cumulative": True}),
    ],
)
def test_a_shared_option_is_the_only_value_of_its_axis(by: str, given: dict[str, Any]) -> None:
    """Also by the name that the library has for it; each policy decides with it."""
    runs = [recording({"val_loss": FOUND, "val_acc": [-each for each in FOUND]})]
    found = sweep(
        runs, fixed=given, by=by, **({} if "smoothing" in given or by != "trainbus" else {"smoothing": [None]})
    )

    assert_policies_are_those_of_replay(found, runs, given)
    for each in found.recommendations:
        (outcome,) = replay(runs, each.callback, by=by).outcomes
        assert each.on_these.saved == outcome.epochs_saved / outcome.epochs


shared_options = st.fixed_dictionaries(
    {},
    optional={
        "patience": st.integers(0, 4),
        "min_delta": st.sampled_from([0.0, 0.1, -0.5]),
        "start_from_epoch": st.integers(0, 6),
        "baseline": st.sampled_from([None, 0.5, -1.0]),
        "smoothing": st.sampled_from([None, "ema 0.5", "median 3"]),
        "min_delta_mode": st.sampled_from(["abs", "rel"]),
        "cumulative_delta": st.booleans(),
        "ties": st.sampled_from(["older", "newer"]),
        "tie_breaker": st.just("val_acc"),
        "stopping_threshold": st.sampled_from([-1.5, 0.0]),
        "divergence_threshold": st.sampled_from([0.5, 1.5]),
        "check_finite": st.booleans(),
        "min_epochs": st.integers(0, 6),
        "every": st.sampled_from(["epoch", "2 epochs", "validation"]),
        "mode": st.sampled_from(["auto", "min"]),
    },
)


@given(runs, shared_options)
def test_each_policy_with_any_shared_options_stops_as_its_replay(table: list[Any], given: dict[str, Any]) -> None:
    """Whether or not a sweep would vary the options."""
    metrics = [{"val_loss": each, "val_acc": [-value for value in each]} for each in table]
    recorded = [recording(each, str(number)) for number, each in enumerate(metrics)]
    values: dict[str, Any] = {"patience": [1, 3], "min_delta": [0, 0.3], "start_from_epoch": [0, 2]}
    values |= {"baseline": [None, 1.0], "smoothing": [None, "ema 0.8"]}
    axes = {name: each for name, each in values.items() if name not in given}
    found = sweep(recorded, fixed=EarlyStopping(**given), **axes)

    shown = {name: value for name, value in given.items() if name not in ("mode", "min_delta")}
    assert_policies_are_those_of_replay(found, recorded, shown)


@pytest.mark.parametrize(
    ("given", "argument", "problem"),
    [
        ({"patience": 3}, {"patience": [1, 2]}, "fixed: patience=3: patience is given as well; leave one of the two"),
        ({"min_delta": 0}, {"min_delta": [0.0]}, "fixed: min_delta=0.0: min_delta is given as well"),
        ({"start_from_epoch": 1}, {"start_from_epoch": [0]}, "fixed: start_from_epoch=1: start_from_epoch is given"),
        ({"baseline": None}, {"baseline": [1.0]}, "fixed: baseline=None: baseline is given as well"),
        ({"smoothing": "ema 0.9"}, {"smoothing": [None]}, "fixed: smoothing='ema 0.9': smoothing is given as well"),
        ({"monitor": "val_loss"}, {"monitor": "val_loss"}, "fixed: monitor='val_loss': monitor is given as well"),
        ({"mode": "min"}, {"mode": "max"}, "fixed: mode='min': mode is given as well"),
        (
            {"threshold": 1, "patience": 1},
            {"min_delta": [2], "by": "ignite"},
            "fixed: threshold=1.0: min_delta is given",
        ),
    ],
)
def test_an_option_that_is_given_twice_is_refused(
    given: dict[str, Any], argument: dict[str, Any], problem: str
) -> None:
    """The message has both names."""
    with pytest.raises(SettingsError, match=f"^{problem}"):
        sweep([recording(FOUND)], fixed=given, **argument)


@pytest.mark.parametrize(
    ("by", "given", "axes", "problem"),
    [
        ("keras", {"min_delta_mode": "rel"}, {}, "fixed: EarlyStopping of Keras 3.15: min_delta_mode: unknown option"),
        ("lightning", {"baseline": 1.0}, {}, "fixed: EarlyStopping of Lightning 2.6: baseline: unknown option"),
        (
            "ignite",
            {"min_delta": -1},
            {},
            "fixed: EarlyStopping of Ignite 0.5: min_delta=-1: give a number of at least",
        ),
        ("ignite", {"smoothing": "ema 0.9"}, {}, "fixed: EarlyStopping of Ignite 0.5: smoothing: unknown option"),
        ("ignite", {}, {"patience": [0]}, "patience=0: give a number above 0"),
        ("ignite", {}, {"min_delta": [-1]}, "min_delta=-1: give a number of at least 0"),
        ("torch", {"patiance": 1}, {}, "fixed: EarlyStopping: patiance: unknown option; did you mean 'patience'"),
        (
            "trainbus",
            {"min_delta_mode": "rel"},
            {"min_delta": [2]},
            "min_delta=2: min_delta_mode='rel': min_delta=2 is",
        ),
        ("trainbus", {"monitor": ["val_loss", "loss"]}, {"baseline": [2]}, "baseline=2: it is for one metric, but"),
    ],
)
def test_a_wrong_shared_option_is_named_as_it_is_given(
    by: str, given: dict[str, Any], axes: dict[str, Any], problem: str
) -> None:
    """The message names no class that the user has not written, and no option by another name."""
    runs = [recording({"val_loss": FOUND, "loss": FOUND})]
    with pytest.raises(SettingsError, match=f"^{problem}"):
        sweep(runs, fixed=given, by=by, **axes)
