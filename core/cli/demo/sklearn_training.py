"""Train on the digits with scikit-learn."""

# the frameworks have incomplete or wrong type annotations
# pyright: basic, reportArgumentType=false, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sklearn.neural_network import MLPClassifier

from trainbus import Callback, Run
from trainbus.adapters.sklearn import partial_fit

from .data import Digits


def train(data: Digits, callbacks: Sequence[Callback], epochs: int, resume: Literal["auto"] | None) -> Run:
    """Train for at most so many epochs; resume the run that ``resume`` names."""
    model = MLPClassifier(hidden_layer_sizes=(64,), learning_rate_init=0.01, random_state=0)
    return partial_fit(
        model,
        data.x,
        data.y,
        batch_size=32,
        epochs=epochs,
        validation_data=(data.x_val, data.y_val),
        scoring="accuracy",
        callbacks=callbacks,
        random_state=0,
        resume=resume,
    )
