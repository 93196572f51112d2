"""The operations of a forward pass as a graph, by either of PyTorch's tracers."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainbus.adapters.torch.inspection.operation_graph import operation_nodes
from trainbus.adapters.torch.inspection.probe import Arguments
from trainbus.capabilities import Node

X = torch.ones(5, 3)


@pytest.fixture(params=["trace", "export"])
def tracer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each tracer in turn: without TensorBoard the nodes come from ``torch.export``."""
    if request.param == "export":
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard._pytorch_graph", None)
    return str(request.param)


def sources(nodes: Sequence[Node], end: str) -> set[str]:
    """Return the names of all nodes that the nodes of a kind with ``end`` in its name depend on."""
    inputs = {node.name: node.inputs for node in nodes}
    todo, seen = [node.name for node in nodes if end in node.kind], set[str]()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += inputs[name]
    return seen


def chain(depth: int) -> nn.Module:
    return nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(depth)))


@pytest.mark.parametrize("depth", [1, 3])
def test_operations_are_inside_the_modules_that_run_them(tracer: str, depth: int) -> None:
    """Every name is unique and every input is a node; each layer's operation depends on the one before it."""
    model = chain(depth)
    nodes = operation_nodes(model, Arguments((X,), {}))
    names = [node.name for node in nodes]

    assert len(set(names)) == len(names)
    assert {name for node in nodes for name in node.inputs} <= set(names)
    assert sum("tanh" in node.kind for node in nodes) == depth
    assert sum("linear" in node.kind or "addmm" in node.kind for node in nodes) == depth
    layers = [node for node in nodes if "tanh" in node.kind]
    for number, node in enumerate(layers):
        outer, inner = ("Sequential[{}]", "Tanh[1]") if tracer == "trace" else ("{}", "1")
        assert node.name.startswith(f"Sequential/{outer.format(number)}/{inner}/")
        assert node.shape == (5, 3)
    assert any("input" in name for name in sources(nodes, "tanh"))


class TwoInputs(nn.Module):
    def forward(self, a: Any, b: Any) -> Any:
        return (a * b).relu()


@pytest.mark.parametrize(
    "arguments", [Arguments((X, 2 * X), {}), Arguments((), {"a": X, "b": 2 * X}), Arguments((X,), {"b": 2 * X})]
)
@pytest.mark.usefixtures("tracer")
def test_arguments_come_by_position_and_by_name(arguments: Arguments) -> None:
    """In any mixture, of which the first tracer takes only one kind."""
    nodes = operation_nodes(TwoInputs(), arguments)

    assert len([name for name in sources(nodes, "relu") if "input" in name]) == 2


class Branching(nn.Module):
    """A model whose control flow depends on the values."""

    def forward(self, x: Any) -> Any:
        return x.exp() if x.sum() > 0 else x.neg()


class Failing(nn.Module):
    """A model that prints, logs, warns and then raises."""

    def forward(self, x: Any) -> Any:
        print("printed")
        print("printed", file=sys.stderr)
        logging.getLogger("torch").error("logged")
        warnings.warn("warned", stacklevel=1)
        raise ArithmeticError("cannot be traced")


def test_only_the_first_tracer_follows_control_flow(tracer: str) -> None:
    """The other one raises its own error."""
    if tracer == "trace":
        assert any("exp" in node.kind for node in operation_nodes(Branching(), Arguments((X,), {})))
    else:
        with pytest.raises(Exception, match=r"data-dependent|Could not guard|control flow"):
            operation_nodes(Branching(), Arguments((X,), {}))


def test_a_failing_trace_is_silent_and_restores_the_process(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """What tracing prints, logs and warns of is dropped; the caller gets the error and everything as it was."""
    model = nn.Sequential(nn.Dropout(), Failing())
    before = sys.stdout, sys.stderr, logging.root.manager.disable, warnings.filters[:]
    with pytest.raises(Exception, match="cannot be traced"):
        operation_nodes(model, Arguments((X,), {}))

    assert (sys.stdout, sys.stderr, logging.root.manager.disable, warnings.filters[:]) == before
    assert all(module.training for module in model.modules())
    assert capfd.readouterr() == ("", "")
    assert [each for each in caplog.records if each.levelno > logging.DEBUG] == []


@given(st.lists(st.sampled_from([nn.ReLU, nn.Tanh, nn.Sigmoid]), min_size=1, max_size=4))
def test_each_operation_is_a_node(kinds: list[Callable[[], nn.Module]]) -> None:
    """In the order in which they run."""
    nodes = operation_nodes(nn.Sequential(*(kind() for kind in kinds)), Arguments((X,), {}))
    found = [node.kind.rpartition("::")[2] for node in nodes]

    assert [kind for kind in found if kind in ("relu", "tanh", "sigmoid")] == [kind.__name__.lower() for kind in kinds]
