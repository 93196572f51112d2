"""Laws of the recommended policies."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.recommend import ADVICE, Limit, leave_one_out, most_saving, pareto_frontier

limits = st.sampled_from(list(ADVICE.values()))
parts = st.floats(0, 1).map(lambda part: round(part, 1))


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
    """If no policy is within it, no other policy loses less."""
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
