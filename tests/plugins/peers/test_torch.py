"""ReduceLROnPlateau with ``rule="torch"`` cuts as PyTorch's scheduler does, stepped beside it in one training.

By design they differ: of a negative best value, a relative threshold asks for a better value, and an infinity is never
the best.
"""

from __future__ import annotations

from math import inf, nan
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run
from trainbus.adapters.torch import TorchSubject
from trainbus.plugins import ReduceLROnPlateau

Mode = Literal["min", "max"]
not_negative = st.floats(0, 5) | st.sampled_from([0.0, 1.0, 1.0, 0.9999, 1.0001, 1000.0, 1000.09, 1e-4, nan])
negative = st.floats(-5, 5) | st.sampled_from([-1.0, -1.0, 0.0, -1.0001, nan])


def beside(history: list[float], mode: Mode, own: dict[str, Any], its: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the rates after each epoch, ours and PyTorch's, of an optimizer with two groups each."""

    def optimizer() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        model = torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(2))
        groups = [{"params": part.parameters(), "lr": rate} for part, rate in zip(model, (1.0, 0.3), strict=True)]
        return model, torch.optim.SGD(groups)

    _, other = optimizer()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(other, mode, **its)
    theirs: list[Any] = []
    for value in history:
        scheduler.step(value)
        theirs.append([group["lr"] for group in other.param_groups])
    model, mine = optimizer()
    callback = ReduceLROnPlateau(monitor="score", mode=mode, rule="torch", **own)
    ours: list[Any] = []
    with Run(TorchSubject(model, mine), callback) as run:
        for epoch in run.epochs(len(history)):
            if epoch:
                ours.append([group["lr"] for group in mine.param_groups])
            run.log(score=history[epoch])
    return [*ours, [group["lr"] for group in mine.param_groups]], theirs


@pytest.mark.parametrize("mode", ["min", "max"])
@given(
    st.lists(not_negative, min_size=1, max_size=15),
    st.sampled_from([0.0, 1e-4, 0.1]),
    st.integers(0, 2),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.2]),
)
def test_relative_thresholds(
    mode: Mode, history: list[float], threshold: float, patience: int, cooldown: int, floor: float
) -> None:
    """The default of both; the same rates to the bit after every epoch."""
    shared: dict[str, Any] = {"factor": 0.5, "patience": patience, "cooldown": cooldown, "min_lr": floor, "eps": 1e-8}
    ours, theirs = beside(history, mode, {**shared, "min_delta": threshold}, {**shared, "threshold": threshold})

    assert ours == theirs


@pytest.mark.parametrize("mode", ["min", "max"])
@given(st.lists(negative, min_size=1, max_size=15), st.sampled_from([0.0, 1e-4, 0.5]), st.integers(0, 2))
def test_absolute_thresholds_of_negative_values(
    mode: Mode, history: list[float], threshold: float, patience: int
) -> None:
    """Losses below 0, NaN among them."""
    own: dict[str, Any] = {"patience": patience, "min_delta": threshold, "min_delta_mode": "abs", "eps": 1e-8}
    its: dict[str, Any] = {"patience": patience, "threshold": threshold, "threshold_mode": "abs"}
    ours, theirs = beside(history, mode, own, its)

    assert ours == theirs


@pytest.mark.parametrize("mode", ["min", "max"])
@given(
    st.lists(not_negative, min_size=1, max_size=20),
    st.tuples(st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0.0, 0.01, 0.2, 0.3])),
    st.sampled_from([0.0, 1e-8, 0.04, 0.3]),
    st.integers(0, 1),
)
def test_a_floor_for_each_group_and_a_smallest_change(
    mode: Mode, history: list[float], floors: tuple[float, float], eps: float, patience: int
) -> None:
    """``min_lr=[...]`` is a mapping; a rate that a cut would lower by no more than ``eps`` stays."""
    shared: dict[str, Any] = {"factor": 0.5, "patience": patience, "eps": eps}
    own = {f"learning_rate/{number}": floor for number, floor in enumerate(floors)}
    ours, theirs = beside(history, mode, {**shared, "min_lr": own}, {**shared, "min_lr": list(floors)})

    assert ours == theirs


def test_the_defaults_of_both_are_equal() -> None:
    """Patience 10, factor 0.1, threshold 1e-4, relative."""
    history = [1.0, *[0.99995] * 30]
    ours, theirs = beside(history, "min", {"eps": 1e-8}, {})

    assert ours == theirs
    assert ours[-1] == pytest.approx([0.01, 0.003])


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1000.0])
def test_a_relative_threshold_has_the_scale_of_the_loss(scale: float) -> None:
    """Falling by 0.005 % in each epoch is a plateau at any scale; Keras's absolute 1e-4 sees it only below 2."""
    history = [scale * (1 - 5e-5) ** epoch for epoch in range(6)]
    ours, theirs = beside(history, "min", {"patience": 1, "eps": 0}, {"patience": 1, "eps": 0})
    assert ours == theirs

    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    with Run(TorchSubject(model, optimizer), ReduceLROnPlateau(monitor="score", mode="min", patience=2)) as run:
        for epoch in run.epochs(6):
            run.log(score=history[epoch])
    assert (optimizer.param_groups[0]["lr"] == 1.0) == (scale == 1000.0)


@pytest.mark.parametrize(
    ("history", "ours", "theirs"),
    [
        ([-1.0, -0.95, -0.92], 2, 0),  # each is worse than -1; PyTorch asks only for less than -0.9
        ([1.0, -inf, 0.5, 0.25], 1, 2),  # PyTorch keeps -inf as the best value for ever
    ],
)
def test_what_differs(history: list[float], ours: int, theirs: int) -> None:
    """By design; the number of cuts."""
    mine, its = beside(
        history,
        "min",
        {"patience": 0, "min_delta": 0.1, "factor": 0.5},
        {"patience": 0, "threshold": 0.1, "factor": 0.5},
    )

    assert (mine[-1][0], its[-1][0]) == (0.5**ours, 0.5**theirs)
