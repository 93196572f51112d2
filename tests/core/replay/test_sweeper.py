"""The laws of sweeps: what policies save and lose, the frontier, and what is recommended."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import MissingMetric, SettingsError
from trainbus.plugins import EarlyStopping
from trainbus.replay import Recording, replay, sweep
from trainbus.replay.recommend import ADVICE, Limit, leave_one_out, most_saving, pareto_frontier

from .recorded import History, finite, recording

runs = st.lists(st.lists(finite, min_size=1, max_size=20), min_size=1, max_size=5)
limits = st.sampled_from(list(ADVICE.values()))
parts = st.floats(0, 1).map(lambda part: round(part, 1))


def recordings(table: list[History]) -> list[Recording]:
    return [recording(history, str(number), seconds=2.0) for number, history in enumerate(table)]


@given(runs, st.sampled_from(["trainbus", "keras", "lightning", "ignite"]))
def test_a_policy_of_a_sweep_is_what_replaying_it_is(table: list[Any], by: str) -> None:
    """Stop, epochs and seconds saved, and quality lost of each run, for every policy."""
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


@given(st.lists(st.tuples(parts, parts), min_size=1, max_size=30))
def test_the_frontier_is_what_no_other_beats(points: list[tuple[float, float]]) -> None:
    """No policy saves as much and loses less, or saves more and loses no more, than one on the frontier."""
    saved, lost = np.array(points).T
    edge = pareto_frontier(saved, lost)

    for each in range(len(points)):
        beaten = bool(
            (((saved >= saved[each]) & (lost < lost[each])) | ((saved > saved[each]) & (lost <= lost[each]))).any()
        )
        twin = any(saved[other] == saved[each] and lost[other] == lost[each] for other in edge)
        assert twin is not beaten


@given(st.lists(st.tuples(parts, parts, parts), min_size=1, max_size=20), limits)
def test_the_chosen_policy_saves_most_of_those_within_the_limit(points: list[Any], limit: Limit) -> None:
    """And where none is within it, none loses less."""
    saved, mean, worst = np.array(points).T
    chosen = most_saving(saved, mean, worst, limit)
    within = (mean <= limit.mean) & (worst <= limit.worst)

    if within.any():
        assert within[chosen]
        assert saved[chosen] == saved[within].max()
    else:
        assert mean[chosen] == mean.min()


@given(st.integers(2, 6), st.integers(1, 8), limits, st.randoms(use_true_random=False))
def test_an_estimate_never_looks_at_the_run_that_it_is_of(runs: int, policies: int, limit: Limit, random: Any) -> None:
    """Leaving a run out in turn is choosing by the others alone, one run at a time."""
    saved = np.array([[random.randrange(10) for _ in range(runs)] for _ in range(policies)], dtype=float)
    lost = np.array([[random.choice([0.0, 0.01, 0.2]) for _ in range(runs)] for _ in range(policies)])
    epochs = np.full(runs, 10.0)
    gained, cost = [], []
    for run in range(runs):
        others = [other for other in range(runs) if other != run]
        part = saved[:, others].sum(axis=1) / epochs[others].sum()
        chosen = most_saving(part, lost[:, others].mean(axis=1), lost[:, others].max(axis=1), limit)
        gained.append(saved[chosen, run])
        cost.append(lost[chosen, run])

    found = leave_one_out(saved, epochs, lost, limit)
    assert found is not None
    np.testing.assert_allclose(found, (sum(gained) / epochs.sum(), np.mean(cost), max(cost)), atol=1e-12)


def test_a_careful_policy_loses_nothing_in_any_run() -> None:
    """Nor does it stop where waiting would have paid, as the eager one may."""
    rising = [5.0, 4.0, 3.0, 3.1, 3.2, 1.0, *[1.1] * 14]
    found = sweep(recordings([rising, rising]), smoothing=[None])
    careful, _, eager = found.recommendations

    assert careful.on_these.lost == careful.on_these.worst == 0
    assert careful.on_these.saved > 0.5
    assert eager.on_these.saved >= careful.on_these.saved
    stops = [replay(recordings([rising]), careful.callback).outcomes[0].stop]
    assert [each.epoch for each in stops if each] == found.stopped[careful.number, :1].tolist()


def test_one_run_tells_nothing_of_others() -> None:
    """There is no estimate where nothing can be left out."""
    found = sweep(recordings([[3.0, 2.0, 1.0, 1.5, 1.6, 1.7]]))

    assert [each.on_others for each in found.recommendations] == [None] * 3


def test_runs_without_a_finite_value_lose_nothing_and_break_nothing() -> None:
    """All is NaN in one of two runs."""
    found = sweep(recordings([[math.nan] * 8, [3.0, 2.0, 1.0, 1.5, 1.6, 1.7, 1.8, 1.9]]))

    assert np.isfinite(found.fraction_lost).all()
    assert json.loads(json.dumps(found.as_data(), allow_nan=False))["policies"] == len(found.grid)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"patience": []}, "patience: give at least one value"),
        ({"patience": [-1]}, "patience=-1: input should be greater"),
        ({"smoothing": ["ema"]}, 'give such as "ema 0.9"'),
        ({"by": "lightning", "start_from_epoch": [3]}, "EarlyStopping of Lightning 2.6 has no start_from_epoch"),
        (
            {"by": "pytorch"},
            "unknown library 'pytorch'; choose from trainbus, keras, torch, lightning, ignite; did you mean 'torch'",
        ),
        ({"monitor": "val_los"}, "did you mean 'val_loss'"),
        ({"patience": range(5000), "min_delta": np.linspace(0, 1, 5000).tolist()}, "give fewer values"),
    ],
)
def test_what_cannot_be_swept_is_said(options: dict[str, Any], sentence: str) -> None:
    """Before any work is done, with what to write instead."""
    with pytest.raises((SettingsError, MissingMetric), match=sentence):
        sweep(recordings([[1.0, 2.0]]), **options)
