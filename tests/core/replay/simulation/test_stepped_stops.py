"""Replay decides as the live callbacks do, with every option of EarlyStopping and ReduceLROnPlateau."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run, SettingsError, decision
from trainbus.plugins import EarlyStopping, Journal, ReduceLROnPlateau
from trainbus.replay import read, replay
from trainbus.replay.metric_choice import MetricChoice
from trainbus.replay.records import Recording
from trainbus.replay.simulation.stepped_stops import step_stops
from trainbus.testing import LineSubject, scripted

from ..recorded import recording

values = st.none() | st.sampled_from([float("nan"), float("inf"), -1.0, 0.0, 0.5, 1.0, 1.25, 2.0]) | st.floats(-4, 4)
epochs = st.lists(st.fixed_dictionaries({"loss": values, "acc": values}), min_size=1, max_size=15)
comparison: dict[str, st.SearchStrategy[Any]] = {
    "patience": st.integers(0, 4),
    "min_delta": st.sampled_from([0.0, 0.1, 0.5]),
    "min_delta_mode": st.sampled_from([None, "abs", "rel"]),
    "cumulative_delta": st.booleans(),
    "ties": st.sampled_from(["older", "newer"]),
    "every": st.sampled_from(["epoch", "2 epochs", "3 epochs", "3 epochs from 0"]),
}
bounds = st.none() | st.sampled_from([-1.0, 0.0, 0.5, 1.25])
one_metric = st.fixed_dictionaries(
    {
        **comparison,
        "monitor": st.just("loss"),
        "mode": st.sampled_from(["min", "max"]),
        "tie_breaker": st.none() | st.just("acc"),
        "baseline": bounds,
        "stopping_threshold": bounds,
        "divergence_threshold": bounds,
        "check_finite": st.booleans(),
        "min_epochs": st.integers(0, 6),
        "start_from_epoch": st.integers(0, 4),
        "reset_on_lr_cut": st.booleans(),
        "restore_best_weights": st.booleans(),
        "smoothing": st.none() | st.sampled_from(["ema 0.5", "median 3"]),
    }
)
several_metrics = st.fixed_dictionaries(
    {
        **comparison,
        "monitor": st.just(["loss", "acc"]),
        "mode": st.sampled_from(["min", "max"]) | st.sampled_from([["min", "max"], ["max", "min"]]),
        "stop_when": st.sampled_from(["any", "all"]),
        "check_finite": st.booleans(),
        "min_epochs": st.integers(0, 6),
        "reset_on_lr_cut": st.booleans(),
        "restore_best_weights": st.booleans(),
    }
)


def possible(options: dict[str, Any]) -> bool:
    """Return whether the options do not contradict each other."""
    try:
        EarlyStopping(**options)
    except SettingsError:
        return False
    return True


one_metric = one_metric.filter(possible)
stoppers = st.one_of(one_metric, several_metrics).map(lambda options: EarlyStopping(**options))
reducers = st.fixed_dictionaries(
    {
        **comparison,
        "monitor": st.just("loss"),
        "mode": st.sampled_from(["min", "max"]),
        "tie_breaker": st.none() | st.just("acc"),
        "factor": st.just(0.5),
        "cooldown": st.integers(0, 3),
        "min_lr": st.sampled_from([0.0, 0.03, {"learning_rate": 0.03}]),
        "rule": st.sampled_from(["keras", "torch"]),
        "eps": st.sampled_from([0.0, 0.02]),
        "groups": st.none() | st.just(["learning_rate"]),
    }
).map(lambda options: ReduceLROnPlateau(**options))


def recorded(history: list[dict[str, Any]]) -> Recording:
    return recording({name: [each[name] for each in history] for name in history[0]})


@given(epochs, stoppers, st.none() | reducers)
def test_a_replay_decides_as_the_live_callbacks(
    history: list[dict[str, Any]], stopper: EarlyStopping, reducer: ReduceLROnPlateau | None
) -> None:
    """The same stop, the same epochs of kept weights and cuts, with and without a cut in the epoch of the stop."""
    if any(all(each[name] is None for each in history) for name in ("loss", "acc")):
        return  # replay leaves out a run without the metric
    callbacks = [stopper, *([reducer] if reducer else [])]
    run, _ = scripted(history, callbacks, LineSubject())
    live = sorted(
        (epoch, action.kind)
        for epoch, decided in run.result.decisions
        for action in decided
        if not (isinstance(action, decision.Restore) and epoch == len(history) - 1)
    )
    (rate,) = LineSubject().learning_rates().values()
    found = replay([recorded([{**each, "learning_rate": rate} for each in history])], callbacks).outcomes[0]

    stops = [(each.epoch, each.action) for each in found.decisions if each.action == "stop"]
    assert stops == [each for each in live if each[1] == "stop"]
    end = stops[0][0] if stops else len(history)
    for kind in ("keep", "scale_learning_rate"):
        simulated = [(each.epoch, each.action) for each in found.decisions if each.action == kind]
        assert [each for each in simulated if each[0] <= end] == [each for each in live if each[1] == kind]


@pytest.mark.parametrize("stops_at", ["epoch", "validation"])
@pytest.mark.parametrize("cuts_at", ["epoch", "validation"])
@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize("of_cuts", [1, 2])
def test_a_cut_after_a_validation_comes_before_one_at_the_end_of_its_epoch(
    stops_at: Any, cuts_at: Any, patience: int, of_cuts: int
) -> None:
    """So a cut of the same epoch holds a stop back, or comes too late for it, as live."""
    callbacks = [
        EarlyStopping(patience=patience, reset_on_lr_cut=True, every=stops_at),
        ReduceLROnPlateau(patience=of_cuts, every=cuts_at, cooldown=1, min_lr=0.02),
    ]
    with Run(LineSubject(), [*callbacks, Journal("journal.jsonl")], verbose=0) as run:
        for _ in run.steps(range(3), 30, validate_every=3):
            if run.validation_due:
                with run.validation():
                    run.log(loss=1.0)
    live = [(epoch, action.kind) for epoch, decided in run.result.decisions for action in decided]
    (outcome,) = replay([read("journal.jsonl")], callbacks).outcomes
    assert sorted((each.epoch, each.action) for each in outcome.decisions) == sorted(live)


@given(epochs, one_metric)
def test_stepping_a_run_equals_stepping_all_at_once(history: list[dict[str, Any]], options: dict[str, Any]) -> None:
    """For the options that the rule takes as arrays."""
    if all(each["loss"] is None for each in history):
        return
    options = {**options, "every": "epoch", "tie_breaker": None, "reset_on_lr_cut": False}
    callback = EarlyStopping(**options)
    run = recorded(history)
    stepped = step_stops(callback, run, [MetricChoice("loss", options["mode"], "")])

    outcome = replay([run], callback).outcomes[0]
    assert (stepped.stop and stepped.stop.epoch) == (outcome.stop.epoch if outcome.stop else None)
    kept = [each.epoch for each in outcome.decisions if each.action == "keep"]
    assert kept == ([each.epoch for each in stepped.bests] if options["restore_best_weights"] else [])
