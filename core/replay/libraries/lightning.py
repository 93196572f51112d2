"""Lightning's rule of early stopping."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import numpy as np

from trainbus import MonitoredCallback
from trainbus.plugins.frequency import Frequency

from ...rules import StoppingVerdict, where
from ..curves import Curves
from .checkpoints.lightning import LIGHTNING_CHECKPOINTS
from .library import Arguments, Library, LibraryPatience, RuleSpec, bound_of, pick
from .precision import single
from .torch import TORCH


class LightningEarlyStopping(MonitoredCallback):
    """The options of Lightning's EarlyStopping."""

    min_delta: float = 0.0
    patience: int = 3
    check_finite: bool = True
    stopping_threshold: float | None = None
    divergence_threshold: float | None = None


def lightning_stopping_rule(
    state: LibraryPatience,
    score: Any,
    epoch: Any,
    *,
    patience: Any = 3,
    min_delta: Any = 0.0,
    check_finite: Any = True,
    stopping_threshold: Any = inf,
    divergence_threshold: Any = -inf,
    double: Any = False,
) -> tuple[LibraryPatience, StoppingVerdict]:
    """Stop at a score that is not finite, good enough or bad enough, or after ``patience`` scores without improvement.

    An epoch of -1 is ignored. Thresholds are scores, infinite for no threshold. Lightning computes in the precision of
    the metric: single for numbers, which it converts, and for tensors that which they have; ``double`` tells it.

    Source: lightning 2.6.6, ``EarlyStopping._evaluate_stopping_criteria``.
    """

    def rounded(value: Any) -> Any:
        # the difference of two numbers of single precision is the same whether it is rounded once or twice
        return np.where(double, np.float64(value), np.float64(single(value)))

    counts, current = np.asarray(epoch >= 0), rounded(score)
    ends = check_finite & ~np.isfinite(current)
    ends = ends | (current > rounded(stopping_threshold)) | (current < rounded(divergence_threshold))
    with np.errstate(invalid="ignore", over="ignore"):
        better = rounded(current - rounded(min_delta)) > state.best
    improved = counts & ~ends & better
    wait = where(improved, 0, state.wait + (counts & ~ends))
    stop = counts & (ends | (~improved & (wait >= patience)))
    after = LibraryPatience(where(improved, current, state.best), wait, state.seen | counts)
    return after, StoppingVerdict(improved, stop, improved)


def _lightning_stopping(options: Arguments, sign: int) -> dict[str, Any]:
    return {
        **pick(options, "patience", "min_delta", "check_finite"),
        "stopping_threshold": bound_of(options, "stopping_threshold", sign, none=inf),
        "divergence_threshold": bound_of(options, "divergence_threshold", sign, none=-inf),
    }


def _precision(curves: Curves) -> Mapping[str, Any]:
    """Return which runs have logged a value that single precision cannot hold."""
    finite = np.isfinite(curves.scores)
    return {"double": (finite & (single(curves.scores) != curves.scores)).any(axis=1)}


LIGHTNING = Library(
    "lightning",
    "Lightning 2.6",
    RuleSpec(
        LightningEarlyStopping, lightning_stopping_rule, LibraryPatience(), _lightning_stopping, recorded=_precision
    ),
    TORCH.plateau,
    LIGHTNING_CHECKPOINTS,
    looks=Frequency(1, "validation"),
    epoch_notes=("Lightning counts validations: where the record lacks some, its patience is not exact.",),
)
