"""Keras's rules of early stopping and of reducing the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt

from trainbus import MonitoredCallback

from ...rules import PlateauVerdict, StoppingVerdict, count_as_keras, where
from .checkpoints.keras import KERAS_CHECKPOINTS
from .library import Arguments, Library, LibraryPatience, RuleSpec, bound_of, pick
from .precision import single


class KerasEarlyStopping(MonitoredCallback):
    """The options of Keras's EarlyStopping."""

    min_delta: float = 0.0
    patience: NonNegativeInt = 0
    baseline: float | None = None
    restore_best_weights: bool = False
    start_from_epoch: NonNegativeInt = 0

    def epoch_options(self) -> Mapping[str, str]:
        """Return ``start_from_epoch``; Keras has nothing that counts steps in its place."""
        start = self.start_from_epoch
        return {f"start_from_epoch={start}": "leave it out"} if start else {}


class KerasReduceLROnPlateau(MonitoredCallback):
    """The options of Keras's ReduceLROnPlateau."""

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: NonNegativeInt = 10
    min_delta: Annotated[float, AfterValidator(abs)] = 1e-4
    cooldown: NonNegativeInt = 0
    min_lr: NonNegativeFloat = 0.0


def keras_stopping_rule(
    state: LibraryPatience,
    score: Any,
    epoch: Any,
    *,
    patience: Any = 0,
    min_delta: Any = 0.0,
    baseline: Any = nan,
    start_from_epoch: Any = 0,
) -> tuple[LibraryPatience, StoppingVerdict]:
    """Step trainbus's rule in single precision; the first score is the best even if it is NaN.

    A ``baseline`` of NaN means no baseline.

    Source: keras 3.15.1, ``EarlyStopping.on_epoch_end``.
    """
    counts = np.asarray(epoch >= start_from_epoch)
    lowered = single(score - min_delta)
    improved = counts & (~np.asarray(state.seen) | (lowered > single(state.best)))
    resets = improved & (np.isnan(baseline) | (lowered > single(baseline)))
    wait = where(resets, 0, state.wait + counts)
    stop = counts & ~improved & (wait >= patience) & (epoch > 0)
    after = LibraryPatience(where(improved, score, state.best), wait, state.seen | counts)
    return after, StoppingVerdict(improved, stop, improved)


class KerasPlateau(NamedTuple):
    """The state of Keras's ReduceLROnPlateau."""

    best: Any = -inf
    wait: Any = 0
    cooldown: Any = 0
    seen: Any = False


def keras_plateau_rule(
    state: KerasPlateau,
    score: Any,
    *,
    patience: Any = 10,
    min_delta: Any = 1e-4,
    cooldown: Any = 0,
    reducible: Any = True,
) -> tuple[KerasPlateau, PlateauVerdict]:
    """Step trainbus's rule in single precision; the first score is the best even if it is NaN.

    Source: keras 3.15.1, ``ReduceLROnPlateau.on_epoch_end``.
    """
    improved = ~np.asarray(state.seen) | (single(score - min_delta) > single(state.best))
    count = count_as_keras(
        state.wait, state.cooldown, improved, patience=patience, cooldown=cooldown, reducible=reducible
    )
    best = where(improved, score, state.best)
    after = KerasPlateau(best, count.wait, count.cooldown, np.asarray(True))  # noqa: FBT003
    return after, PlateauVerdict(improved, count.reduce, improved)


def _keras_stopping(options: Arguments, sign: int) -> dict[str, Any]:
    baseline = bound_of(options, "baseline", sign, none=nan)
    return {
        **pick(options, "patience", "start_from_epoch"),
        "min_delta": abs(options["min_delta"]),
        "baseline": baseline,
    }


def _keras_plateau(options: Arguments, _: int) -> dict[str, Any]:
    return pick(options, "patience", "min_delta", "cooldown")


def _stored(rate: Any) -> Any:
    """Return a rate as Keras's optimizers hold it: in single precision."""
    return np.float64(single(rate))


KERAS = Library(
    "keras",
    "Keras 3.15",
    RuleSpec(KerasEarlyStopping, keras_stopping_rule, LibraryPatience(), _keras_stopping),
    RuleSpec(KerasReduceLROnPlateau, keras_plateau_rule, KerasPlateau(), _keras_plateau, _stored, takes_reducible=True),
    KERAS_CHECKPOINTS,
)
