"""A rule stepped over all runs at once, and over as many policies as there are rows in what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .curves import Curves
from .library_settings import Plateaus, Stops
from .rates import Rates

__all__ = ["Cuts", "Stopped", "cuts", "stopped"]


class Stopped(NamedTuple):
    """Where a policy stops each run."""

    column: NDArray[np.int64]
    """The column of the value at which it stops, -1 where it does not; [run], or [policy, run]."""
    improved: NDArray[np.bool_] | None = None
    """Which values were improvements up to there, [column, run]; only where it was asked for."""


def stopped(curves: Curves, stops: Stops, options: Mapping[str, Any], *, improvements: bool = False) -> Stopped:
    """Where runs stop under these options, each a number or a column of numbers with a row for each policy."""
    arguments = stops.arguments(options, curves.sign)
    runs, columns = curves.scores.shape
    state = stops.begin
    shape = np.broadcast_shapes((runs,), *(np.shape(each) for each in arguments.values()))
    found = np.full(shape, -1, dtype=np.int64)
    improved = np.zeros((columns, *shape), dtype=np.bool_) if improvements else None
    scores, epochs = np.ascontiguousarray(curves.scores.T), np.ascontiguousarray(curves.epochs.T)
    for column in range(columns):
        state, verdict = stops.rule(state, scores[column], epochs[column], **arguments)
        running = found < 0
        if improved is not None:
            improved[column] = verdict.improved & running
        found[running & verdict.stop] = column
        if not running.any():
            break
    return Stopped(found, improved)


class Cuts(NamedTuple):
    """Where a learning rate is reduced."""

    cut: NDArray[np.bool_]
    """Which values brought a reduction, [run, column]."""
    recorded: NDArray[np.bool_]
    """Which of these the recorded rates show as well, so that what was recorded afterwards still holds."""


def cuts(curves: Curves, plateaus: Plateaus, options: Mapping[str, Any], rates: Rates) -> Cuts:
    """Where the learning rates of runs are reduced under these options.

    A run whose rate was not recorded is taken to be above the floor. After a reduction that the record does not show,
    the recorded rate is scaled as if the metric would have gone on as it did.
    """
    arguments = plateaus.arguments(options, curves.sign)
    factor, least = options["factor"], options.get("eps", 0.0)
    floor = plateaus.floor(options)
    runs, columns = curves.scores.shape
    state = plateaus.begin
    cut, recorded = np.zeros((2, runs, columns), dtype=np.bool_)
    scale = np.ones(runs)
    for column in range(columns):
        here = rates.at[:, column]
        rate = np.where(scale < 1, np.maximum(here * scale, floor), here)
        unknown = np.isnan(rate)
        asked = {"reducible": unknown | (rate > floor)} if plateaus.asks else {}
        state, verdict = plateaus.rule(state, curves.scores[:, column], **arguments, **asked)
        lowered = np.maximum(rate * factor, floor)
        now = verdict.reduce & (column < curves.lengths) & (unknown | (rate - lowered > least))
        shown = now & (scale == 1) & rates.shows(column, factor, floor)
        cut[:, column], recorded[:, column] = now, shown
        scale = np.where(now & ~shown, scale * factor, scale)
    return Cuts(cut, recorded)
