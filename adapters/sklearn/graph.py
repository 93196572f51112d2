"""How data goes through a scikit-learn estimator, as the nodes of a graph."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import signature
from typing import Any, NamedTuple

import numpy as np

from trainbus.capabilities import Node

from .estimators import inner

__all__ = ["nodes"]

INPUT = "input"
SCALARS = (bool, int, float, str, type(None))


class _Drawn(NamedTuple):
    """An estimator's nodes, and the names of those that its output comes from."""

    nodes: list[Node]
    outputs: tuple[str, ...]


def nodes(estimator: Any) -> Iterator[Node]:
    """A box for each estimator, those inside others in their boxes, and one for each layer of a perceptron.

    The steps of a Pipeline follow one another; what a ColumnTransformer, a FeatureUnion, an ensemble or any other
    meta-estimator holds stands side by side; a final estimator takes what they put out.
    """
    features = getattr(estimator, "n_features_in_", None)
    yield Node(INPUT, "Input", shape=None if features is None else (None, features))
    yield from _draw(estimator, type(estimator).__name__, (INPUT,)).nodes


def _draw(estimator: Any, name: str, inputs: tuple[str, ...], told: Mapping[str, str] | None = None) -> _Drawn:
    kind = estimator if isinstance(estimator, str) else type(estimator).__name__
    if isinstance(estimator, str) or not hasattr(estimator, "get_params"):  # "passthrough", "drop"
        return _Drawn([Node(name, kind, inputs, tuple((told or {}).items()))], (name,))
    attributes = tuple({**(told or {}), **_changed(estimator)}.items())
    made, outputs = list[Node](), list[str]()
    if hasattr(estimator, "hidden_layer_sizes"):
        made, outputs = _layers(estimator, name, inputs)
    elif isinstance(getattr(estimator, "steps", None), list):
        before = inputs
        for step, part in estimator.steps:
            drawn = _draw("passthrough" if part is None else part, f"{name}/{step}", before)
            made, before = [*made, *drawn.nodes], drawn.outputs
        outputs = list(before)
    else:
        for part_name, part, more in _side_by_side(estimator):
            drawn = _draw(part, f"{name}/{part_name}", inputs, more)
            made, outputs = [*made, *drawn.nodes], [*outputs, *([] if part == "drop" else drawn.outputs)]
        final = getattr(estimator, "final_estimator_", getattr(estimator, "final_estimator", None))
        if final is not None:
            drawn = _draw(final, f"{name}/final_estimator", tuple(outputs))
            made, outputs = [*made, *drawn.nodes], [*drawn.outputs]
    if not made:
        return _Drawn([Node(name, kind, inputs, attributes)], (name,))
    # the box itself is a node too: it joins what stands side by side in it
    return _Drawn([*made, Node(name, kind, tuple(outputs), attributes)], (name,))


def _side_by_side(estimator: Any) -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Name, estimator and what else to tell of each part that gets the same data."""
    for listing in ("transformers_", "transformers", "transformer_list", "estimators"):
        parts = getattr(estimator, listing, None)
        if isinstance(parts, list) and parts and isinstance(parts[0], tuple):
            for part in parts:
                yield part[0], part[1], {"columns": _short(part[2])} if len(part) > 2 else {}
            return
    for name, part in inner(estimator).items():
        yield name, part, {}
    if not inner(estimator):  # one that is trained all at once
        for name, value in estimator.get_params(deep=False).items():
            if hasattr(value, "get_params") and not isinstance(value, type):
                yield name, value, {}


def _changed(estimator: Any) -> Mapping[str, str]:
    """Name and value of each parameter that is not as its class has it, other estimators left out."""
    usual = signature(type(estimator)).parameters
    return {
        name: _short(value)
        for name, value in estimator.get_params(deep=False).items()
        if not _holds_estimators(value) and (name not in usual or repr(usual[name].default) != repr(value))
    }


def _holds_estimators(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds_estimators(each) for each in value)
    return hasattr(value, "get_params")


def _short(value: Any, most: int = 200) -> str:
    told = repr(value)
    return told if len(told) <= most else f"{told[:most]}..."


def _layers(estimator: Any, name: str, inputs: tuple[str, ...]) -> tuple[list[Node], list[str]]:
    sizes = [int(size) for size in np.ravel(estimator.hidden_layer_sizes)]
    layers: list[tuple[str, int | None, str | None]] = [
        (f"hidden_{i}", size, estimator.activation) for i, size in enumerate(sizes, start=1)
    ]
    outputs = getattr(estimator, "n_outputs_", None)  # unknown before the first batch
    layers.append(("output", outputs, getattr(estimator, "out_activation_", None)))
    made: list[Node] = []
    for layer, units, activation in layers:
        told = {"units": units, "activation": activation}
        attributes = tuple((key, str(value)) for key, value in told.items() if value is not None)
        made.append(Node(f"{name}/{layer}", "Dense", inputs, attributes, None if units is None else (None, units)))
        inputs = (f"{name}/{layer}",)
    return made, list(inputs)
