"""When training stops."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from trainbus.rules import Patience, improves, stopping_rule

from .drawn import deltas, histories


def stopping(history: list[float], **options) -> list[tuple[Patience, tuple]]:
    """Return every state and verdict of a history."""
    state, steps = Patience(), []
    for epoch, score in enumerate(history):
        state, verdict = stopping_rule(state, score, epoch, **options)
        steps.append((state, verdict))
    return steps


@given(histories, st.integers(0, 4), deltas, st.sampled_from([-inf, 0.0, 3.0]), st.integers(0, 4))
def test_stopping_is_patience_without_improvement(
    history: list[float], patience: int, delta: float, baseline: float, start: int
) -> None:
    """It stops at epochs that bring no improvement, patience or more looked-at epochs after the last that reset it."""
    reset, best = start - 1, -inf
    steps = stopping(history, patience=patience, min_delta=delta, baseline=baseline, start_from_epoch=start)
    for epoch, (score, (state, verdict)) in enumerate(zip(history, steps, strict=True)):
        improved = epoch >= start and improves(score, best, delta)
        best = score if improved else best
        reset = epoch if improved and improves(score, baseline, delta) else reset
        waited = max(epoch - reset, 0) if epoch >= start else 0

        assert state.best == best
        assert verdict.improved == improved
        assert verdict.stop == (epoch >= start and epoch > 0 and not improved and waited >= patience)
