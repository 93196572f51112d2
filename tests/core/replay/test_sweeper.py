"""Sweeps: what policies save and lose, the frontier, and the recommendations."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import MissingMetric, SettingsError
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.replay import Recording, replay, sweep
from trainbus.replay.libraries.settings import find_library
from trainbus.replay.recommend import ADVICE

from .recorded import FOUND, History, by_steps, finite, recording

runs = st.lists(st.lists(finite, min_size=1, max_size=20), min_size=1, max_size=5)


def recordings(table: list[History]) -> list[Recording]:
    return [recording(history, str(number), seconds=2.0) for number, history in enumerate(table)]


@given(runs, st.sampled_from(["trainbus", "keras", "lightning", "ignite"]))
def test_a_policy_of_a_sweep_has_the_results_of_its_replay(table: list[Any], by: str) -> None:
    """Stop, epochs and seconds saved, and quality lost of each run are the same for every policy."""
    found = sweep(recordings(table), patience=[1, 2, 4], min_delta=[0, 0.5], by=by)
    for number, policy in enumerate(found.grid):
        callback = EarlyStopping(monitor="val_loss", **policy.options)
        if by == "lightning" or by == "ignite":
            callback = EarlyStopping(monitor="val_loss", patience=policy.patience, min_delta=policy.min_delta)
        outcomes = replay(recordings(table), callback, by=by).outcomes

        assert found.stopped[number].tolist() == [each.stop.epoch if each.stop else -1 for each in outcomes]
        assert found.epochs_saved[number].tolist() == [each.epochs_saved for each in outcomes]
        assert found.seconds_saved[number].tolist() == [each.seconds_saved for each in outcomes]
        assert found.quality_lost[number].tolist() == [each.quality_lost for each in outcomes]


@given(runs, st.integers(1, 9), st.sampled_from([0, 1, 5, 40]), st.booleans(), st.sampled_from(["older", "newer"]))
def test_a_policy_with_min_steps_has_the_results_of_its_replay(
    table: list[Any], every: int, min_steps: int, mixed: bool, ties: Any
) -> None:
    """Whether the rule steps all runs at once or one by one, in loops over epochs and by steps."""
    recorded = [by_steps(each, every) for each in recordings(table)]
    if mixed:
        recorded[0] = replace(recorded[0], unit="epoch")
    for options in ({"ties": ties}, {"every": "validation"}):
        fixed = EarlyStopping(min_steps=min_steps, **options)
        found = sweep(recorded, patience=[1, 2], min_delta=[0], smoothing=[None, "median 3"], fixed=fixed)
        for number, policy in enumerate(found.grid):
            callback = EarlyStopping(monitor="val_loss", min_steps=min_steps, **options, **policy.options)
            outcomes = replay(recorded, callback).outcomes
            assert found.stopped[number].tolist() == [each.stop.epoch if each.stop else -1 for each in outcomes]


def test_a_sweep_of_loops_by_steps_tries_no_first_epoch() -> None:
    """By default; its data name no such option, and those of a mixed set do."""
    table: list[Any] = [[3.0, 2.0, *[1.0] * 40]]
    (run,) = recordings(table)
    assert len(sweep([run]).grid.start_from_epoch) > 1
    for others in ([], [run]):
        found = sweep([*others, replace(by_steps(run), name="b")])
        assert found.grid.start_from_epoch == (0,)
        assert ("start_from_epoch" in found.as_data()["grid"]) is bool(others)
        assert ("start_from_epoch" in found.as_rows()[0]) is bool(others)
    assert len(sweep([by_steps(run)], start_from_epoch=[0], patience=[1], by="keras").grid) > 1


@pytest.mark.parametrize("starts", [[1], [0, 3], [5, 0, 10]])
@pytest.mark.parametrize("by", ["trainbus", "keras", "torch"])
def test_a_first_epoch_to_try_is_refused_of_a_loop_by_steps(starts: list[int], by: str) -> None:
    """The message says what to give."""
    (run,) = recordings([[3.0, 2.0, 1.0]])
    first = next(each for each in starts if each)
    problem = f"^start_from_epoch={first}: a loop by steps has no epochs; leave it out, or give min_steps, as in fixed="
    with pytest.raises(SettingsError, match=problem):
        sweep([run, replace(by_steps(run), name="b")], start_from_epoch=starts, by=by)


@pytest.mark.parametrize(
    ("fixed", "problem"),
    [
        (EarlyStopping(min_epochs=2), "fixed: min_epochs=2: a loop by steps has no epochs; give min_steps"),
        (EarlyStopping(every="2 epochs"), "fixed: every='2 epochs': a loop by steps has no epochs; give steps"),
        (EarlyStopping(every="9 steps"), "fixed: every='9 steps' looks between validations, of which nothing is recor"),
    ],
)
def test_shared_options_that_cannot_act_in_a_loop_by_steps_are_refused(fixed: EarlyStopping, problem: str) -> None:
    """As in a replay."""
    with pytest.raises(SettingsError, match=f"^{problem}"):
        sweep([by_steps(each) for each in recordings([[3.0, 2.0, 1.0]])], fixed=fixed)


def test_a_sweep_notes_where_min_steps_is_ignored() -> None:
    """As a replay does."""
    first, second = recordings([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    found = sweep([first, replace(by_steps(second), unit="epoch")], fixed=EarlyStopping(min_steps=5), patience=[1])
    assert found.notes == ("fixed: min_steps=5 is ignored in 0, since steps are not recorded.",)


def test_a_careful_policy_loses_nothing_in_any_run() -> None:
    """The careful policy never stops before a later improvement; the eager one may."""
    rising = [5.0, 4.0, 3.0, 3.1, 3.2, 1.0, *[1.1] * 14]
    found = sweep(recordings([rising, rising]), smoothing=[None])
    careful, _, eager = found.recommendations

    assert careful.on_these.lost == careful.on_these.worst == 0
    assert careful.on_these.saved > 0.5
    assert eager.on_these.saved >= careful.on_these.saved
    stops = [replay(recordings([rising]), careful.callback).outcomes[0].stop]
    assert [each.epoch for each in stops if each] == found.stopped[careful.number, :1].tolist()


def test_one_run_gives_no_cross_validation() -> None:
    """A single run gives no leave-one-out estimate."""
    found = sweep(recordings([[3.0, 2.0, 1.0, 1.5, 1.6, 1.7, 1.8, 1.9]]))

    assert [each.on_others for each in found.recommendations] == [None] * 3


def test_runs_without_a_finite_value_lose_nothing_and_break_nothing() -> None:
    """A run with NaN only has no effect on the other run."""
    found = sweep(recordings([[math.nan] * 8, [3.0, 2.0, 1.0, 1.5, 1.6, 1.7, 1.8, 1.9]]))

    assert np.isfinite(found.fraction_lost).all()
    assert json.loads(json.dumps(found.as_data(), allow_nan=False))["policies"] == len(found.grid)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"patience": []}, "patience: give at least one value"),
        ({"patience": [-1]}, "patience=-1: give a number of at least 0"),
        ({"smoothing": ["ema"]}, 'write "ema 0.9"'),
        ({"by": "lightning", "start_from_epoch": [3]}, "EarlyStopping of Lightning 2.6 has no option start_from_epoch"),
        (
            {"by": "pytorch"},
            "unknown library 'pytorch'; choose from trainbus, keras, torch, lightning, ignite, hf; did you mean",
        ),
        ({"monitor": "val_los"}, "did you mean 'val_loss'"),
        ({"patience": range(5000), "min_delta": np.linspace(0, 1, 5000).tolist()}, "give fewer values"),
    ],
)
def test_wrong_options_of_a_sweep_are_refused(options: dict[str, Any], sentence: str) -> None:
    """Wrong options are refused before any work, and the message names the fix."""
    with pytest.raises((SettingsError, MissingMetric), match=sentence):
        sweep(recordings([[1.0, 2.0]]), **options)


SHARED: list[EarlyStopping | None] = [
    None,
    EarlyStopping(min_delta_mode="rel"),
    EarlyStopping(cumulative_delta=False),
    EarlyStopping(stopping_threshold=0.1),
    EarlyStopping(divergence_threshold=0.3, check_finite=True),
    EarlyStopping(min_epochs=20),
    EarlyStopping(monitor=["val_loss", "val_acc"], stop_when="all"),
    EarlyStopping(monitor=["val_loss", "val_acc"]),
    EarlyStopping(every="2 epochs"),
    EarlyStopping(every="validation"),
    EarlyStopping(ties="newer"),
    EarlyStopping(tie_breaker="val_acc"),
]


@pytest.mark.parametrize("fixed", SHARED, ids=lambda each: str(each and each.model_dump(exclude_unset=True)))
def test_options_that_all_policies_share(fixed: EarlyStopping | None) -> None:
    """Each policy stops each run where a replay of its callback does."""
    draw, runs = np.random.default_rng(0), list[Recording]()
    for number in range(5):
        loss = (np.exp(-np.arange(30) / 10) + draw.normal(0, 0.03, 30)).round(2)
        runs.append(recording({"val_loss": loss.tolist(), "val_acc": (1 - loss).tolist()}, f"run {number}"))
    found = sweep(runs, fixed=fixed, patience=[1, 3], min_delta=[0, 0.02], start_from_epoch=[0, 3], smoothing=[None])

    for number, policy in enumerate(found.grid):
        callback = policy.callback("val_loss", "min", find_library("trainbus"), found.fixed)
        stops = [each.stop.epoch if each.stop else -1 for each in replay(runs, callback).outcomes]
        assert found.stopped[number].tolist() == stops, policy


@pytest.mark.parametrize(
    ("losses", "given", "within"),
    [
        (FOUND, {"divergence_threshold": 1.55}, False),
        (FOUND, {"divergence_threshold": 1.8}, True),
        (FOUND, {"stopping_threshold": 1.45, "smoothing": None}, False),
        (FOUND, {"patience": 1, "smoothing": None, "min_delta": 0, "start_from_epoch": 0}, False),
        ([1e13, *FOUND], {"patience": 1, "smoothing": None, "min_delta": 0, "start_from_epoch": 0}, False),
        ([math.nan, *FOUND], {"check_finite": True, "start_from_epoch": 0}, False),
        (FOUND, {"patience": 9}, True),
    ],
)
def test_a_recommendation_says_whether_it_is_within_its_limit(
    losses: list[Any], given: dict[str, Any], *, within: bool
) -> None:
    """Also of a loss that is a tiny fraction of a huge gain."""
    found = sweep([recording(losses)], fixed=given)
    for each in found.recommendations:
        (outcome,) = replay([recording(losses)], each.callback).outcomes
        limit = ADVICE[each.advice]
        assert each.within_limit is (each.on_these.worst <= limit.worst and each.on_these.lost <= limit.mean)
        assert each.words == (limit.words if each.within_limit else f"no policy {limit.words}; this one loses least")
        if each.advice == "careful":
            assert each.within_limit is within
            assert (outcome.quality_lost == 0) is within
        if not each.within_limit:
            assert each.on_these.lost == found.mean_lost.min()


@pytest.mark.parametrize(
    ("fixed", "why"),
    [
        (EarlyStopping(every="500 steps"), "every='500 steps' looks inside epochs, of which nothing is recorded"),
        (ReduceLROnPlateau(), "fixed=ReduceLROnPlateau: give an EarlyStopping"),
    ],
)
def test_shared_options_that_no_record_can_answer_are_refused(fixed: Any, why: str) -> None:
    """The message names the option."""
    with pytest.raises(SettingsError, match=why):
        sweep([recording([1.0, 2.0])], fixed=fixed)


@pytest.mark.parametrize(
    ("options", "notes"),
    [
        ({"min_steps": 1000}, ("fixed: min_steps=1000 is ignored, since steps are not recorded.",)),
        ({"every": "validation"}, ("fixed: every='validation' counts each recorded value as one validation.",)),
        (
            {"every": "validation", "min_steps": 1},
            (
                "fixed: every='validation' counts each recorded value as one validation.",
                "fixed: min_steps=1 is ignored, since steps are not recorded.",
            ),
        ),
        ({"every": "2 epochs"}, ()),
        ({"min_epochs": 3}, ()),
        ({"min_steps": 0}, ()),
    ],
)
def test_shared_options_that_a_record_answers_otherwise_are_noted(options: dict[str, Any], notes: Any) -> None:
    """As a replay of the callback notes them."""
    runs = [recording([1.0, 2.0, 0.5, 1.0])]
    fixed = EarlyStopping(**options)

    assert sweep(runs, fixed=fixed).notes == notes
    assert [each.partition(": ")[2] for each in replay(runs, fixed).notes] == [
        each.partition(": ")[2] for each in notes
    ]


def test_a_run_that_gains_nothing_may_lose_everything() -> None:
    """Its gain is 0, which may be a negative zero: a stop before its first finite value loses all."""
    runs = [recording([math.nan, math.nan, -0.0, *[0.0] * 6, 1.0], "a")]
    found = sweep(runs, patience=[1, 3], min_delta=[0], start_from_epoch=[0], smoothing=[None])
    assert found.fraction_lost.tolist() == [[1.0], [0.0]]
