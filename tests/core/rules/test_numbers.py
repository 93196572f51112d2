"""A rule steps arrays of runs and settings as it steps each alone."""

from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.rules import Best, Patience, Plateau, best_rule, plateau_rule, stopping_rule

from .drawn import deltas, histories


@pytest.mark.parametrize("rule", ["stopping", "plateau", "best"])
@given(st.lists(histories, min_size=1, max_size=5), st.data())
def test_arrays_step_as_scalars_do(rule: str, runs: list[list[float]], data) -> None:
    """Stepping many runs and settings at once gives the same as stepping each alone."""
    length = max(map(len, runs))
    table = np.array([run + [nan] * (length - len(run)) for run in runs])
    count = len(runs)
    patience = np.array(data.draw(st.lists(st.integers(0, 4), min_size=count, max_size=count)))
    delta = np.array(data.draw(st.lists(deltas, min_size=count, max_size=count)))

    def step(state, score, epoch: int, patience, delta):
        if rule == "stopping":
            return stopping_rule(state, score, epoch, patience=patience, min_delta=delta, start_from_epoch=1)
        if rule == "plateau":
            return plateau_rule(state, score, patience=patience, min_delta=delta, cooldown=2)
        return best_rule(state, score, epoch)

    start = {"stopping": Patience(), "plateau": Plateau(), "best": Best()}[rule]
    together, apart = start, [start] * count
    for epoch in range(length):
        together, verdicts = step(together, table[:, epoch], epoch, patience, delta)
        for i in range(count):
            apart[i], verdict = step(apart[i], float(table[i, epoch]), epoch, int(patience[i]), float(delta[i]))
            for field, value in enumerate(apart[i]):
                assert np.broadcast_to(together[field], count)[i] == value
            for part, one in zip(_parts(verdicts), _parts(verdict), strict=True):
                assert np.broadcast_to(part, count)[i] == one


def _parts(verdict) -> tuple:
    return verdict if isinstance(verdict, tuple) else (verdict,)
