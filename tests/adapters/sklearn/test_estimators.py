"""The arrays of estimators by name."""

import pytest
from sklearn.neural_network import MLPClassifier

from .estimators import LABELS, X, fitted, make, step

# deprecated since scikit-learn 1.8, gone in 1.10
pytestmark = pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")


def test_weights_are_named_by_their_attributes():
    """Arrays are named by their attributes, those of layers by number, those inside by their place."""
    perceptron = MLPClassifier((4,), random_state=0).partial_fit(X, LABELS, classes=[0, 1, 2])
    assert list(fitted(perceptron)) == ["coefs_/0", "coefs_/1", "intercepts_/0", "intercepts_/1"]
    nested = make("OneVsRestClassifier")
    assert not fitted(nested)
    step("OneVsRestClassifier", nested)
    assert list(fitted(nested))[:3] == ["estimators_/0/coef_", "estimators_/0/intercept_", "estimators_/1/coef_"]
