"""Where the random generators stand that a Keras model's training draws from, beside those of Python and NumPy."""

# Keras declares no types
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras.src.random.seed_generator import global_seed_generator

__all__ = ["random_state", "set_random_state"]


def random_state(model: Any) -> dict[str, Any]:
    """Keras's generator of seeds, those of layers, and on the torch backend torch's own generators.

    Layers that draw (dropout, noise) count their seeds where the backend has no generator of its own: in variables of
    the model that Keras puts into no file.
    """
    seeds = keras.ops.convert_to_numpy(global_seed_generator().state)
    layers = [keras.ops.convert_to_numpy(each) for each in _seeds_of_layers(model)]
    return {"seeds": seeds, "layers": layers, **_torch_state()}


def set_random_state(model: Any, state: Mapping[str, Any]) -> None:
    """Bring the generators back to `state`."""
    global_seed_generator().state.assign(state["seeds"])
    for variable, value in zip(_seeds_of_layers(model), state.get("layers", ()), strict=False):
        variable.assign(value)
    if "torch" in state and keras.backend.backend() == "torch":
        import torch  # noqa: PLC0415 - the other backends do without

        torch.set_rng_state(torch.as_tensor(state["torch"], dtype=torch.uint8))
        if torch.cuda.is_available() and state["cuda"]:
            torch.cuda.set_rng_state_all([torch.as_tensor(each, dtype=torch.uint8) for each in state["cuda"]])


def _seeds_of_layers(model: Any) -> list[Any]:
    weights = {id(each) for each in model.weights}
    return [each for each in model.non_trainable_variables if id(each) not in weights]


def _torch_state() -> dict[str, Any]:
    if keras.backend.backend() != "torch":
        return {}
    import torch  # noqa: PLC0415 - the other backends do without

    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"torch": torch.get_rng_state(), "cuda": cuda}
