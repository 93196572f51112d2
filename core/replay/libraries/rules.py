"""The rules of other libraries that differ from trainbus's own rules.

As in ``trainbus.rules``, each rule is a function (state, observation) -> (state, verdict) without branches, so that it
steps one run or thousands at once. A higher score is better. If lower values of a metric are better, its score is the
negated value, which IEEE arithmetic represents exactly. Relative thresholds are not symmetric, so the caller converts
them. A differential test compares each rule with the real class of the library.
"""

from __future__ import annotations

from math import inf, nan
from typing import Any, NamedTuple

import numpy as np

from ...rules import Plateau, PlateauVerdict, StoppingVerdict, count_as_keras, count_as_torch, where


def _single(value: Any) -> Any:
    """Return the value in single precision, in which Keras and Lightning compare."""
    with np.errstate(over="ignore"):
        return np.asarray(value, dtype=np.float64).astype(np.float32)


class LibraryPatience(NamedTuple):
    """State of early stopping in another library: best score, epochs since then, and whether it has seen a score."""

    best: Any = -inf
    wait: Any = 0
    seen: Any = False
    """Whether there was a score; for Keras and Ignite the first score becomes the best, even if it is NaN."""


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
    lowered = _single(score - min_delta)
    improved = counts & (~np.asarray(state.seen) | (lowered > _single(state.best)))
    resets = improved & (np.isnan(baseline) | (lowered > _single(baseline)))
    wait = where(resets, 0, state.wait + counts)
    stop = counts & ~improved & (wait >= patience) & (epoch > 0)
    after = LibraryPatience(where(improved, score, state.best), wait, state.seen | counts)
    return after, StoppingVerdict(improved, stop, improved)


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
) -> tuple[LibraryPatience, StoppingVerdict]:
    """Stop at a score that is not finite, good enough or bad enough, or after ``patience`` scores without improvement.

    Scores are in single precision, as Lightning logs them. An epoch of -1 is ignored. Thresholds are scores, infinite
    for no threshold.

    Source: lightning 2.6.6, ``EarlyStopping._evaluate_stopping_criteria``.
    """
    counts, current = np.asarray(epoch >= 0), _single(score)
    ends = check_finite & ~np.isfinite(current)
    ends = ends | (current > _single(stopping_threshold)) | (current < _single(divergence_threshold))
    with np.errstate(invalid="ignore", over="ignore"):
        better = current - _single(min_delta) > state.best
    improved = counts & ~ends & better
    wait = where(improved, 0, state.wait + (counts & ~ends))
    stop = counts & (ends | (~improved & (wait >= patience)))
    after = LibraryPatience(where(improved, current, state.best), wait, state.seen | counts)
    return after, StoppingVerdict(improved, stop, improved)


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
        stalled = counts & seen & (score <= _limit(state.best, threshold, scale))
        higher: Any = np.maximum(score, state.best)
    raised = where(np.asarray(cumulative), state.best, higher)
    improved = counts & ~stalled
    wait = where(improved, 0, state.wait + stalled)
    best = where(improved, score, where(stalled, raised, state.best))
    verdict = StoppingVerdict(improved, stalled & (wait >= patience), improved | (stalled & (best != state.best)))
    return LibraryPatience(best, wait, seen | counts), verdict


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
    improved = ~np.asarray(state.seen) | (_single(score - min_delta) > _single(state.best))
    count = count_as_keras(
        state.wait, state.cooldown, improved, patience=patience, cooldown=cooldown, reducible=reducible
    )
    best = where(improved, score, state.best)
    after = KerasPlateau(best, count.wait, count.cooldown, np.asarray(True))  # noqa: FBT003
    return after, PlateauVerdict(improved, count.reduce, improved)


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
        improved: Any = np.asarray(score > _limit(state.best, threshold, scale))
    count = count_as_torch(state.wait, state.cooldown, improved, patience=patience, cooldown=cooldown)
    after = Plateau(where(improved, score, state.best), count.wait, count.cooldown)
    return after, PlateauVerdict(improved, count.reduce, improved)


def _limit(best: Any, threshold: Any, scale: Any) -> Any:
    """Return the score that an improvement must exceed; with a ``scale``, the threshold is relative."""
    return where(np.isnan(scale), best + threshold, best * np.asarray(scale))
