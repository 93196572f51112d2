"""The state of the random generators that a Keras model's training draws from, except those of Python and NumPy."""

# Keras declares no types
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras.src.random.seed_generator import global_seed_generator


def random_state(model: Any) -> dict[str, Any]:
    """Return the state of Keras's seed generator, of the layers' seeds, and on the torch backend of torch's generators.

    On backends without a stateful generator, layers that draw (dropout, noise) keep their seeds in variables of the
    model that Keras writes to no file.
    """
    seeds = keras.ops.convert_to_numpy(global_seed_generator().state)
    layers = [keras.ops.convert_to_numpy(each) for each in _layer_seeds(model)]
    state: dict[str, Any] = {"seeds": seeds, "layers": layers}
    if keras.backend.backend() == "torch":
        from ..shared.torch_rng import torch_random_state  # noqa: PLC0415 - the other backends may lack torch

        state |= torch_random_state()
    return state


def set_random_state(model: Any, state: Mapping[str, Any]) -> None:
    """Restore the state of the generators."""
    global_seed_generator().state.assign(state["seeds"])
    for variable, value in zip(_layer_seeds(model), state.get("layers", ()), strict=False):
        variable.assign(value)
    if "torch" in state and keras.backend.backend() == "torch":
        from ..shared.torch_rng import set_torch_random_state  # noqa: PLC0415 - the other backends may lack torch

        set_torch_random_state(state)


def _layer_seeds(model: Any) -> list[Any]:
    weights = {id(each) for each in model.weights}
    return [each for each in model.non_trainable_variables if id(each) not in weights]
