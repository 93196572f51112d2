"""Estimators as graphs."""

import pytest
from sklearn.feature_selection import SelectFromModel
from sklearn.neural_network import MLPClassifier

from trainbus.adapters.sklearn import SklearnSubject

# deprecated since scikit-learn 1.8, gone in 1.10
pytestmark = pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")


def test_the_graph_shows_layers_and_nesting():
    """A box for each layer, in a chain, inside the box of its perceptron, inside that of the meta-estimator."""
    nested = SelectFromModel(MLPClassifier((4, 3), learning_rate_init=0.01))
    graph = SklearnSubject(nested).graph()
    inside = "SelectFromModel/estimator"
    assert [(node.name, node.kind, node.inputs) for node in graph] == [
        ("input", "Input", ()),
        (f"{inside}/hidden_1", "Dense", ("input",)),
        (f"{inside}/hidden_2", "Dense", (f"{inside}/hidden_1",)),
        (f"{inside}/output", "Dense", (f"{inside}/hidden_2",)),
        (inside, "MLPClassifier", (f"{inside}/output",)),
        ("SelectFromModel", "SelectFromModel", (inside,)),
    ]
    assert graph[4].attributes == (("hidden_layer_sizes", "(4, 3)"), ("learning_rate_init", "0.01"))
    assert graph[2].attributes == (("units", "3"), ("activation", "relu"))
