"""The data flow through a scikit-learn estimator as the nodes of a graph."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import signature
from typing import Any

import numpy as np

from trainbus.capabilities import Node

from .estimators import inner_estimators

INPUT = "input"
SCALARS = (bool, int, float, str, type(None))


def estimator_nodes(estimator: Any) -> Iterator[Node]:
    """Yield a node for each estimator, named inside those that contain it, and for each layer of a perceptron.

    The steps of a Pipeline form a chain. The parts of a ColumnTransformer, a FeatureUnion, an ensemble or any other
    meta-estimator are parallel; a final estimator takes their outputs.
    """
    features = getattr(estimator, "n_features_in_", None)
    yield Node(INPUT, "Input", shape=None if features is None else (None, features))
    yield from _draw(estimator, type(estimator).__name__, (INPUT,), {})


def _draw(estimator: Any, name: str, inputs: tuple[str, ...], facts: Mapping[str, str]) -> Iterator[Node]:
    """Yield the nodes of the estimator's parts, and then of the estimator itself, which takes their outputs."""
    if isinstance(estimator, str) or not hasattr(estimator, "get_params"):  # "passthrough", "drop"
        yield Node(name, estimator if isinstance(estimator, str) else type(estimator).__name__, inputs, _items(facts))
        return
    outputs = inputs
    if hasattr(estimator, "hidden_layer_sizes"):
        for layer in _layers(estimator, name, inputs):
            yield layer
            outputs = (layer.name,)
    elif isinstance(getattr(estimator, "steps", None), list):
        for step, part in estimator.steps:
            yield from _draw("passthrough" if part is None else part, f"{name}/{step}", outputs, {})
            outputs = (f"{name}/{step}",)
    else:
        parts = list(_parallel_parts(estimator))
        for part_name, part, more in parts:
            yield from _draw(part, f"{name}/{part_name}", inputs, more)
        if parts:
            outputs = tuple(f"{name}/{part_name}" for part_name, part, _ in parts if part != "drop")
        final = getattr(estimator, "final_estimator_", getattr(estimator, "final_estimator", None))
        if final is not None:
            yield from _draw(final, f"{name}/final_estimator", outputs, {})
            outputs = (f"{name}/final_estimator",)
    yield Node(name, type(estimator).__name__, outputs, _items({**facts, **_changed(estimator)}))


def _parallel_parts(estimator: Any) -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Yield name, estimator and further attributes of each part that gets the same data."""
    for listing in ("transformers_", "transformers", "transformer_list", "estimators"):
        parts = getattr(estimator, listing, None)
        if isinstance(parts, list) and parts and isinstance(parts[0], tuple):
            for part in parts:
                yield part[0], part[1], {"columns": _short(part[2])} if len(part) > 2 else {}
            return
    for name, part in inner_estimators(estimator).items():
        yield name, part, {}
    if not inner_estimators(estimator):  # a meta-estimator without partial_fit
        for name, value in estimator.get_params(deep=False).items():
            if hasattr(value, "get_params") and not isinstance(value, type):
                yield name, value, {}


def _changed(estimator: Any) -> Mapping[str, str]:
    """Return name and value of each parameter that differs from its default, except for estimators."""
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
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def _layers(estimator: Any, name: str, inputs: tuple[str, ...]) -> Iterator[Node]:
    """Yield the layers of a multi-layer perceptron, each of which takes the output of the one before."""
    layers: list[tuple[str, int | None, str | None]] = [
        (f"hidden_{number}", int(size), estimator.activation)
        for number, size in enumerate(np.ravel(estimator.hidden_layer_sizes), start=1)
    ]
    outputs = getattr(estimator, "n_outputs_", None)  # unknown before the first batch
    layers.append(("output", outputs, getattr(estimator, "out_activation_", None)))
    for layer, units, activation in layers:
        facts = {"units": units, "activation": activation}
        known = {key: str(value) for key, value in facts.items() if value is not None}
        yield Node(f"{name}/{layer}", "Dense", inputs, _items(known), None if units is None else (None, units))
        inputs = (f"{name}/{layer}",)


def _items(facts: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(facts.items())
