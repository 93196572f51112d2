"""Lightning's rule is compared with Lightning's own EarlyStopping on the same curves."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from trainbus.replay.libraries.lightning import LightningEarlyStopping

from ..random_curves import SEEDS, random_curve, random_options
from ..recorded import History, finite, histories, logged, modes, outcome


class LightningTrainer:
    """A minimal trainer for Lightning's EarlyStopping."""

    fast_dev_run = False
    world_size = 1
    should_stop = False
    current_epoch = 0

    def __init__(self) -> None:
        self.callback_metrics: dict[str, torch.Tensor] = {}
        self.strategy = self

    def reduce_boolean_decision(self, decision: bool, all: bool) -> bool:  # noqa: A002 - Lightning's own name
        return decision


def in_lightning(history: History, options: dict[str, Any], dtype: torch.dtype) -> tuple[int | None, History]:
    """Return the epoch of the stop, and the values as Lightning logs them."""
    lightning = pytest.importorskip("lightning.pytorch.callbacks", reason="needs trainbus[test-bindings]")
    callback = lightning.EarlyStopping("val_loss", strict=False, **options)
    trainer, stop = LightningTrainer(), None
    values = [None if each is None else torch.tensor(each, dtype=dtype) for each in history]
    for epoch, value in enumerate(values):
        if value is not None and stop is None:
            trainer.callback_metrics["val_loss"] = value
            callback._run_early_stopping_check(trainer)
            stop = epoch if trainer.should_stop else None
    return stop, [None if each is None else each.item() for each in values]


dtypes = st.sampled_from([torch.float32, torch.float64])


@given(
    history=histories.filter(logged),
    dtype=dtypes,
    options=st.fixed_dictionaries(
        {
            "mode": modes,
            "patience": st.integers(0, 4),
            "min_delta": st.sampled_from([0.0, 1e-4, 0.1, 0.5, -0.1]),
            "check_finite": st.booleans(),
            "stopping_threshold": st.none() | finite,
            "divergence_threshold": st.none() | finite,
        }
    ),
)
@example(history=[1.0, math.nan], dtype=torch.float32, options={"mode": "min"})  # check_finite is on by default
@example(history=[0.1 + 1e-9, 0.1, 0.2], dtype=torch.float64, options={"mode": "min", "patience": 0})
def test_early_stopping_as_lightning(history: History, dtype: torch.dtype, options: dict[str, Any]) -> None:
    """Lightning's own EarlyStopping stops in the same epoch, also at what is not finite and at its thresholds."""
    stop, values = in_lightning(history, options, dtype)

    found = outcome(values, LightningEarlyStopping(monitor="val_loss", **options), "lightning")
    assert (found.stop.epoch if found.stop else None) == stop


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_stops_of_lightning_on_random_curves(seeds: range, dtype: torch.dtype) -> None:
    """On each of many curves, Lightning's own EarlyStopping stops in the same epoch, in both precisions."""
    for seed in seeds:
        random = Random(seed)
        choices: dict[str, list[Any]] = {"patience": [0, 0, 1, 3, 10], "min_delta": [0.0, 1e-8, 1e-4, 0.01]}
        choices |= {"mode": ["min", "max"], "check_finite": [True, False]}
        choices |= {"stopping_threshold": [None, None, 0.1], "divergence_threshold": [None, None, 2.0]}
        history, options = random_curve(random), random_options(random, choices)
        stop, values = in_lightning(history, options, dtype)

        found = outcome(values, LightningEarlyStopping(monitor="val_loss", **options), "lightning")
        assert (found.stop.epoch if found.stop else None) == stop, (seed, options)
