"""When the learning rate is reduced."""

from math import inf, nan
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainbus.rules import Plateau, improves, plateau_rule, torch_plateau_rule

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


# --- PyTorch's rule

values = st.floats(0, 10) | st.sampled_from([0.0, 1.0, 1.0, 0.9999, 1.0001, 2.0])


def torch_cuts(history: list[float], mode: str, **options: Any) -> list[int]:
    """Return the epochs in which PyTorch's scheduler lowers the rate."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    # With the default eps, the scheduler skips the 27th halving: it would change the rate by less than 1e-8.
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, 0.5, eps=0, **options)  # type: ignore[arg-type]
    cuts = []
    for epoch, value in enumerate(history):
        before = optimizer.param_groups[0]["lr"]
        scheduler.step(value)
        if optimizer.param_groups[0]["lr"] < before:
            cuts.append(epoch)
    return cuts


def own_cuts(history: list[float], mode: str, rule: Any = torch_plateau_rule, **options: Any) -> list[int]:
    """Return the epochs in which a rule reduces."""
    sign, state, cuts = 1 if mode == "max" else -1, Plateau(), []
    for epoch, value in enumerate(history):
        state, verdict = rule(state, sign * value, **options)
        if verdict.reduce:
            cuts.append(epoch)
    return cuts


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@given(
    st.lists(values | st.just(nan), min_size=1, max_size=30),
    st.sampled_from([0.0, 1e-4, 0.1, 0.5]),
    st.integers(0, 4),
    st.integers(0, 4),
)
def test_torch_rule_is_torch(
    mode: str, threshold_mode: str, history: list[float], threshold: float, patience: int, cooldown: int
) -> None:
    """Of values that are not negative, with NaN anywhere, the same epochs reduce."""
    relative = threshold_mode == "rel"
    ours = own_cuts(
        history,
        mode,
        min_delta=0.0 if relative else threshold,
        relative_delta=threshold if relative else 0.0,
        patience=patience,
        cooldown=cooldown,
    )
    assert ours == torch_cuts(
        history, mode, threshold=threshold, threshold_mode=threshold_mode, patience=patience, cooldown=cooldown
    )


@pytest.mark.parametrize("threshold", [0.0, 1e-4, 0.5])
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.integers(0, 3))
def test_with_absolute_thresholds_negative_values_are_equal_too(
    threshold: float, history: list[float], patience: int
) -> None:
    """Only relative thresholds differ below 0."""
    ours = own_cuts(history, "min", min_delta=threshold, relative_delta=0.0, patience=patience)
    assert ours == torch_cuts(history, "min", threshold=threshold, threshold_mode="abs", patience=patience)


def test_what_differs_from_torch() -> None:
    """A worse value of a negative best, and an infinity in the direction of improvement, are no improvements here."""
    falling = [-1.0, -0.95, -0.95, -0.95]
    options: dict[str, Any] = {"patience": 0, "threshold": 0.1, "threshold_mode": "rel"}
    assert torch_cuts(falling[:2], "min", **options) == []  # -0.95 is worse than -1, but below -1 * 0.9
    assert own_cuts(falling[:2], "min", relative_delta=0.1, patience=0) == [1]

    infinite = [1.0, -inf, 0.5, 0.4]
    assert torch_cuts(infinite, "min", patience=0) == [2, 3]  # nothing is below -inf
    assert own_cuts(infinite, "min", patience=0) == [1]


@given(st.lists(values, min_size=1, max_size=30), st.integers(0, 4), st.integers(0, 4))
def test_keras_and_torch_count_with_a_difference_of_one(history: list[float], patience: int, cooldown: int) -> None:
    """Where the rate is above its floor, torch's patience and cooldown are those of Keras, less one."""
    torch_like = own_cuts(history, "min", min_delta=0.0, relative_delta=0.0, patience=patience, cooldown=cooldown)
    keras_like = own_cuts(history, "min", plateau_rule, min_delta=0.0, patience=patience + 1, cooldown=cooldown + 1)
    assert torch_like == keras_like


@pytest.mark.parametrize("rule", [plateau_rule, torch_plateau_rule])
@given(histories, st.integers(0, 4), deltas, st.booleans())
def test_the_best_creeps_only_if_asked(
    rule: Any, history: list[float], patience: int, delta: float, creeping: bool
) -> None:
    """Creeping, the best is that of all finite scores; an improvement is one by more than min_delta all the same."""
    state, best = Plateau(), -inf
    options = {"min_delta": delta, "relative_delta": 0.0, "patience": patience, "creeping": creeping}
    for score in history:
        enough = improves(score, best + delta) if rule is torch_plateau_rule else improves(score, best, delta)
        state, verdict = rule(state, score, **options)
        assert verdict.improved == enough
        best = score if (improves(score, best) if creeping else enough) else best
        assert state.best == best
        assert verdict.best == (enough or (creeping and state.best == score and verdict.best))


@pytest.mark.parametrize("rule", [plateau_rule, torch_plateau_rule])
@given(st.lists(st.sampled_from([1.0, 2.0]), min_size=2, max_size=20), st.booleans())
def test_equal_scores_wait_unless_the_newer_one_is_better(rule: Any, history: list[float], newer: bool) -> None:
    """With ``ties``, an equal score is an improvement if min_delta is 0."""
    state, best = Plateau(), -inf
    for score in history:
        state, verdict = rule(state, score, min_delta=0.0, relative_delta=0.0, patience=9, ties=newer)
        assert verdict.improved == (score > best or (newer and score == best))
        best = max(best, score)
