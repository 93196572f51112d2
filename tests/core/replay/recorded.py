"""Recorded runs for tests: histories, strategies for them, and their recordings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from trainbus.replay import Recording, RunOutcome, Series, replay

DATA = Path(__file__).parent / "data"
"""Samples that real libraries wrote."""
History = Sequence[float | None]
"""The values of a metric, None where an epoch does not log it."""
FOUND: History = (3, 2, 1.5, 1.4, 1.5, 1.6, 1.7, 1.3, 1.5, 1.6, 1.61, 1.62, 1.63, 1.64)
"""A history of which most options of early stopping change the stop."""
# mostly from a coarse grid, so that ties and differences of just min_delta are common
coarse = st.integers(-4, 4).map(lambda number: number / 2)
finite = st.one_of(coarse, coarse, st.floats(-2, 2, width=16), st.sampled_from([0.6, 1.0 - 1e-9, 0.1, 1e9]))
value = st.one_of(finite, finite, finite, st.sampled_from([math.nan, math.inf, -math.inf, None]))
histories = st.lists(value, min_size=1, max_size=25)
deltas = st.sampled_from([0.0, 1e-4, 0.1, 0.5])
modes = st.sampled_from(["min", "max"])


def logged(history: History) -> bool:
    """Return whether some epoch logs a value."""
    return any(each is not None for each in history)


def outcome(history: History, callback: Any, by: str, rates: Sequence[float] | None = None) -> RunOutcome:
    """Return what a callback does by the rules of a library on a history of val_loss, with these learning rates."""
    metrics: dict[str, History] = {"val_loss": history}
    return replay([recording(metrics | ({} if rates is None else {"lr": rates}))], callback, by=by).outcomes[0]


def recording(
    histories: Mapping[str, History] | History, name: str = "run", first_epoch: int = 0, seconds: float | None = None
) -> Recording:
    """Return a recording of these metrics, or of this history of val_loss, with this many seconds an epoch."""
    by_name = histories if isinstance(histories, Mapping) else {"val_loss": histories}
    length = max(map(len, by_name.values()))
    metrics = {
        metric: Series(
            np.array([math.nan if each is None else each for each in history], dtype=np.float64),
            np.array([each is not None for each in history], dtype=np.bool_),
        )
        for metric, history in by_name.items()
    }
    times = None if seconds is None else 1e9 + seconds * np.arange(length)
    return Recording(name, np.arange(first_epoch, first_epoch + length), metrics, times)


def by_steps(recording: Recording, every: int = 250) -> Recording:
    """Return the recording as that of a loop by steps with a validation every so many."""
    return replace(recording, unit="validation", steps=every * (recording.epochs + 1))


def recording_of_run(run: Any, name: str = "run") -> Recording:
    """Return the recording of a live run from its history."""
    history = {
        metric: [None if each is None else float(each) for each in values] for metric, values in run.history.items()
    }
    return recording(history, name, run.state.epoch_metrics[0][0])


def shown(recording: Recording) -> dict[str, list[float]]:
    """Return the logged values of each metric."""
    return {name: series.values[series.logged].tolist() for name, series in recording.metrics.items()}


def table_of(found: Recording) -> dict[str, list[float | None]]:
    """Return a text for each epoch of each metric, None if nothing was logged; as texts, NaN equals NaN."""
    return {
        name: [repr(value) if there else None for value, there in zip(*map(np.ndarray.tolist, series), strict=True)]
        for name, series in found.metrics.items()
    }
