"""PyTorch's rule is compared with PyTorch's own scheduler on the same curves."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins import ReduceLROnPlateau
from trainbus.replay.libraries.torch import TorchReduceLROnPlateau

from ..random_curves import SEEDS, random_curve, random_options
from ..recorded import History, histories, logged, modes, outcome


def in_torch(history: History, options: dict[str, Any]) -> tuple[list[float], list[int]]:
    """Return the rate of each epoch, and the epochs that reduce it."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    rates, reduced = [], []
    for epoch, value in enumerate(history):
        before = optimizer.param_groups[0]["lr"]
        rates.append(before)
        if value is not None:
            scheduler.step(value)
        if optimizer.param_groups[0]["lr"] < before:
            reduced.append(epoch)
    return rates, reduced


@given(
    history=histories.filter(logged),
    options=st.fixed_dictionaries(
        {
            "mode": modes,
            "factor": st.sampled_from([0.1, 0.5]),
            "patience": st.integers(0, 3),
            "threshold": st.sampled_from([0.0, 1e-4, 0.1, 1.0]),
            "threshold_mode": st.sampled_from(["rel", "abs"]),
            "cooldown": st.integers(0, 3),
            "min_lr": st.sampled_from([0.0, 0.01, 0.1]),
            "eps": st.sampled_from([1e-8, 0.04]),
        }
    ),
)
def test_plateaus_as_torch(history: History, options: dict[str, Any]) -> None:
    """PyTorch's scheduler reduces in the same epochs, also with relative thresholds."""
    rates, reduced = in_torch(history, options)

    found = outcome(history, TorchReduceLROnPlateau(monitor="val_loss", **options), "torch", rates)
    assert [each.epoch for each in found.cuts] == reduced


def test_patience_counts_differ_by_one() -> None:
    """Torch reduces one epoch later than Keras for the same patience."""
    history = [1.0] * 8
    callback = ReduceLROnPlateau(monitor="val_loss", patience=2)

    assert [outcome(history, callback, by).cuts[0].epoch for by in ("keras", "torch")] == [2, 3]


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("recorded", ["the same cuts", "no cut"])
def test_the_cuts_of_torch_on_random_curves(seeds: range, recorded: str) -> None:
    """All of them, down to the floor, also if the recorded run had a constant rate."""
    for seed in seeds:
        random = Random(seed)
        history = random_curve(random)
        choices: dict[str, list[Any]] = {"patience": [0, 1, 2, 3], "cooldown": [0, 1, 3], "mode": ["min", "max"]}
        choices |= {"threshold": [0.0, 1e-4, 0.01], "threshold_mode": ["rel", "abs"], "eps": [1e-8, 0.01]}
        choices |= {"factor": [0.1, 0.5, 0.3, 0.9], "min_lr": [0.0, 1e-3, 0.05, 0.1, 1e-6]}
        options = random_options(random, choices)
        rates, reduced = in_torch(history, options)
        told = rates if recorded == "the same cuts" else [rates[0]] * len(history)

        found = outcome(history, TorchReduceLROnPlateau(monitor="val_loss", **options), "torch", told)
        assert [each.epoch for each in found.cuts] == reduced, (seed, options)
