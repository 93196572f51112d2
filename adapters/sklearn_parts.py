"""What a scikit-learn estimator consists of: the estimators inside it, its fitted arrays, its layers."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import Parameter, signature
from typing import Any

import numpy as np
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor

from trainbus.capabilities import Node

__all__ = ["by_column", "flat", "inner", "leaves", "nodes", "takes", "weights"]

NO_WEIGHTS = ("classes_", "h_samples_")
"""Fitted arrays that hold data: labels, and the samples from which BernoulliRBM goes on drawing."""


def inner(estimator: Any) -> dict[str, Any]:
    """Name to each estimator that a meta-estimator trains: the fitted ones, before its first fit their pattern.

    >>> from sklearn.linear_model import SGDClassifier
    >>> from sklearn.multiclass import OneVsRestClassifier
    >>> inner(OneVsRestClassifier(SGDClassifier()))
    {'estimator': SGDClassifier()}
    """
    fitted = getattr(estimator, "estimators_", None)
    if isinstance(fitted, list):
        return {f"estimators_/{i}": each for i, each in enumerate(fitted)}
    for name in ("estimator_", "estimator"):
        if hasattr(getattr(estimator, name, None), "partial_fit"):
            return {name: getattr(estimator, name)}
    return {}


def leaves(estimator: Any) -> Iterator[Any]:
    """The estimators at the ends of the nesting, which do the learning; the estimator itself where nothing nests."""
    parts = inner(estimator)
    if not parts:
        yield estimator
    for part in parts.values():
        yield from leaves(part)


def takes(estimator: Any, option: str) -> bool:
    """Whether `partial_fit` takes the option, itself or for the estimators inside."""
    parameters = signature(estimator.partial_fit).parameters
    if option in parameters:
        return True
    passes_on = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    return passes_on and any(takes(part, option) for part in inner(estimator).values())


def flat(estimator: Any, y: Any) -> Any:
    """Targets of shape (rows, 1) as (rows,), unless the estimator trains one of its own for each column."""
    return np.ravel(y) if getattr(y, "shape", ())[1:] == (1,) and not by_column(estimator) else y


def by_column(estimator: Any) -> bool:
    """Whether the estimator trains one of its own for each column of the targets."""
    return isinstance(estimator, (MultiOutputClassifier, MultiOutputRegressor))


def weights(estimator: Any, prefix: str = "") -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Name and array of all that was fitted: public attributes ending in "_" that hold floats, inner ones included."""
    for name, value in vars(estimator).items():
        if not name.endswith("_") or name.startswith("_") or name in NO_WEIGHTS:
            continue
        listed = isinstance(value, list) and bool(value)
        for i, array in enumerate(value if listed else [value]):
            if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                yield f"{prefix}{name}/{i}" if listed else f"{prefix}{name}", array
    for name, part in inner(estimator).items():
        yield from weights(part, f"{prefix}{name}/")


def nodes(estimator: Any, name: str = "") -> Iterator[Node]:
    """A box for the estimator, one for each inside it, and one for each layer of a multi-layer perceptron."""
    name = name or type(estimator).__name__
    yield Node(name, type(estimator).__name__, attributes=tuple(_changed(estimator).items()))
    if hasattr(estimator, "hidden_layer_sizes"):
        yield from _layers(estimator, name)
    for part_name, part in inner(estimator).items():
        yield from nodes(part, f"{name}/{part_name}")


def _changed(estimator: Any) -> Mapping[str, str]:
    """Name and value of each parameter that is not as its class has it, other estimators left out."""
    if not hasattr(estimator, "get_params"):
        return {}
    usual = signature(type(estimator)).parameters
    return {
        name: repr(value)
        for name, value in estimator.get_params(deep=False).items()
        if not hasattr(value, "get_params") and (name not in usual or repr(usual[name].default) != repr(value))
    }


def _layers(estimator: Any, name: str) -> Iterator[Node]:
    sizes = [int(size) for size in np.ravel(estimator.hidden_layer_sizes)]
    layers: list[tuple[str, int | None, str | None]] = [
        (f"hidden_{i}", size, estimator.activation) for i, size in enumerate(sizes, start=1)
    ]
    outputs = getattr(estimator, "n_outputs_", None)  # unknown before the first batch
    layers.append(("output", outputs, getattr(estimator, "out_activation_", None)))
    before: tuple[str, ...] = ()
    for layer, units, activation in layers:
        told = {"units": units, "activation": activation}
        attributes = tuple((key, str(value)) for key, value in told.items() if value is not None)
        yield Node(f"{name}/{layer}", "Dense", before, attributes)
        before = (f"{name}/{layer}",)
