"""The weights of a Keras model: by name, with their gradients, and as a snapshot."""

# Keras declares no types
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from trainbus import CheckpointError
from trainbus.metrics.names import unique

from .activations import in_numpy_type
from .learning_rates import optimizers_of


def named_weights(model: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield every weight, including non-trainable ones, under its path in the model."""
    for name, variable in _named(model):
        yield name, in_numpy_type(keras.ops.convert_to_numpy(variable))


def gradients_of(model: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield the gradients of the last update, which the torch backend keeps, under the names of their weights."""
    trained = {id(variable) for variable in model.trainable_variables}
    for name, variable in _named(model):
        gradient = variable.value.grad if id(variable) in trained else None
        if gradient is not None:
            yield name, np.array(gradient.detach().float().cpu())


def averages_of(model: Any) -> list[Any]:
    """Return the variables with the optimizers' moving averages of the weights (``use_ema``)."""
    optimizers = [each for each in optimizers_of(model) if each.use_ema]
    averages = [each for one in optimizers for each in getattr(one, "_model_variables_moving_average", ())]
    return [average for average in averages if average is not None]


def snapshot_of(model: Any) -> list[np.ndarray[Any, Any]]:
    """Return copies of all weights, including non-trainable ones, and of the optimizer's averages."""
    return [np.array(keras.ops.convert_to_numpy(each), copy=True) for each in (*model.weights, *averages_of(model))]


def restore_snapshot(model: Any, snapshot: Sequence[np.ndarray[Any, Any]]) -> None:
    """Restore weights and averages.

    Raises:
        CheckpointError: The model's structure has changed since; nothing was restored.
    """
    variables = [*model.weights, *averages_of(model)]
    changed = [f"has {len(snapshot)} weights in the snapshot and {len(variables)} now"]
    if len(variables) == len(snapshot):
        pairs = zip(variables, snapshot, strict=True)
        changed = [
            f"has {one.path!r} with the shape {value.shape} in the snapshot and {tuple(one.shape)} now"
            for one, value in pairs
            if tuple(one.shape) != value.shape
        ]
    if changed:
        raise CheckpointError(f"the weights cannot be restored, and nothing was changed: the model {changed[0]}")
    for variable, value in zip(variables, snapshot, strict=True):
        variable.assign(value)


def _named(model: Any) -> Iterator[tuple[str, Any]]:
    taken = set[str]()
    return ((unique(variable.path, taken), variable) for variable in model.weights)
