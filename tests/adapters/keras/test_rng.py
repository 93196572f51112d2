"""The generators that a Keras training draws from continue exactly where their state was taken."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainbus.adapters.keras.rng import random_state, set_random_state
from trainbus.resume.serialization import from_json_data, to_json_data

BACKEND = keras.backend.backend()


def noisy() -> Any:
    """A model whose layers draw, with seeds of their own and without."""
    layers = [keras.layers.Dropout(0.5), keras.layers.GaussianNoise(1.0, seed=3), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((4,)), *layers])


def drawn(model: Any, count: int) -> list[Any]:
    """Return numbers of Keras's global generator, of the model's layers, and of the backend's generator."""
    found: list[Any] = []
    for _ in range(count):
        found += [keras.random.normal((3,)), model(np.ones((2, 4), "float32"), training=True)]
        if BACKEND == "torch":
            import torch  # noqa: PLC0415

            found.append(torch.randn(3))
    return [keras.ops.convert_to_numpy(each).tobytes() for each in found]


@given(before=st.integers(0, 3), between=st.integers(0, 3), after=st.integers(1, 3))
def test_generators_continue_where_they_were(before: int, between: int, after: int) -> None:
    """Whatever was drawn since, also after their state has been JSON data, as in a manifest."""
    model = noisy()
    drawn(model, before)
    state = to_json_data(random_state(model))
    expected = drawn(model, after)
    drawn(model, between)
    set_random_state(model, from_json_data(state))

    assert drawn(model, after) == expected


def test_a_state_is_a_copy() -> None:
    """Numbers that are drawn later do not change it."""
    model = noisy()
    state = random_state(model)
    before = to_json_data(state)
    drawn(model, 2)

    assert to_json_data(state) == before


def test_a_state_of_another_backend_restores_what_it_has() -> None:
    """Keras's global generator continues, and the backend's own one is left alone."""
    model = noisy()
    state = {"seeds": random_state(model)["seeds"]}
    first = keras.ops.convert_to_numpy(keras.random.normal((3,)))
    own = to_json_data(random_state(model).get("torch"))
    set_random_state(model, state)

    assert to_json_data(random_state(model).get("torch")) == own
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(keras.random.normal((3,))), first)
