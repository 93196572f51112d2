"""When the learning rate is reduced."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from trainbus.rules import Plateau, improves, plateau_rule

from .drawn import deltas, histories


@given(histories, st.integers(0, 4), deltas, st.integers(0, 4), st.lists(st.booleans(), min_size=25, max_size=25))
def test_reductions_keep_their_distance(
    history: list[float], patience: int, delta: float, cooldown: int, reducible: list[bool]
) -> None:
    """Reductions come at least max(patience, 1) + max(cooldown - 1, 0) epochs apart, and only above the floor."""
    state, last, best = Plateau(), None, -inf
    for epoch, score in enumerate(history):
        state, verdict = plateau_rule(
            state, score, patience=patience, min_delta=delta, cooldown=cooldown, reducible=reducible[epoch]
        )
        best = score if improves(score, best, delta) else best
        assert state.best == best
        if verdict.reduce:
            assert reducible[epoch]
            assert not verdict.improved
            assert last is None or epoch - last >= max(patience, 1) + max(cooldown - 1, 0)
            last = epoch
