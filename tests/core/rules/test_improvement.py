"""What counts as better than the best so far."""

from math import inf, isfinite, nan, nextafter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainbus.rules import Best, Comparison, Patience, best_rule, breaks_tie, compare, improves

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


# --- relative differences, ties, second scores

positive = st.floats(0, 1e300, allow_subnormal=True)
fractions = st.sampled_from([1e-4, 1e-2, 0.1, 0.5, 0.999]) | st.floats(0, 1, exclude_max=True)


def torch_is_better(mode: str, threshold_mode: str, threshold: float, value: float, best: float) -> bool:
    """Ask PyTorch itself."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    scheduler: Any = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode,
        threshold=threshold,
        threshold_mode=threshold_mode,  # type: ignore[arg-type]
    )
    scheduler.best = best
    better = getattr(scheduler, "_is_better", None) or scheduler.is_better
    return bool(better(value, best))


@pytest.mark.parametrize("mode", ["min", "max"])
@given(positive, fractions, st.data())
def test_a_relative_difference_is_that_of_torch_to_the_bit(mode: str, best: float, fraction: float, data: Any) -> None:
    """Also for the limit itself and the numbers next to it, if the best value is not negative."""
    limit = best * (1 - fraction) if mode == "min" else best * (1 + fraction)
    near = [limit, nextafter(limit, -inf), nextafter(limit, inf), best]
    value = data.draw(st.sampled_from([each for each in near if isfinite(each)]) | st.floats(-1e3, 1e3))
    sign = 1 if mode == "max" else -1

    ours = improves(sign * value, sign * best, relative_delta=fraction)

    assert ours == torch_is_better(mode, "rel", fraction, value, best)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("best", [-1.0, -1000.0, -1e-4])
def test_of_a_negative_best_torch_calls_a_worse_value_better(mode: str, fraction: float, best: float) -> None:
    """Here a value is better only if it is better by the fraction of the magnitude."""
    sign = 1 if mode == "max" else -1
    worse, better = best - sign * abs(best) * fraction / 2, best + sign * abs(best) * fraction * 1.5

    assert torch_is_better(mode, "rel", fraction, worse, best)
    assert not improves(sign * worse, sign * best, relative_delta=fraction)
    assert not improves(sign * best, sign * best, relative_delta=fraction)
    assert improves(sign * better, sign * best, relative_delta=fraction)


@given(scores, scores, fractions)
def test_what_improves_by_a_fraction_improves(score: float, reference: float, fraction: float) -> None:
    """A relative difference asks for more, never for less, and a fraction of 0 for nothing more."""
    relative = improves(score, reference, relative_delta=fraction)
    assert improves(score, reference) or not relative
    assert improves(score, reference, relative_delta=0.0) == improves(score, reference)


@given(scores, scores, deltas, fractions)
def test_only_finite_scores_improve_with_any_option(score: float, reference: float, delta: float, rel: float) -> None:
    """NaN and the infinities never do, whatever the reference; a reference of NaN is never exceeded."""
    found = {improves(score, reference, delta, ties=True), improves(score, reference, relative_delta=rel, ties=True)}
    if not isfinite(score) or reference != reference:
        assert found == {False}
    if isfinite(score) and reference == -inf:
        assert found == {True}


@given(scores, scores, deltas)
def test_ties_add_exactly_the_limit(score: float, reference: float, delta: float) -> None:
    """With ties, ``>`` becomes ``>=``."""
    strict, loose = improves(score, reference, delta), improves(score, reference, delta, ties=True)
    assert loose == (strict or (isfinite(score) and score - delta == reference))


def better_than(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether one pair of scores replaces the other as the best."""
    return bool(best_rule(Best(other[0], 0, other[1]), one[0], 1, second=one[1])[1])


def rank(pair: tuple[float, float]) -> tuple[float, float]:
    """A score that is not finite counts as the lowest."""
    first, second = (each if isfinite(each) else -inf for each in pair)
    return first, second


few = st.sampled_from([0.0, 1.0, 2.0, nan, inf, -inf])


@given(st.tuples(st.sampled_from([0.0, 1.0, 2.0]), few), st.tuples(st.sampled_from([0.0, 1.0, 2.0]), few))
def test_scores_with_a_second_are_in_the_order_of_pairs(one: tuple[float, float], other: tuple[float, float]) -> None:
    """A total order: lexicographic, and a second score that is not finite is the lowest."""
    assert better_than(one, other) == (rank(one) > rank(other))


@given(st.lists(st.tuples(few, few), min_size=1, max_size=20), st.booleans())
def test_the_best_is_the_highest_pair_at_its_first_or_last_epoch(
    history: list[tuple[float, float]], newer: bool
) -> None:
    """``ties`` decides between pairs that are equal in both."""
    state = Best()
    for epoch, (score, second) in enumerate(history):
        state, _ = best_rule(state, score, epoch, second=second, ties=newer)

    finite = [(rank(pair), epoch) for epoch, pair in enumerate(history) if isfinite(pair[0])]
    if not finite:
        assert state == Best()
        return
    highest = max(pair for pair, _ in finite)
    epochs = [epoch for pair, epoch in finite if pair == highest]
    assert state.epoch == epochs[-1 if newer else 0]
    assert rank((state.score, state.second)) == highest


@given(few, few, st.booleans())
def test_of_two_different_second_scores_exactly_one_breaks_the_tie(one: float, other: float, ties: bool) -> None:
    """Without NaN surprises: swapping the two swaps the answer."""
    there, back = breaks_tie(one, other, ties), breaks_tie(other, one, ties)
    equal = rank((0, one)) == rank((0, other))
    assert {there, back} == ({ties} if equal else {True, False})


@given(few, few, few, few, deltas, st.booleans(), st.booleans(), st.booleans())
def test_a_comparison_says_what_improves_and_what_is_best(
    score: float, second: float, best: float, before: float, delta: float, ties: bool, creeping: bool, counts: bool
) -> None:
    """An improvement is the best, a creeping best need not improve, and a score that does not count changes nothing."""
    state = Patience(best, second=before)
    found = compare(state, score, second, best, min_delta=delta, ties=ties, creeping=creeping, counts=counts)
    tie = breaks_tie(second, before, ties)
    enough, better = improves(score, best, delta, ties=tie), improves(score, best, ties=tie)

    assert found.improved == (counts and enough)
    assert found.is_best == (counts and (better if creeping else enough))
    kept = (score, second) if found.is_best else (best, before)
    assert repr((found.best, found.second)) == repr(kept)


@given(few, few, few, few, st.booleans())
def test_without_a_difference_a_comparison_is_the_best_rule(
    score: float, second: float, best: float, before: float, ties: bool
) -> None:
    """Then an improvement and the best are the same."""
    found = compare(Patience(best, second=before), score, second, best, ties=ties, creeping=True)
    state, improved = best_rule(Best(best, 0, before), score, 1, second=second, ties=ties)

    assert repr(found) == repr(Comparison(improved, improved, state.score, state.second))
