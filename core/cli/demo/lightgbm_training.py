"""Train on the digits with LightGBM."""

# the frameworks have incomplete or wrong type annotations
# pyright: basic, reportArgumentType=false, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import lightgbm

from trainbus import Callback, Run
from trainbus.adapters.lightgbm import LightGBMCallback

from .data import Digits


def train(data: Digits, callbacks: Sequence[Callback], epochs: int, resume: Literal["auto"] | None) -> Run:
    """Train for at most so many epochs; resume the run that ``resume`` names."""
    training = lightgbm.Dataset(data.x, data.y)
    held_out = lightgbm.Dataset(data.x_val, data.y_val, reference=training)
    parameters = {"objective": "multiclass", "num_class": 10, "learning_rate": 0.2, "num_leaves": 8, "verbosity": -1}
    bus = LightGBMCallback(callbacks, resume=resume)
    lightgbm.train(
        parameters,
        training,
        epochs,
        valid_sets=[held_out],
        valid_names=["val"],
        callbacks=[*bus],
        init_model=bus.init_model,
    )
    return bus.run
