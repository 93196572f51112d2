"""What a loop trains for, in numbers and in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.engine.plan import EpochPlan, StepPlan


@given(st.integers(0, 50), st.integers(1, 9), st.integers(1, 60) | st.none())
def test_validations_are_at_multiples_and_at_the_last_step(step: int, every: int, total: int | None) -> None:
    """The next one is the first multiple after the step, or the last step."""
    due = StepPlan(total, every).next_validation(step)
    multiple = next(each for each in range(step + 1, step + every + 1) if each % every == 0)
    assert due == (multiple if total is None else min(multiple, total))


@given(st.integers(1, 20), st.integers(0, 30), st.integers(0, 30))
def test_each_plan_counts_its_own_unit(total: int, epochs: int, step: int) -> None:
    """Nothing is left to train when all epochs, or all steps, are done; without a number there is always more."""
    assert EpochPlan(total).is_done(epochs, step) == (epochs >= total)
    assert StepPlan(total, 5).is_done(epochs, step) == (step >= total)
    assert not EpochPlan().is_done(epochs, step)
    assert not StepPlan(None, 5).is_done(epochs, step)


@given(st.integers(1, 20), st.integers(0, 19), st.integers(0, 30), st.integers(1, 20))
def test_shares_grow_to_the_whole(total: int, epoch: int, batches: int, planned: int) -> None:
    """The bar and the share of the training agree."""
    plan, number = EpochPlan(total), min(epoch, total - 1)
    done, of = plan.share(number, batches, planned, 0) or (0, 1)
    assert plan.position(number, batches, planned, 0) == pytest.approx(total * done / of)
    assert done <= of
    steps = StepPlan(total, 3)
    assert steps.share(number, batches, planned, number) == (number, total)
    assert steps.position(number, batches, planned, number) == number
    assert (
        EpochPlan().share(number, batches, planned, 0) is StepPlan(None, 3).share(number, batches, planned, 0) is None
    )


def test_words() -> None:
    """A plan without an end, and one of a single epoch or step."""
    assert (EpochPlan().heading(2, 0), StepPlan(None, 5).heading(2, 15)) == ("Epoch 3", "Step 15")
    assert (EpochPlan(1).all_done(), EpochPlan(3).all_done()) == ("the epoch is done", "all 3 epochs are done")
    assert (StepPlan(1, 1).all_done(), StepPlan(9, 3).all_done()) == ("the step is done", "all 9 steps are done")
    assert (EpochPlan(3).unit, EpochPlan(3).validate_every, StepPlan(9, 3).unit) == ("epoch", None, "validation")


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 59))
def test_validations_left_are_those_that_come(total: int, every: int, step: int) -> None:
    """One after another, up to the last step."""
    plan, step = StepPlan(total, every), min(step, total - 1)
    coming, now = 0, step
    while now < total:
        now, coming = plan.next_validation(now), coming + 1
    assert plan.validations_left(step) == coming
    assert StepPlan(None, every).validations_left(step) is None
