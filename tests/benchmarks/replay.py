"""Time of a sweep, compared with Keras's objects and a plain loop: ``python -m tests.benchmarks.replay [rounds]``.

1,000 runs of 200 epochs under 128 policies (4 min_delta, 2 baselines, 16 patiences). Keras's objects step only a few of
the runs, since they take seconds for each; the loop in Python steps all. Every way must find the same stops. Times are
processor times, so that other processes do not matter; each way uses one thread.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from math import inf
from statistics import median
from time import process_time

import numpy as np

from trainbus.replay import Recording, Series
from trainbus.replay.curves import Curves, build_curves
from trainbus.replay.libraries.settings import LIBRARIES
from trainbus.replay.metric_choice import MetricChoice
from trainbus.replay.recommend import Grid
from trainbus.replay.search.grid_search import find_stops
from trainbus.replay.simulation.stops import simulate_stops

from .measuring import table, versions

RUNS, EPOCHS, KERAS_RUNS = 1000, 200, 4
GRID = Grid(patience=range(1, 17), min_delta=(0.0, 1e-4, 1e-3, 1e-2), baseline=(None, 0.5))


def main(rounds: int = 7) -> None:
    """Measure and print the table."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras  # noqa: F401 - its import is not measured

    warnings.simplefilter("ignore")
    losses = learning_curves()
    curves = recorded(losses)
    ways: dict[str, tuple[int, Callable[[], np.ndarray]]] = {
        "trainbus, a grid": (RUNS, lambda: find_stops(curves, GRID)),
        "trainbus, every policy stepped": (RUNS, lambda: stepped(curves)),
        "a loop in Python, with early exit": (RUNS, lambda: in_a_loop(losses)),
        "Keras's EarlyStopping": (KERAS_RUNS, lambda: by_keras(losses[:KERAS_RUNS])),
    }
    expected = find_stops(curves, GRID)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name, (runs, find) in ways.items():
            if turn and name == "Keras's EarlyStopping":
                continue
            before = process_time()
            found = find()
            taken[name].append((process_time() - before) * RUNS / runs)
            assert (found == expected[:, :runs]).mean() > (0.999 if runs == KERAS_RUNS else 0.9999999), name
    best = median(taken["trainbus, a grid"])
    print(f"{versions('numpy', 'keras')}; {rounds} rounds\n")
    rows = [
        [
            name,
            f"{1000 * median(times):,.1f} ({1000 * min(times):,.1f})",
            f"{RUNS * EPOCHS * len(GRID) / median(times) / 1e6:,.1f}",
            f"{median(times) / best:,.1f}",
        ]
        for name, times in taken.items()
    ]
    print(table(["", "milliseconds", "million run-epoch-policies a second", "times"], rows))


def learning_curves() -> np.ndarray:
    """Return noisy losses that fall and later rise, with different speeds."""
    random = np.random.default_rng(0)
    epochs = np.arange(EPOCHS)
    falling = np.exp(-epochs / random.uniform(20, 80, (RUNS, 1)))
    return falling + random.uniform(0, 0.002, (RUNS, 1)) * epochs + random.normal(0, 0.02, (RUNS, EPOCHS))


def recorded(losses: np.ndarray) -> Curves:
    """Return the losses as curves; ``tests.benchmarks.reading`` measures reading them from files."""
    logged = np.ones(EPOCHS, dtype=np.bool_)
    recordings = [
        Recording(str(run), np.arange(EPOCHS), {"val_loss": Series(values, logged)})
        for run, values in enumerate(losses)
    ]
    return build_curves(recordings, MetricChoice("val_loss", "min", ""))


def stepped(curves: Curves) -> np.ndarray:
    """Step the rule over all values, all policies at once."""
    policies = list(GRID)
    options = {
        name: np.array([getattr(each, name) for each in policies], dtype=float)[:, None]
        for name in ("patience", "min_delta", "start_from_epoch", "baseline")
    }
    return simulate_stops(curves, LIBRARIES["trainbus"].stopping, options).column


def in_a_loop(losses: np.ndarray) -> np.ndarray:
    """Find the stops with plain loops."""
    found = np.full((len(GRID), len(losses)), -1)
    table = losses.tolist()
    for number, policy in enumerate(GRID):
        patience, delta = policy.patience, policy.min_delta
        baseline = inf if policy.baseline is None else policy.baseline
        for run, values in enumerate(table):
            best, wait = inf, 0
            for epoch, value in enumerate(values):
                wait += 1
                if value + delta < best:
                    best = value
                    if value + delta < baseline:
                        wait = 0
                elif wait >= patience and epoch > 0:
                    found[number, run] = epoch
                    break
    return found


def by_keras(losses: np.ndarray) -> np.ndarray:
    """Find the stops with Keras's objects, one for each policy and run."""
    import keras

    class Model:
        metrics = ()
        stop_training = False

    found = np.full((len(GRID), len(losses)), -1)
    for number, policy in enumerate(GRID):
        for run, values in enumerate(losses.tolist()):
            callback = keras.callbacks.EarlyStopping(
                mode="min", patience=policy.patience, min_delta=policy.min_delta, baseline=policy.baseline
            )
            model = Model()
            callback.set_model(model)
            callback.on_train_begin()
            for epoch, value in enumerate(values):
                callback.on_epoch_end(epoch, {"val_loss": value})
                if model.stop_training:
                    found[number, run] = epoch
                    break
    return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
