"""Copies of schedulers follow them from the present rates on, and touch nothing of theirs."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from trainbus.adapters.torch.rates.schedules import ParallelSchedules, flat

from .test_learning_rates import SCHEDULERS, rates_of, sgd

pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step", "ignore:The epoch parameter in")


@pytest.mark.covering(1)
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("tensors", [False, True], ids=["numbers", "tensors"])
@given(before=st.integers(0, 6), after=st.integers(0, 8))
def test_a_copy_gives_the_rates_that_the_scheduler_would_have_given(
    name: str, tensors: bool, before: int, after: int
) -> None:
    """Whatever happens to the rates of the scheduler itself, of which it changes nothing."""
    optimizer, plain = (sgd(*map(torch.tensor, (0.1, 0.02)) if tensors else (0.1, 0.02), momentum=0.9) for _ in "ab")
    scheduler, plain_scheduler = SCHEDULERS[name](optimizer), SCHEDULERS[name](plain)
    for _ in range(before):
        scheduler.step()
        plain_scheduler.step()
    state = copy.deepcopy(scheduler.state_dict()) if name not in ("SequentialLR", "ChainedScheduler") else {}
    parallel = ParallelSchedules({"only": optimizer}, [scheduler])
    parallel.advance()
    assert rates_of(optimizer) == rates_of(plain)
    assert not state or str(scheduler.state_dict()) == str(state)
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * 0.01
    for _ in range(after):
        scheduler.step()
        plain_scheduler.step()
    parallel.advance()

    assert parallel.known
    assert [parallel.rate("only", group) for group in (0, 1)] == pytest.approx(rates_of(plain), rel=1e-6)


def test_torchs_own_plateau_is_left_out() -> None:
    """It needs metrics to step, and only lowers the rate."""
    optimizer = sgd(0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    parallel = ParallelSchedules({"only": optimizer}, [scheduler])
    for _ in range(3):
        scheduler.step(1.0)
    parallel.advance()

    assert (parallel.known, parallel.rate("only", 0)) == (True, 0.1)
    assert rates_of(optimizer) != [0.1]


class Broken(lr_scheduler.LRScheduler):
    """A user's scheduler that fails in its copy."""

    def get_lr(self) -> Any:
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            raise TypeError
        return self.base_lrs


class Uncopied(Broken):
    """A user's scheduler that cannot be copied."""

    def __copy__(self) -> Any:
        raise TypeError


@pytest.mark.parametrize("kind", [Broken, Uncopied])
def test_what_cannot_be_followed_is_unknown(kind: Any) -> None:
    """No rate is claimed for it."""
    optimizer = sgd(0.1)
    scheduler = kind(optimizer)
    parallel = ParallelSchedules({"only": optimizer}, [scheduler])
    scheduler.step()
    parallel.advance()

    assert not parallel.known


def test_a_scheduler_that_was_set_to_a_place_is_unknown() -> None:
    """Its copy would be elsewhere."""
    optimizer = sgd(0.1)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    parallel = ParallelSchedules({"only": optimizer}, [scheduler])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler.step(7)  # type: ignore[arg-type, unused-ignore]
    parallel.advance()

    assert not parallel.known


def test_schedulers_inside_others_are_listed_after_them() -> None:
    """Also of other optimizers, whose schedules are not followed."""
    optimizer = sgd(0.1)
    inside = [lr_scheduler.ConstantLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    chained = lr_scheduler.ChainedScheduler(inside, optimizer)

    assert list(flat([chained])) == [chained, *inside]
    parallel = ParallelSchedules({"other": sgd(0.5)}, [chained])
    chained.step()
    parallel.advance()
    assert (parallel.known, parallel.rate("other", 0)) == (True, 0.5)
