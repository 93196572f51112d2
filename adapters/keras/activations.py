"""The outputs of the layers of a Keras model for validation data, computed without side effects."""

# Keras declares no types and has no public way to observe the calls of layers or to list their variables
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

import keras
import numpy as np
from keras.src.trainers.data_adapters import get_data_adapter

from .layer_graph import layers_of


def why_unreadable(data: Any) -> str | None:
    """Return why validation data cannot be iterated again; None if it can."""
    if data is None:
        return "there is no validation data to see them on; give fit validation_data=, or give it to KerasCallback"
    if hasattr(_inputs(data), "__next__"):
        return (
            "the validation data is a generator, which can be iterated only once; give arrays or a data set: "
            "KerasCallback(callbacks, validation_data=...)"
        )
    return None


def activations(model: Any, data: Any, batch_size: int, steps: int | None) -> Iterator[tuple[str, Any]]:
    """Yield name and array of each layer's outputs.

    Args:
        model: A model that was called before.
        data: Validation data in the forms that ``fit`` takes.
        batch_size: The largest number of samples to run at once.
        steps: Batches of a data set to use; None for all.
    """
    for batch in _batches(_inputs(data), batch_size, steps):
        rows = next((len(each) for each in keras.tree.flatten(batch)), 0)
        for start in range(0, rows, batch_size):
            part = keras.tree.map_structure(lambda array, start=start: array[start : start + batch_size], batch)
            yield from _outputs(model, part)


def _inputs(data: Any) -> Any:
    """Return arrays without their targets, data sets unchanged."""
    return keras.utils.unpack_x_y_sample_weight(data)[0] if isinstance(data, (tuple, list)) else data


def _batches(x: Any, batch_size: int, steps: int | None) -> Iterator[Any]:
    if isinstance(x, keras.utils.PyDataset):  # by index: iterating it as fit does would call its on_epoch_end
        given: Iterator[Any] = (x[number] for number in range(steps or x.num_batches or 0))
    else:
        given = islice(get_data_adapter(x, batch_size=batch_size).get_numpy_iterator(), steps)
    for batch in given:
        yield keras.utils.unpack_x_y_sample_weight(batch)[0]


def _outputs(model: Any, x: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []

    def watched(name: str, call: Any) -> Any:
        def watching(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            arrays = [each for each in keras.tree.flatten(output) if hasattr(each, "dtype") and hasattr(each, "shape")]
            names = [name] if len(arrays) == 1 else [f"{name}/{number}" for number in range(len(arrays))]
            # copy now: on some backends the next layer may work in place
            found.extend((each, _copy(array)) for each, array in zip(names, arrays, strict=True))
            return output

        return watching

    with ExitStack() as cleanup, _unchanged(model):
        if keras.backend.backend() == "torch":
            import torch  # noqa: PLC0415 - the other backends may lack torch

            cleanup.enter_context(torch.no_grad())
        for name, layer in layers_of(model):
            for method in ("call", "quantized_call"):
                if method not in vars(layer) and hasattr(layer, method):
                    vars(layer)[method] = watched(name, getattr(layer, method))
                    cleanup.callback(vars(layer).pop, method)
        model(x, training=False)
    return found


@contextmanager
def _unchanged(model: Any) -> Iterator[None]:
    """Restore the variables that layers update themselves, such as seeds and the states of recurrent layers."""
    layers = model._flatten_layers()
    own = [variable for layer in layers for variable in layer._non_trainable_variables]
    own += [generator.state for layer in layers for generator in layer._seed_generators]
    states = [each for layer in layers for each in keras.tree.flatten(getattr(layer, "states", None))]
    own += [each for each in states if isinstance(each, keras.Variable)]  # recurrent layers do not track them
    values = [_copy(variable.value) for variable in own]
    try:
        yield
    finally:
        for variable, value in zip(own, values, strict=True):
            if not np.array_equal(_copy(variable.value), value, equal_nan=value.dtype.kind in "fc"):
                variable.assign(value)


def _copy(tensor: Any) -> Any:
    return in_numpy_type(np.array(keras.ops.convert_to_numpy(tensor)))


def in_numpy_type(array: Any) -> Any:
    """Return the array; as float32 if NumPy lacks its type, such as bfloat16 or float8."""
    return array if array.dtype.kind in "biufc" else array.astype("float32")
