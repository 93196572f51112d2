"""PyTorch's rule of reducing the learning rate."""

from __future__ import annotations

from math import nan
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from trainbus import MonitoredCallback
from trainbus.plugins.rate_groups import Floors
from trainbus.rules import Plateau

from ...rules import PlateauVerdict, count_as_torch, where
from .library import Arguments, Library, RuleSpec, limit_of, pick, threshold_of
from .own import TRAINBUS


class TorchReduceLROnPlateau(MonitoredCallback):
    """The options of PyTorch's ReduceLROnPlateau."""

    factor: Annotated[float, Field(lt=1)] = 0.1
    patience: NonNegativeInt = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: NonNegativeInt = 0
    min_lr: Floors = 0.0
    eps: NonNegativeFloat = 1e-8


def torch_plateau_rule(
    state: Plateau,
    score: Any,
    *,
    patience: Any = 10,
    threshold: Any = 1e-4,
    scale: Any = nan,
    cooldown: Any = 0,
) -> tuple[Plateau, PlateauVerdict]:
    """Reduce after more than ``patience`` scores without improvement, then pause for ``cooldown`` epochs.

    A relative threshold is given as ``scale``, a factor of the best; NaN if the threshold is absolute. The rule
    reduces and pauses even if the rate is at its floor.

    Source: torch 2.13, ``torch.optim.lr_scheduler.ReduceLROnPlateau.step``.
    """
    with np.errstate(invalid="ignore"):
        improved: Any = np.asarray(score > limit_of(state.best, threshold, scale))
    count = count_as_torch(state.wait, state.cooldown, improved, patience=patience, cooldown=cooldown)
    after = Plateau(where(improved, score, state.best), count.wait, count.cooldown)
    return after, PlateauVerdict(improved, count.reduce, improved)


def torch_plateau_arguments(options: Arguments, sign: int) -> dict[str, Any]:
    """Return the options as arguments of ``torch_plateau_rule``.

    Args:
        options: The options by name.
        sign: 1 if higher is better, else -1.
    """
    return {**pick(options, "patience", "cooldown"), **threshold_of(options, sign)}


TORCH = Library(
    "torch",
    "PyTorch 2.13",
    TRAINBUS.stopping,
    RuleSpec(TorchReduceLROnPlateau, torch_plateau_rule, Plateau(), torch_plateau_arguments),
    notes=("PyTorch has no EarlyStopping: stops follow trainbus's rule.",),
)
