"""What a subject shows of its model: weights, gradients, activations, graph, trace and configuration."""

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import get_protocol_members

from trainbus.capabilities import (
    HasActivations,
    HasConfig,
    HasGradients,
    HasGraph,
    HasTrace,
    HasWeights,
    Node,
    has,
    missing,
)
from trainbus.testing import LineSubject, check_subject

from .declared import assert_takes_declared_arguments, implementers, with_methods

METHODS = {
    HasWeights: "weights",
    HasGradients: "hold_gradients",
    HasActivations: "activations",
    HasGraph: "graph",
    HasTrace: "trace",
    HasConfig: "config",
}
"""Each capability and its one method."""

names = st.sampled_from("abc")
nodes = st.lists(st.builds(Node, names, st.just("Layer"), st.lists(names, max_size=2).map(tuple)), max_size=4)


@pytest.mark.parametrize("capability", METHODS)
def test_each_way_to_look_at_a_model_needs_one_method(capability: type) -> None:
    """So that a subject may have any of them; an object without the method is told apart by its name."""
    name = METHODS[capability]
    assert get_protocol_members(capability) == {name}
    for other, method in METHODS.items():
        assert has(with_methods(method), capability) == (other is capability)
    assert missing(with_methods(), capability) == f"'Partial' has no {name}()"


@pytest.mark.parametrize(("capability", "kind"), [(each, kind) for each in METHODS for kind in implementers(each)])
def test_subjects_take_the_declared_arguments(capability: type, kind: type) -> None:
    """Which ``isinstance`` does not compare."""
    assert_takes_declared_arguments(kind, capability)


def test_every_way_has_a_subject_of_trainbus() -> None:
    """No Protocol is declared for nothing."""
    assert all(implementers(capability) for capability in METHODS)


class Drawn(LineSubject):
    """A subject with any nodes."""

    def __init__(self, nodes: list[Node]) -> None:
        super().__init__()
        self.nodes = nodes

    def graph(self) -> list[Node]:
        return self.nodes


@given(nodes)
def test_a_graph_has_unique_names_and_only_known_inputs(drawn: list[Node]) -> None:
    """Nothing else is required: nodes in any order, circles, and nodes without an edge."""
    known = [node.name for node in drawn]
    valid = len(set(known)) == len(known) and all(set(node.inputs) <= set(known) for node in drawn)
    refused = pytest.raises(AssertionError, match=r"names of nodes are unique|inputs of nodes are nodes")
    with nullcontext() if valid else refused:
        check_subject(lambda: Drawn(drawn), lambda line: line.train(np.array([0.0, 1.0]), np.array([1.0, 3.0])))


@given(names, names, st.none() | st.lists(st.none() | st.integers(1, 9), max_size=3).map(tuple))
def test_a_node_is_a_value(name: str, kind: str, shape: tuple[int | None, ...] | None) -> None:
    """Equal if all its parts are; without inputs, attributes and a known shape unless they are given."""
    node = Node(name, kind, shape=shape)
    assert node == Node(name, kind, (), (), shape)
    assert node._replace(shape=None) == Node(name, kind)
    assert node._replace(inputs=("x",)) != node
    with pytest.raises(AttributeError):
        node.name = "another"  # type: ignore[misc]
