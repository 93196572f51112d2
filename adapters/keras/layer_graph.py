"""The layers of a Keras model as the nodes of a graph."""

# Keras declares no types and has no public way to read the calls between layers
# ruff: noqa: SLF001
# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from trainbus.capabilities import Node
from trainbus.metrics.names import unique


def _functional(operation: Any) -> Any:
    """Return the graph of calls inside a functional or a built sequential model; None for anything else."""
    if isinstance(operation, keras.Sequential):
        return getattr(operation, "_functional", None)
    return operation if isinstance(operation, keras.Model) and hasattr(operation, "_nodes_by_depth") else None


def is_functional(model: Any) -> bool:
    """Return whether the calls between the model's layers are fixed and known."""
    return _functional(model) is not None and type(model).__name__ in ("Functional", "Sequential", "Model")


def layers_of(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield every layer once, including those of inner models, under the prefix of its weights' names."""
    taken = set[str]()
    seen: set[int] = set()

    def walk(model: Any, scope: str) -> Iterator[tuple[str, Any]]:
        for layer in model.layers:
            if isinstance(layer, keras.Model):
                yield from walk(layer, f"{scope}{layer.name}/")
            elif id(layer) not in seen:
                seen.add(id(layer))
                yield unique(layer.path or f"{scope}{layer.name}", taken), layer

    return walk(model, "")


def layer_nodes(model: Any, scope: str = "", sources: Sequence[tuple[str, ...]] = ()) -> Iterator[Node]:
    """Yield a node for each layer of the model.

    Args:
        model: Any model.
        scope: The prefix of the nodes' names.
        sources: The names of the nodes that feed each of the model's inputs.
    """
    functional = _functional(model)
    if functional is None:
        before: tuple[str, ...] = ()
        for layer in model.layers:
            if isinstance(layer, keras.Model):
                yield from layer_nodes(layer, f"{scope}{layer.name}/")
            else:
                yield _node(layer, scope, before)
            if isinstance(model, keras.Sequential):  # not built yet, but its layers form a chain
                before = (scope + layer.name,)
        return
    calls = {node for nodes in functional._nodes_by_depth.values() for node in nodes}
    fed = {
        tensor._keras_history.operation.name: names for tensor, names in zip(functional.inputs, sources, strict=False)
    }
    for operation in functional.operations:
        called = [node.input_tensors for node in operation._inbound_nodes if node in calls]
        # one node per layer, however often it is called, with the inputs of all calls
        incoming = [tuple(dict.fromkeys(_source(each, scope) for each in same)) for same in zip(*called, strict=False)]
        if _functional(operation) is not None:
            yield from layer_nodes(operation, f"{scope}{operation.name}/", incoming)
        else:
            inputs = dict.fromkeys(name for names in incoming for name in names)
            yield _node(operation, scope, fed.get(operation.name, ()) or tuple(inputs))


def _source(tensor: Any, scope: str) -> str:
    """Return the name of the node that computes a symbolic tensor, inside nested models too."""
    operation, _, index = tensor._keras_history
    functional = _functional(operation)
    if functional is None:
        return f"{scope}{operation.name}"
    return _source(functional.outputs[index], f"{scope}{operation.name}/")


def _node(layer: Any, scope: str, inputs: tuple[str, ...]) -> Node:
    attributes: dict[str, Any] = {}
    if isinstance(layer, keras.Layer):
        if layer.built and layer.weights:
            attributes["parameters"] = layer.count_params()
        attributes |= {"dtype": layer.dtype_policy.name, "trainable": layer.trainable}
    calls, shape = getattr(layer, "_inbound_nodes", ()), None
    if calls:
        shape = tuple(calls[0].output_tensors[0].shape)
        attributes["output_shape"] = ", ".join(str(tensor.shape) for tensor in calls[0].output_tensors)
    facts = tuple((key, str(value)) for key, value in attributes.items())
    return Node(f"{scope}{layer.name}", type(layer).__name__, inputs, facts, shape)
