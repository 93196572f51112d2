"""The recommended policies."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.recommend import ADVICE, Limit, leave_one_out, most_saving, pareto_frontier

limits = st.sampled_from(list(ADVICE.values()))
parts = st.floats(0, 1).map(lambda part: round(part, 1))


@given(st.lists(st.tuples(parts, parts), min_size=1, max_size=30))
def test_no_policy_beats_the_frontier(points: list[tuple[float, float]]) -> None:
    """A policy or an equal one is on the frontier if and only if no other policy beats it."""
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
    """If no policy is within the limit, no other policy loses less than the chosen one."""
    saved, mean, worst = np.array(points).T
    chosen = most_saving(saved, mean, worst, limit)
    within = (mean <= limit.mean) & (worst <= limit.worst)

    if within.any():
        assert within[chosen]
        assert saved[chosen] == saved[within].max()
    else:
        assert mean[chosen] == mean.min()


@given(st.integers(2, 6), st.integers(1, 8), limits, st.randoms(use_true_random=False))
def test_an_estimate_of_a_run_is_independent_of_it(runs: int, policies: int, limit: Limit, random: Any) -> None:
    """The estimate equals the choice by the other runs alone, one run at a time."""
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


@given(
    st.lists(st.integers(0, 2), min_size=2, max_size=6), st.integers(1, 8), limits, st.randoms(use_true_random=False)
)
def test_runs_of_one_group_are_left_out_together(groups: list[int], policies: int, limit: Limit, random: Any) -> None:
    """The estimate of a run is by the choice of the runs in other groups alone; a single group gives none."""
    runs = len(groups)
    saved = np.array([[random.randrange(10) for _ in range(runs)] for _ in range(policies)], dtype=float)
    lost = np.array([[random.choice([0.0, 0.01, 0.2]) for _ in range(runs)] for _ in range(policies)])
    epochs = np.array([random.choice([10.0, 20.0]) for _ in range(runs)])
    found = leave_one_out(saved, epochs, lost, limit, [str(each) for each in groups])
    if len(set(groups)) == 1:
        assert found is None
        return
    gained, cost = [], []
    for run in range(runs):
        others = [other for other in range(runs) if groups[other] != groups[run]]
        part, rest = saved[:, others].sum(axis=1) / epochs[others].sum(), lost[:, others]
        chosen = most_saving(part, rest.mean(axis=1), rest.max(axis=1), limit)
        gained.append(saved[chosen, run])
        cost.append(lost[chosen, run])
    assert found is not None
    np.testing.assert_allclose(found, (sum(gained) / epochs.sum(), np.mean(cost), max(cost)), atol=1e-12)
