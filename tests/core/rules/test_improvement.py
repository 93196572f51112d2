"""What counts as better than the best so far."""

from math import inf, isfinite

from hypothesis import given
from hypothesis import strategies as st

from trainbus.rules import Best, best_rule, improves

from .drawn import deltas, histories, scores


@given(scores, scores, deltas)
def test_only_finite_scores_improve(score: float, reference: float, delta: float) -> None:
    """An improvement is finite and strictly above its reference by more than min_delta."""
    assert improves(score, reference, delta) == (isfinite(score) and score - delta > reference)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False), st.floats(0, 1e6))
def test_improving_downwards_is_the_mirror_image(value: float, reference: float, delta: float) -> None:
    """Negated scores improve exactly if the value falls below its reference by more than min_delta."""
    assert improves(-value, -reference, delta) == (isfinite(value) and value + delta < reference)


@given(histories)
def test_best_is_the_first_maximum_of_the_finite(history: list[float]) -> None:
    """The best score is the highest finite one, at the first epoch that reached it."""
    state = Best()
    for epoch, score in enumerate(history):
        state, _ = best_rule(state, score, epoch)

    finite = [score for score in history if isfinite(score)]
    assert state.score == max(finite, default=-inf)
    assert state.epoch == (history.index(max(finite)) if finite else -1)
