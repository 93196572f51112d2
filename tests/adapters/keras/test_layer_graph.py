"""The layers of Keras models as graphs."""

from __future__ import annotations

import keras
import pytest

from trainbus.adapters.keras import KerasSubject

from .fits import subclassed

pytestmark = pytest.mark.filterwarnings("ignore:\\s*Your input ran out of data:UserWarning")


def test_graph_of_a_functional_model() -> None:
    """A node a layer, edges from the calls, nested models as scopes, a layer called twice once."""
    inputs = keras.Input((4,), name="in")
    inner = keras.Sequential([keras.Input((4,), name="hole"), keras.layers.Dense(4, name="deep")], name="inner")
    twice = keras.layers.Dense(4, name="twice")
    hidden = inner(inputs)
    joined = keras.ops.add(twice(hidden), twice(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(joined))

    nodes = {node.name: node for node in KerasSubject(model).graph()}

    assert {name: node.inputs for name, node in nodes.items()} == {
        "in": (),
        "inner/hole": ("in",),
        "inner/deep": ("inner/hole",),
        "twice": ("inner/deep", "in"),
        joined._keras_history.operation.name: ("twice",),
        "out": (joined._keras_history.operation.name,),
    }
    assert nodes["out"].kind == "Dense"
    assert dict(nodes["out"].attributes) == {
        "parameters": "5",
        "dtype": "float32",
        "trainable": "True",
        "output_shape": "(None, 1)",
    }


def test_graph_of_other_models() -> None:
    """Layers called freely have no edges between them; those of a sequential model have, even before it is built."""
    model = subclassed()
    hole = model.inner.inputs[0]._keras_history.operation.name
    nodes = [(node.name, node.inputs) for node in KerasSubject(model).graph()]
    # two layers of one name are two nodes
    assert nodes == [("twin", ()), ("twin_2", ()), (f"inner/{hole}", ()), ("inner/last", (f"inner/{hole}",))]

    sequential = keras.Sequential([keras.layers.Dense(2, name="a"), keras.layers.Dense(1, name="b")])
    assert [(node.name, node.inputs) for node in KerasSubject(sequential).graph()] == [("a", ()), ("b", ("a",))]
