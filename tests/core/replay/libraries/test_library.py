"""What replay knows of each library."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import pytest
import torch

from trainbus import Callback
from trainbus.replay.libraries.library import bound_of, threshold_of
from trainbus.replay.libraries.settings import LIBRARIES, build, build_checkpoints

_OF_THE_LOOP = {"self", "args", "kwargs", "monitor", "mode", "optimizer", "score_function", "trainer", "dirpath"}
"""Parameters that connect a callback with a training, which a record replaces."""


def _callbacks(name: str) -> dict[str, Any]:
    if name == "keras":
        found = keras.callbacks
        return {"stopping": found.EarlyStopping, "plateau": found.ReduceLROnPlateau, "saving": found.ModelCheckpoint}
    if name == "torch":
        return {"plateau": torch.optim.lr_scheduler.ReduceLROnPlateau}
    if name == "lightning":
        found = pytest.importorskip("lightning.pytorch.callbacks", reason="needs trainbus[test-bindings]")
        return {"stopping": found.EarlyStopping, "saving": found.ModelCheckpoint}
    if name == "ignite":
        found = pytest.importorskip("ignite.handlers", reason="needs trainbus[test-bindings]")
        return {"stopping": found.EarlyStopping}
    found = pytest.importorskip("transformers", reason="needs trainbus[test-bindings]")
    return {"stopping": found.EarlyStoppingCallback}


@pytest.mark.parametrize("name", ["keras", "torch", "lightning", "ignite", "hf"])
def test_every_parameter_of_a_library_s_callback_is_an_option(name: str) -> None:
    """With its default; what changes no decision may be given, too, and is left out."""
    library = LIBRARIES[name]
    for role, own in _callbacks(name).items():
        parameters = inspect.signature(own).parameters.values()
        given = {
            each.name: each.default
            for each in parameters
            if each.name not in _OF_THE_LOOP and each.default is not inspect.Parameter.empty
        }
        given.pop("train_time_interval", None)  # a time of the training, which a record does not show
        if name == "ignite":  # older names of its options
            given = {option: value for option, value in given.items() if value is not None}
        if role == "saving":
            callback: Callback = build_checkpoints(given, library)
        else:
            spec = library.stopping if role == "stopping" else library.plateau
            required = {each.name: 1 for each in parameters if each.default is inspect.Parameter.empty}
            numbers = {each: value for each, value in required.items() if each in spec.settings.model_fields}
            callback = build(spec.settings, {**given, **numbers, "monitor": "val_loss"}, library)
        for option, value in given.items():
            if option in type(callback).model_fields:
                assert getattr(callback, option) == value, (role, option)


def test_bounds_and_relative_thresholds_are_of_the_score() -> None:
    """A bound of a metric of which lower is better is negated; its relative threshold is a factor below 1."""
    assert bound_of({"baseline": 0.5}, "baseline", -1, none=0.0) == -0.5
    assert bound_of({"baseline": None}, "baseline", -1, none=7.0) == 7.0
    assert threshold_of({"threshold": 0.25, "threshold_mode": "rel"}, -1)["scale"] == 0.75
