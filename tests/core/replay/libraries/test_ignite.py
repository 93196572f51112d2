"""Ignite's rules are compared with Ignite's own handlers on the same curves."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainbus.plugins import ReduceLROnPlateau
from trainbus.replay.libraries.ignite import IgniteEarlyStopping

from ..random_curves import SEEDS, random_curve, random_options
from ..recorded import History, finite, histories, logged, modes, outcome


@pytest.fixture(scope="module")
def ignite() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("ignite.handlers", reason="needs trainbus[bench]")
    logging.getLogger("ignite").handlers.clear()


def in_ignite(ignite: Any, history: History, options: dict[str, Any]) -> int | None:
    """Return the epoch of the stop."""
    from ignite.engine import Engine  # noqa: PLC0415 - not everybody has it

    engine = Engine(lambda *_: None)
    scores = iter([each for each in history if each is not None])
    handler = ignite.EarlyStopping(score_function=lambda _: next(scores), trainer=engine, **options)
    stop = None
    for epoch, value in enumerate(history):
        if value is not None and stop is None:
            handler(engine)
            stop = epoch if engine.should_terminate else None
    return stop


@given(
    history=histories.filter(logged),
    options=st.fixed_dictionaries(
        {
            "mode": modes,
            "patience": st.integers(1, 4),
            "threshold": st.sampled_from([0.0, 1e-4, 0.1, 1.0]),
            "threshold_mode": st.sampled_from(["rel", "abs"]),
            "cumulative": st.booleans(),
        }
    ),
)
@example(history=[1.0, math.nan, 2.0, 3.0], options={"patience": 2, "mode": "min"})  # NaN improves
def test_early_stopping_as_ignite(ignite: Any, history: History, options: dict[str, Any]) -> None:
    """Ignite's own EarlyStopping stops in the same epoch, NaN and creeping bests included."""
    stop = in_ignite(ignite, history, options)

    found = outcome(history, IgniteEarlyStopping(monitor="val_loss", **options), "ignite")
    assert (found.stop.epoch if found.stop else None) == stop


@given(
    history=st.lists(finite, min_size=1, max_size=20),
    patience=st.integers(0, 3),
    cooldown=st.integers(0, 3),
    min_lr=st.sampled_from([0.0, 0.05]),
)
def test_plateaus_as_ignite(ignite: Any, history: list[float], patience: int, cooldown: int, min_lr: float) -> None:
    """Ignite's own scheduler reduces in the same epochs: it is torch's, with a floor that it ignores."""
    options = {"patience": patience, "cooldown": cooldown, "min_lr": min_lr}
    simulated = ignite.ReduceLROnPlateauScheduler.simulate_values(len(history), history, 0.1, **options)
    rates = [0.1, *(rate for _, rate in simulated)]

    callback = ReduceLROnPlateau(monitor="val_loss", **options)
    found = outcome(history, callback, "ignite", rates[:-1])
    assert [each.epoch for each in found.cuts] == [
        epoch for epoch in range(len(history)) if rates[epoch + 1] < rates[epoch]
    ]


@pytest.mark.parametrize("seeds", SEEDS)
def test_the_stops_of_ignite_on_random_curves(ignite: Any, seeds: range) -> None:
    """On each of many curves, Ignite's own EarlyStopping stops in the same epoch."""
    for seed in seeds:
        random = Random(seed)
        choices: dict[str, list[Any]] = {"patience": [1, 2, 3, 10], "threshold": [0.0, 1e-8, 1e-4, 0.01]}
        choices |= {"mode": ["min", "max"], "threshold_mode": ["rel", "abs"], "cumulative": [True, False]}
        history, options = random_curve(random), random_options(random, choices)
        stop = in_ignite(ignite, history, options)

        found = outcome(history, IgniteEarlyStopping(monitor="val_loss", **options), "ignite")
        assert (found.stop.epoch if found.stop else None) == stop, (seed, options)
