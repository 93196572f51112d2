"""The modules of a model as a graph."""

from torch import nn

from trainbus.adapters.torch import TorchSubject
from trainbus.capabilities import Node


def test_the_graph_nests_modules_and_chains_sequentials() -> None:
    """Modules without children are nodes; those of a Sequential take the output of the one before."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 2)))
            self.head = nn.Linear(2, 1)

    linear = "in_features={}, out_features={}, bias=True"
    assert TorchSubject(Model()).graph() == [
        Node("body/0", "Linear", (), (("parameters", "8"), ("settings", linear.format(3, 2)))),
        Node("body/1/0", "ReLU", ("body/0",)),
        Node("body/1/1", "Linear", ("body/1/0",), (("parameters", "6"), ("settings", linear.format(2, 2)))),
        Node("head", "Linear", (), (("parameters", "3"), ("settings", linear.format(2, 1)))),
    ]
    assert [node.name for node in TorchSubject(nn.Linear(1, 1)).graph()] == ["Linear"]
