"""Train on the digits with XGBoost."""

# the frameworks have incomplete or wrong type annotations
# pyright: basic, reportArgumentType=false, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import xgboost

from trainbus import Callback, Run
from trainbus.adapters.xgboost import XGBoostCallback

from .data import Digits


def train(data: Digits, callbacks: Sequence[Callback], epochs: int, resume: Literal["auto"] | None) -> Run:
    """Train for at most so many epochs; resume the run that ``resume`` names."""
    training = xgboost.DMatrix(data.x, data.y)
    held_out = xgboost.DMatrix(data.x_val, data.y_val)
    parameters = {"objective": "multi:softprob", "num_class": 10, "eta": 0.3, "max_depth": 4}
    bus = XGBoostCallback(callbacks, resume=resume)
    xgboost.train(
        parameters,
        training,
        epochs,
        evals=[(training, "train"), (held_out, "val")],
        callbacks=[bus],
        verbose_eval=False,
    )
    return bus.run
