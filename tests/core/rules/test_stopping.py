"""When training stops."""

from math import inf, isfinite, nan
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trainbus.rules import Patience, early_stopping_rule, held_back, improves, stopping_rule, threshold_rule

from .drawn import deltas, histories, scores


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


# --- thresholds, minimum epochs, creeping


@given(scores, st.floats(-3, 3), st.floats(-3, 3), st.booleans())
def test_thresholds_are_strict(score: float, good: float, bad: float, check_finite: bool) -> None:
    """A score at a threshold has not crossed it; NaN crosses none; an infinity crosses those on its side."""
    verdict = threshold_rule(score, stopping_threshold=good, divergence_threshold=bad, check_finite=check_finite)

    assert verdict.reached == (score > good)
    assert verdict.diverged == (score < bad)
    assert verdict.not_finite == (check_finite and not isfinite(score))
    assert verdict.stop == (verdict.reached or verdict.diverged or verdict.not_finite)
    for same in (good, bad):
        assert not threshold_rule(same, stopping_threshold=same, divergence_threshold=same).stop


@given(scores)
def test_no_threshold_never_stops(score: float) -> None:
    """Not even at an infinity."""
    assert not threshold_rule(score).stop


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_a_stop_is_held_back_until_both_minimums_are_done(epoch: int, step: int, epochs: int, steps: int) -> None:
    """The epoch counts from 0, and the current one counts as done."""
    held = held_back(epoch, step, min_epochs=epochs, min_steps=steps)
    assert held == (epoch + 1 < epochs or step < steps)


@given(
    histories, st.integers(0, 3), st.integers(0, 6), st.integers(0, 40), st.integers(0, 4), st.sampled_from([inf, 2.0])
)
def test_the_stop_that_is_held_back_is_asked_anew(
    history: list[float], patience: int, min_epochs: int, min_steps: int, start: int, good: float
) -> None:
    """With minimums the verdicts are those without, but for the stops of the first epochs; the state is the same."""
    options: dict[str, Any] = {"patience": patience, "start_from_epoch": start, "stopping_threshold": good}
    free = held = Patience()
    for epoch, score in enumerate(history):
        free, expected = early_stopping_rule(free, score, epoch, **options)
        minimums = {"min_epochs": min_epochs, "step": 5 * epoch, "min_steps": min_steps}
        held, verdict = early_stopping_rule(held, score, epoch, **minimums, **options)
        assert held == free
        assert verdict == expected._replace(stop=expected.stop and epoch + 1 >= min_epochs and 5 * epoch >= min_steps)
        if epoch < start:
            assert not expected.stop


@given(histories, st.integers(0, 4), deltas)
def test_without_thresholds_it_is_the_rule_of_patience(history: list[float], patience: int, delta: float) -> None:
    """The composed rule adds nothing that is not asked for."""
    one = other = Patience()
    for epoch, score in enumerate(history):
        one, expected = stopping_rule(one, score, epoch, patience=patience, min_delta=delta)
        other, verdict = early_stopping_rule(other, score, epoch, patience=patience, min_delta=delta)
        assert (other, verdict) == (one, expected)


@given(histories, st.integers(0, 4), deltas, st.integers(0, 3))
def test_a_creeping_best_follows_every_better_score(
    history: list[float], patience: int, delta: float, start: int
) -> None:
    """The best is the first maximum of the finite scores that count; an improvement beats the best before by more."""
    best, steps = -inf, stopping(history, patience=patience, min_delta=delta, creeping=True, start_from_epoch=start)
    for epoch, (score, (state, verdict)) in enumerate(zip(history, steps, strict=True)):
        counts = epoch >= start
        assert verdict.improved == (counts and improves(score, best, delta))
        assert verdict.best == (counts and improves(score, best))
        best = score if verdict.best else best
        assert state.best == best
        assert state.best_epoch == (history.index(best, start) if best > -inf else -1)


@given(histories, st.integers(1, 4))
def test_without_a_difference_creeping_changes_nothing(history: list[float], patience: int) -> None:
    """The two kinds of best are the same if min_delta is 0."""
    assert stopping(history, patience=patience, creeping=True) == stopping(history, patience=patience)


@given(st.lists(st.sampled_from([1.0, 2.0, nan]), max_size=20), st.booleans(), st.integers(1, 3))
def test_ties_by_order(history: list[float], newer: bool, patience: int) -> None:
    """With the newer as the better one, an equal score resets the wait and is the best."""
    best = -inf
    for epoch, (score, (state, verdict)) in enumerate(
        zip(history, stopping(history, patience=patience, ties=newer), strict=True)
    ):
        assert verdict.improved == (score > best or (newer and score == best))
        if verdict.improved:
            assert (state.wait, state.best_epoch) == (0, epoch)
            best = score
