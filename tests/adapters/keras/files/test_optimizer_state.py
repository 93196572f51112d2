"""Files of which the optimizer's state fits, or does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainbus import CheckpointError
from trainbus.adapters.keras import KerasSubject

from ..fits import X, Y, two_layers

OTHER_OPTIMIZERS: dict[str, tuple[Any, Any]] = {
    "adam, then sgd": ("adam", "sgd"),
    "sgd, then adam": ("sgd", "adam"),
    "as many variables": (keras.optimizers.RMSprop, lambda: keras.optimizers.SGD(momentum=0.9)),
    "momentum added": (keras.optimizers.SGD, lambda: keras.optimizers.SGD(momentum=0.9)),
    "amsgrad added": (keras.optimizers.Adam, lambda: keras.optimizers.Adam(amsgrad=True)),
    "averages added": (keras.optimizers.Adam, lambda: keras.optimizers.Adam(use_ema=True)),
    "loss scale added": (
        keras.optimizers.Adam,
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()),
    ),
    "accumulation added": (keras.optimizers.Adam, lambda: keras.optimizers.Adam(gradient_accumulation_steps=2)),
}


@pytest.mark.covering(1)
@pytest.mark.parametrize("change", [*OTHER_OPTIMIZERS, "frozen, then not", "frozen, then the other one", "then frozen"])
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_the_state_of_another_optimizer_is_refused_with_the_way_out(change: str, suffix: str) -> None:
    """Keras would skip it, or give it to the wrong variables; nothing is changed then."""
    before, after = OTHER_OPTIMIZERS.get(change, ("adam", "adam"))
    froze = {"frozen, then not": ("first", ""), "frozen, then the other one": ("first", "last")}
    one, other = froze.get(change, ("", "first" if change == "then frozen" else ""))
    saved = two_layers(before if isinstance(before, str) else before(), frozen=one)
    saved.fit(X, Y, verbose=0)
    path = Path(f"saved{suffix}")
    KerasSubject(saved).save(path, weights_only=suffix != ".keras")
    model = two_layers(after if isinstance(after, str) else after(), frozen=other)
    values = model.get_weights()
    with pytest.raises(CheckpointError, match=r"optimizer.* in the file .*load_weights\('saved.*before compile\(\)"):
        KerasSubject(model).load(path)

    for one_value, other_value in zip(values, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one_value, other_value)
    two_layers(None).load_weights(path)  # the way out


@pytest.mark.parametrize("optimizer", ["adam", "muon", "named", "scaled", "several"])
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_the_state_of_the_same_optimizer_is_loaded(optimizer: str, suffix: str) -> None:
    """An optimizer of another name or number fits, also one that holds others."""
    makers: dict[str, Any] = {
        "adam": lambda: keras.optimizers.Adam(name="adam_7"),
        "muon": keras.optimizers.Muon,
        "named": lambda: keras.optimizers.Adam(name="sgd"),
        "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(momentum=0.5)),
        "several": lambda: keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(keras.optimizers.SGD(momentum=0.5), {".*bias": keras.optimizers.Adam()})
        ),
    }
    saved = two_layers(makers[optimizer]())
    saved.fit(X, Y, verbose=0)
    path = Path(f"saved{suffix}")
    KerasSubject(saved).save(path, weights_only=suffix != ".keras")
    model = two_layers(makers[optimizer]())
    KerasSubject(model).load(path)

    for one, other in zip(saved.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))
