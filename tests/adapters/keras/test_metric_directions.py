"""Directions of metrics, from Keras's metric objects."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from trainbus.adapters.keras import KerasCallback, KerasSubject
from trainbus.plugins import EarlyStopping

from .fits import X, Y, fit, line

pytestmark = pytest.mark.filterwarnings("ignore:\\s*Your input ran out of data:UserWarning")


def test_directions_come_from_metric_objects() -> None:
    """Compiled metrics give a direction for each name that they log; a metric without a direction gives None."""
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(1, activation="sigmoid", name=name)(inputs) for name in "ab"]
    model = keras.Model(inputs, outputs)

    def odd(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(y_pred)

    model.compile(
        "sgd",
        {"a": "mse", "b": "mse"},
        metrics={
            "a": ["accuracy", "mae"],
            "b": [odd, keras.metrics.R2Score(name="r2"), keras.metrics.R2Score(name="r2")],
        },
        weighted_metrics={"a": ["accuracy"], "b": []},
    )
    subject = KerasSubject(model)
    assert subject.direction_of("a_accuracy") is None, "not known before the metrics are built"
    history = model.fit(X, [Y > 0, Y], batch_size=5, verbose=0, validation_data=(X, [Y > 0, Y])).history

    directions = {name: subject.direction_of(name) for name in history}

    down, up = ["loss", "a_loss", "b_loss", "a_mae"], ["a_accuracy", "a_weighted_accuracy", "b_r2", "b_r2_1"]
    wanted = (
        dict.fromkeys(down, "min") | dict.fromkeys([name for name in up if name in history], "max") | {"b_odd": None}
    )
    assert directions == wanted | {f"val_{name}": direction for name, direction in wanted.items()}
    assert subject.direction_of("val_a_acc") in ("max", None)
    assert subject.direction_of("nonsense") is None


def test_direction_of_the_metric_object_wins_over_the_name() -> None:
    """The metric object decides the direction, even if the name suggests the other one."""
    model = line(metrics=[keras.metrics.R2Score(name="error")])
    cb = KerasCallback(EarlyStopping(monitor="val_error", patience=9))
    fit(model, [cb], validation_data=(X, Y), epochs=2)
    assert cb.run.monitor("val_error").direction == "max"
