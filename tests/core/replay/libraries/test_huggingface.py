"""The rule of Hugging Face's Trainer is compared with its own callback and its own choice of the best model."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins import EarlyStopping
from trainbus.replay import sweep
from trainbus.replay.libraries.huggingface import HuggingFaceEarlyStopping

from ..random_curves import SEEDS, random_curve, random_options
from ..recorded import FOUND, History, deltas, histories, logged, modes, outcome, recording


def in_transformers(history: History, mode: str, patience: int, threshold: float) -> int | None:
    """Return the evaluation of the stop."""
    transformers = pytest.importorskip("transformers", reason="needs trainbus[test-bindings]")
    args = SimpleNamespace(
        metric_for_best_model="loss", greater_is_better=mode == "max", save_strategy="best", load_best_model_at_end=True
    )
    state = SimpleNamespace(best_metric=None, global_step=0, best_global_step=None)
    control, trainer = SimpleNamespace(should_training_stop=False), SimpleNamespace(args=args, state=state)
    callback = transformers.EarlyStoppingCallback(patience, threshold)
    for number, value in enumerate(history):
        state.global_step = number + 1
        if value is None:
            continue
        metrics = {"eval_loss": value}
        callback.on_evaluate(args, state, control, metrics)
        transformers.Trainer._determine_best_metric(trainer, metrics, None)
        if control.should_training_stop:
            return number
    return None


@given(history=histories.filter(logged), mode=modes, patience=st.integers(0, 4), threshold=deltas)
def test_early_stopping_as_transformers(history: History, mode: Any, patience: int, threshold: float) -> None:
    """EarlyStoppingCallback stops at the same evaluation, also at the first one with a patience of 0."""
    stop = in_transformers(history, mode, patience, threshold)

    callback = EarlyStopping(monitor="val_loss", mode=mode, patience=patience, min_delta=threshold)
    found = outcome(history, callback, "hf")
    assert (found.stop.epoch if found.stop else None) == stop


@pytest.mark.parametrize("seeds", SEEDS)
def test_the_stops_of_transformers_on_random_curves(seeds: range) -> None:
    """On each of many curves, EarlyStoppingCallback stops at the same evaluation."""
    for seed in seeds:
        random = Random(seed)
        choices: dict[str, list[Any]] = {"mode": ["min", "max"], "patience": [0, 1, 2, 3, 10]}
        history = random_curve(random)
        options = random_options(random, {**choices, "threshold": [0.0, 1e-8, 1e-4, 0.01]})
        stop = in_transformers(history, **options)

        settings = {f"early_stopping_{name}": options[name] for name in ("patience", "threshold")}
        callback = HuggingFaceEarlyStopping(monitor="val_loss", mode=options["mode"], **settings)
        found = outcome(history, callback, "hf")
        assert (found.stop.epoch if found.stop else None) == stop, (seed, options)


def test_a_sweep_varies_the_options_by_their_names_in_transformers() -> None:
    """The recommended callback has the options that EarlyStoppingCallback has."""
    found = sweep([recording(FOUND), recording([*FOUND, 1.0])], patience=[2, 3], min_delta=[0.0, 0.1], by="hf")

    assert found.stops.shape == (4, 2)
    assert {type(each.callback) for each in found.recommendations} == {HuggingFaceEarlyStopping}
    careful = found.recommendations[0]
    assert careful.callback.early_stopping_patience == careful.policy.patience
