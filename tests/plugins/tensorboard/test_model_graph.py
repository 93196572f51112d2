"""Graphs of each framework's models, which cost neither the run nor the terminal anything."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import keras
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler

from trainbus import Run
from trainbus.adapters.keras.subject import KerasSubject
from trainbus.adapters.sklearn.graph import estimator_nodes
from trainbus.adapters.torch import TorchSubject
from trainbus.capabilities import Node
from trainbus.plugins import TensorBoard

from ..event_readers import read
from .runs import TorchLike, train

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboard.plugins.graph import keras_util

ROWS = 7
X = torch.ones(ROWS, 3)


class Branching(torch.nn.Module):
    """A model whose control flow depends on the values."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return self.high(x) if x.sum() > 0 else self.low(x)


class Named(torch.nn.Module):
    """A model that maps a dictionary of tensors to another."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, given: Any) -> Any:
        return {"scores": self.layer(given["a"] + given["b"])}


class Wanting(Named):
    """A model that takes its tensors by name only."""

    def forward(self, *, a: Any, b: Any) -> Any:  # type: ignore[override]
        return self.layer(a + b).relu()


class Untraceable(torch.nn.Module):
    """A model that both tracers fail on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            print("cannot be followed")
            raise ArithmeticError("cannot be followed")
        return self.layer(x)


def drawn(subject: Any) -> dict[str, Any]:
    """Return the nodes by name, as TensorBoard reads them."""
    with Run(subject, TensorBoard("logs")) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
    return {node.name: node for node in read()["train"].Graph().node}


def connected(graph: dict[str, Any], begin: str, end: str) -> bool:
    """Return whether a path leads from a node of operation ``begin`` to one of operation ``end``."""
    todo, seen = [name for name, node in graph.items() if end in node.op], set[str]()
    while todo:
        name = todo.pop()
        if begin in graph[name].op or begin in name:
            return True
        todo += [each for each in graph[name].input if each not in seen]
        seen.update(graph[name].input)
    return False


CASES = [
    (torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()), X, "relu"),
    (Branching(), (X, X), "linear"),
    (Named(), {"a": X, "b": X}, "linear"),
    (Wanting(), {"a": X, "b": X}, "relu"),
    (torch.nn.Sequential(torch.nn.Conv1d(1, 2, 2), torch.nn.BatchNorm1d(2)), torch.ones(ROWS, 1, 4), "batch_norm"),
]


@pytest.mark.parametrize("tensorboard", [True, False])
@pytest.mark.parametrize(("model", "probe", "operation"), CASES, ids=lambda value: type(value).__name__)
def test_operations_of_pytorch_are_traced(
    model: Any, probe: Any, operation: str, tensorboard: bool, monkeypatch: pytest.MonkeyPatch, capfd: Any, logged: Any
):
    """A path with shapes leads from an input to the operation, without output or warnings.

    With TensorBoard and without; only the former can follow control flow that depends on values.
    """
    if not tensorboard:
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard._pytorch_graph", None)
    graph = drawn(TorchSubject(model, probe=probe))
    if isinstance(model, Branching) and not tensorboard:
        assert [node.op for node in graph.values()] == ["Linear", "Linear"]
        assert len(logged()) == 1
        return
    assert set().union(*(node.input for node in graph.values())) <= graph.keys()
    assert connected(graph, "input", operation)
    shapes = [each.attr["_output_shapes"].list.shape for each in graph.values()]
    assert any(shape.dim[0].size == ROWS for each in shapes for shape in each if shape.dim)
    assert capfd.readouterr() == ("", "")
    assert logged() == []


def test_a_model_that_cannot_be_traced_shows_its_modules_and_logs_one_line(capfd: Any, logged: Any):
    """The modules are drawn, one line gives the reason, the tracers' output is suppressed, and the run continues."""
    graph = drawn(TorchSubject(Untraceable(), probe=X))
    assert {name: node.op for name, node in graph.items()} == {"layer": "Linear"}
    (line,) = logged()
    assert line.startswith("TensorBoard: the graph shows layers, not operations: ")
    assert capfd.readouterr().out == ""


def test_without_data_pytorch_shows_its_modules(logged: Any):
    """No warning is logged."""
    graph = drawn(TorchSubject(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())))
    assert {name: (node.op, list(node.input)) for name, node in graph.items()} == {
        "0": ("Linear", []),
        "1": ("ReLU", ["0"]),
    }
    assert logged() == []


def test_keras_has_both_graphs():
    """The layers are the default graph, with their shapes; TensorBoard makes the same nodes of the description."""
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    mixed = keras.layers.Add(name="mixed")([keras.layers.Dense(3, name="dense")(left), right])
    model = keras.Model([left, right], keras.layers.Dense(1, name="head")(mixed), name="two")
    graph = drawn(KerasSubject(model))
    edges = {"left": [], "right": [], "dense": ["left"], "mixed": ["dense", "right"], "head": ["mixed"]}
    assert {name: list(node.input) for name, node in graph.items()} == edges
    (shape,) = graph["dense"].attr["_output_shapes"].list.shape
    assert [dim.size for dim in shape.dim] == [-1, 3]
    reader = read()["train"]
    assert reader.SummaryMetadata("keras").plugin_data.plugin_name == "graph_keras_model"
    described = json.loads(reader.Tensors("keras")[0].tensor_proto.string_val[0])
    conceptual = {node.name: list(node.input) for node in keras_util.keras_model_to_graph_def(described).node}
    assert {name.rpartition("/")[2] for name in conceptual} == set(edges)


def test_a_keras_model_of_free_calls_has_no_description(logged: Any):
    """Only the layers are drawn, and no warning is logged."""

    class Free(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = keras.layers.Dense(1, name="layer")

        def call(self, x: Any) -> Any:
            return self.layer(x)

    assert set(drawn(KerasSubject(Free()))) == {"layer"}
    assert "keras" not in read()["train"].Tags()["tensors"]
    assert logged() == []


def test_scikit_learn_shows_the_data_flow():
    """Steps follow one another, branches are parallel and are joined, and dropped columns are not."""
    columns = ColumnTransformer(
        [("scaled", StandardScaler(), [0]), ("bare", "passthrough", [1]), ("gone", "drop", [2])], verbose=True
    )
    union = FeatureUnion([("some", PCA(1)), ("all", "passthrough")])
    stack = StackingClassifier([("linear", SGDClassifier()), ("deep", MLPClassifier((2,)))], final_estimator=PCA())
    graph = {
        each.name: each for each in estimator_nodes(Pipeline([("a", columns), ("b", None), ("c", union), ("d", stack)]))
    }
    assert {name: list(node.inputs) for name, node in graph.items()} == {
        "input": [],
        "Pipeline/a/scaled": ["input"],
        "Pipeline/a/bare": ["input"],
        "Pipeline/a/gone": ["input"],
        "Pipeline/a": ["Pipeline/a/scaled", "Pipeline/a/bare"],
        "Pipeline/b": ["Pipeline/a"],
        "Pipeline/c/some": ["Pipeline/b"],
        "Pipeline/c/all": ["Pipeline/b"],
        "Pipeline/c": ["Pipeline/c/some", "Pipeline/c/all"],
        "Pipeline/d/linear": ["Pipeline/c"],
        "Pipeline/d/deep/hidden_1": ["Pipeline/c"],
        "Pipeline/d/deep/output": ["Pipeline/d/deep/hidden_1"],
        "Pipeline/d/deep": ["Pipeline/d/deep/output"],
        "Pipeline/d/final_estimator": ["Pipeline/d/linear", "Pipeline/d/deep"],
        "Pipeline/d": ["Pipeline/d/final_estimator"],
        "Pipeline": ["Pipeline/d"],
    }
    assert graph["Pipeline/a"].attributes == (("verbose", "True"),)
    assert graph["Pipeline/a/scaled"].attributes == (("columns", "[0]"),)


def test_the_graph_of_a_fitted_ensemble_has_its_estimators():
    """Once it is trained, the estimators that do the work are shown."""
    stack = StackingClassifier([("a", SGDClassifier()), ("b", MLPClassifier((2,), max_iter=5))], cv="prefit")
    assert {each.name for each in estimator_nodes(stack)} >= {"StackingClassifier/a", "StackingClassifier/b/hidden_1"}


def test_write_graph_false_traces_and_writes_nothing():
    """With write_graph=False neither kind is written, and the model is not even traced."""
    with Run(TorchSubject(Untraceable(), probe=X), TensorBoard("logs", write_graph=False)) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
    assert not read()["train"].Tags()["graph"]
    assert Path("logs/train").is_dir()


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboard.compat.proto.graph_pb2 import GraphDef


def test_graph_is_the_subjects():
    """The graph has the subject's nodes with their kinds, inputs and attributes."""
    subject = TorchLike()
    train(TensorBoard("logs"), epochs=1, batches=1, subject=subject)
    nodes = GraphDef.FromString(read()["train"].Graph().SerializeToString()).node
    found = [
        Node(node.name, node.op, tuple(node.input), tuple((key, node.attr[key].s.decode()) for key in node.attr))
        for node in nodes
    ]
    assert found == list(subject.graph())


def test_a_subject_without_a_graph_logs_no_warning():
    """Without write_graph there is none, and a subject without a graph causes no warning."""
    train(TensorBoard("off", write_graph=False), epochs=1, batches=1, subject=TorchLike())
    train(TensorBoard("none", histogram_freq=0), epochs=1, batches=1)
    assert not any(reader.Tags()["graph"] for folder in ("off", "none") for reader in read(folder).values())
