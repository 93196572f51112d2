"""Ignite's rules of early stopping and of reducing the learning rate."""

from __future__ import annotations

from math import nan
from typing import Any, Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from trainbus import MonitoredCallback
from trainbus.rules import Plateau

from ...rules import StoppingVerdict, where
from .library import Arguments, Library, LibraryPatience, RuleSpec, limit_of, pick, threshold_of
from .torch import TorchReduceLROnPlateau, torch_plateau_arguments, torch_plateau_rule


class IgniteEarlyStopping(MonitoredCallback):
    """The options of Ignite's EarlyStopping."""

    patience: PositiveInt
    threshold: NonNegativeFloat = 0.0
    threshold_mode: Literal["abs", "rel"] = "abs"
    cumulative: bool = False


class IgniteReduceLROnPlateau(TorchReduceLROnPlateau):
    """The options of Ignite's ReduceLROnPlateauScheduler, which passes all but ``min_lr`` on to PyTorch's."""


def ignite_stopping_rule(
    state: LibraryPatience,
    score: Any,
    epoch: Any,
    *,
    patience: Any,
    threshold: Any = 0.0,
    scale: Any = nan,
    cumulative: Any = False,
) -> tuple[LibraryPatience, StoppingVerdict]:
    """Stop after ``patience`` scores that do not improve; NaN counts as an improvement.

    A score above the best that is too small an improvement still raises the best, unless ``cumulative``. A relative
    threshold is given as ``scale``, a factor of the best; NaN if the threshold is absolute. An epoch of -1 is ignored.

    Source: pytorch-ignite 0.5.5, ``EarlyStopping.__call__``.
    """
    counts, seen = np.asarray(epoch >= 0), np.asarray(state.seen)
    with np.errstate(invalid="ignore"):
        stalled = counts & seen & (score <= limit_of(state.best, threshold, scale))
        higher: Any = np.maximum(score, state.best)
    raised = where(np.asarray(cumulative), state.best, higher)
    improved = counts & ~stalled
    wait = where(improved, 0, state.wait + stalled)
    best = where(improved, score, where(stalled, raised, state.best))
    verdict = StoppingVerdict(improved, stalled & (wait >= patience), improved | (stalled & (best != state.best)))
    return LibraryPatience(best, wait, seen | counts), verdict


def _ignite_stopping(options: Arguments, sign: int) -> dict[str, Any]:
    return {**pick(options, "patience", "cumulative"), **threshold_of(options, sign)}


IGNITE = Library(
    "ignite",
    "Ignite 0.5",
    RuleSpec(IgniteEarlyStopping, ignite_stopping_rule, LibraryPatience(), _ignite_stopping),
    RuleSpec(IgniteReduceLROnPlateau, torch_plateau_rule, Plateau(), torch_plateau_arguments, has_floor=False),
)
