"""Each library's rules are compared with the library's real objects on the same histories."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.replay import RunOutcome, replay
from trainbus.replay.libraries.ignite import IgniteEarlyStopping
from trainbus.replay.libraries.lightning import LightningEarlyStopping
from trainbus.replay.libraries.torch import TorchReduceLROnPlateau

from ..recorded import History, deltas, finite, histories, recording

modes = st.sampled_from(["min", "max"])


def outcome(history: History, callback: Any, by: str, rates: list[float] | None = None) -> RunOutcome:
    metrics = {"val_loss": history} | ({} if rates is None else {"lr": rates})
    return replay([recording(metrics)], callback, by=by).outcomes[0]


def logged(history: History) -> bool:
    return any(each is not None for each in history)


class KerasModel:
    """A minimal model for Keras's callbacks."""

    metrics: tuple[Any, ...] = ()

    def __init__(self) -> None:
        self.stop_training = False
        self.optimizer = self
        self.learning_rate = 0.1
        self.epoch = -1
        self.restored: int | None = None

    @property
    def learning_rate(self) -> np.float32:
        return self._rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._rate = np.float32(rate)  # as Keras's optimizers hold it

    def get_weights(self) -> int:
        return self.epoch

    def set_weights(self, epoch: int) -> None:
        self.restored = epoch


def in_keras(callback: Any, history: History) -> tuple[KerasModel, list[float]]:
    """The model after the history, or after as much of it as was trained, and the rate of each epoch."""
    model, rates = KerasModel(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about each epoch without the metric
        callback.set_model(model)
        callback.on_train_begin()
        for model.epoch, value in enumerate(history):
            rates.append(float(model.learning_rate))
            callback.on_epoch_end(model.epoch, {} if value is None else {"val_loss": value})
            if model.stop_training:
                break
        callback.on_train_end()
    return model, rates


keras_only = pytest.mark.skipif(keras.__version__ != "3.15.1", reason="later versions have other rules for baselines")


@keras_only
@given(
    history=histories.filter(logged),
    options=st.fixed_dictionaries(
        {
            "min_delta": deltas,
            "patience": st.integers(0, 4),
            "mode": modes,
            "baseline": st.none() | finite,
            "start_from_epoch": st.sampled_from([0, 0, 1, 3, 6]),
        }
    ),
)
@example(history=[math.nan, 1.0, 0.9, 0.8], options={"patience": 3, "mode": "min"})  # Keras never leaves the NaN
@example(history=[1.0, 1.0 - 1e-9, 1.0 - 2e-9], options={"patience": 2, "mode": "min"})  # single precision
def test_early_stopping_as_keras(history: History, options: dict[str, Any]) -> None:
    """Keras's own EarlyStopping stops in the same epoch and restores the same one."""
    callback = EarlyStopping(monitor="val_loss", restore_best_weights=True, **options)
    model, rates = in_keras(keras.callbacks.EarlyStopping(restore_best_weights=True, **options), history)

    found = outcome(history, callback, "keras")
    assert found.censored is not model.stop_training
    if model.stop_training:
        restored = [each.of for each in found.decisions if each.action == "restore"]
        assert (found.stop.epoch, restored) == (len(rates) - 1, [model.restored])


@keras_only
@given(
    history=histories.filter(logged),
    options=st.fixed_dictionaries(
        {
            "patience": st.integers(0, 3),
            "mode": modes,
            "min_delta": deltas,
            "cooldown": st.integers(0, 4),
            "factor": st.sampled_from([0.1, 0.5]),
            "min_lr": st.sampled_from([0.0, 0.01, 0.1]),
        }
    ),
)
def test_plateaus_as_keras(history: History, options: dict[str, Any]) -> None:
    """Keras's own ReduceLROnPlateau reduces in the same epochs; replayed on its own record, all of them are exact."""
    _, rates = in_keras(keras.callbacks.ReduceLROnPlateau(**options), history)
    callback = ReduceLROnPlateau(monitor="val_loss", **options)

    found = outcome(history, callback, "keras", rates)
    reduced = [epoch for epoch in range(len(rates) - 1) if rates[epoch + 1] < rates[epoch]]
    cuts = [each.epoch for each in found.cuts]
    assert cuts[: len(reduced)] == reduced
    assert all(epoch == len(history) - 1 for epoch in cuts[len(reduced) :]), "the last shows in no later rate"
    assert all(each.exact for each in found.decisions)


@given(
    history=histories.filter(logged),
    options=st.fixed_dictionaries(
        {
            "mode": modes,
            "factor": st.sampled_from([0.1, 0.5]),
            "patience": st.integers(0, 3),
            "threshold": st.sampled_from([0.0, 1e-4, 0.1, 1.0]),
            "threshold_mode": st.sampled_from(["rel", "abs"]),
            "cooldown": st.integers(0, 3),
            "min_lr": st.sampled_from([0.0, 0.01, 0.1]),
            "eps": st.sampled_from([1e-8, 0.04]),
        }
    ),
)
def test_plateaus_as_torch(history: History, options: dict[str, Any]) -> None:
    """PyTorch's scheduler reduces in the same epochs, also with relative thresholds."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    rates, reduced = [], []
    for epoch, value in enumerate(history):
        before = optimizer.param_groups[0]["lr"]
        rates.append(before)
        if value is not None:
            scheduler.step(value)
        if optimizer.param_groups[0]["lr"] < before:
            reduced.append(epoch)

    found = outcome(history, TorchReduceLROnPlateau(monitor="val_loss", **options), "torch", rates)
    assert [each.epoch for each in found.cuts] == reduced


def test_patience_counts_differ_by_one() -> None:
    """Torch reduces one epoch later than Keras for the same patience."""
    history = [1.0] * 8
    callback = ReduceLROnPlateau(monitor="val_loss", patience=2)

    assert [outcome(history, callback, by).cuts[0].epoch for by in ("keras", "torch")] == [2, 3]


class LightningTrainer:
    """A minimal trainer for Lightning's EarlyStopping."""

    fast_dev_run = False
    world_size = 1
    should_stop = False
    current_epoch = 0

    def __init__(self) -> None:
        self.callback_metrics: dict[str, torch.Tensor] = {}
        self.strategy = self

    def reduce_boolean_decision(self, decision: bool, all: bool) -> bool:  # noqa: A002 - Lightning's own name
        return decision


@given(
    history=histories.filter(logged),
    options=st.fixed_dictionaries(
        {
            "mode": modes,
            "patience": st.integers(0, 4),
            "min_delta": st.sampled_from([0.0, 1e-4, 0.1, 0.5, -0.1]),
            "check_finite": st.booleans(),
            "stopping_threshold": st.none() | finite,
            "divergence_threshold": st.none() | finite,
        }
    ),
)
@example(history=[1.0, math.nan], options={"mode": "min"})  # check_finite is on by default
def test_early_stopping_as_lightning(history: History, options: dict[str, Any]) -> None:
    """Lightning's own EarlyStopping stops in the same epoch, also at what is not finite and at its thresholds."""
    lightning = pytest.importorskip("lightning.pytorch.callbacks", reason="needs trainbus[bench]")
    callback = lightning.EarlyStopping("val_loss", **options)
    trainer, stop = LightningTrainer(), None
    for epoch, value in enumerate(history):
        if value is not None and stop is None:
            trainer.callback_metrics["val_loss"] = torch.tensor(value)
            callback._run_early_stopping_check(trainer)
            stop = epoch if trainer.should_stop else None

    found = outcome(history, LightningEarlyStopping(monitor="val_loss", **options), "lightning")
    assert (found.stop.epoch if found.stop else None) == stop


@pytest.fixture(scope="module")
def ignite() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("ignite.handlers", reason="needs trainbus[bench]")
    logging.getLogger("ignite").handlers.clear()


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
    from ignite.engine import Engine  # noqa: PLC0415 - not everybody has it

    engine = Engine(lambda *_: None)
    scores = iter([each for each in history if each is not None])
    handler = ignite.EarlyStopping(score_function=lambda _: next(scores), trainer=engine, **options)
    stop = None
    for epoch, value in enumerate(history):
        if value is not None and stop is None:
            handler(engine)
            stop = epoch if engine.should_terminate else None

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
