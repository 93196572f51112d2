"""The outputs of the layers of multi-layer perceptrons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.linear_model import SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from trainbus import SettingsError
from trainbus.adapters.sklearn.activations import activations, has_layers

from .estimators import LABELS, TARGETS, X


def collected(found):
    """Return name to joined arrays."""
    arrays = {}
    for name, array in found:
        arrays.setdefault(name, []).append(array)
    return {name: np.concatenate(parts) for name, parts in arrays.items()}


def classifier(activation="relu"):
    model = MLPClassifier((4, 3), activation=activation, random_state=0)
    return model.partial_fit(X, LABELS, classes=np.unique(LABELS))


@given(rows=st.integers(1, 60), size=st.integers(1, 70))
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_the_last_layer_predicts(activation, rows, size):
    """In batches of any size each row passes once; the outputs are the probabilities, and of a regressor the values."""
    model = classifier(activation)
    found = list(activations(model, X[:rows], size))
    joined = collected(found)

    assert max(len(array) for _, array in found) <= size
    assert {name: array.shape for name, array in joined.items()} == {
        "hidden_1": (rows, 4),
        "hidden_2": (rows, 3),
        "output": (rows, 3),
    }
    np.testing.assert_allclose(joined["output"], model.predict_proba(X[:rows]), rtol=1e-9)
    low, high = {"identity": (-np.inf, np.inf), "logistic": (0, 1), "tanh": (-1, 1), "relu": (0, np.inf)}[activation]
    assert low <= joined["hidden_1"].min() <= joined["hidden_1"].max() <= high


def test_a_regressor_predicts_too():
    """Its output has one column per target."""
    model = MLPRegressor(hidden_layer_sizes=(4,), random_state=0).partial_fit(X, TARGETS)

    np.testing.assert_allclose(collected(activations(model, X, 7))["output"][:, 0], model.predict(X), rtol=1e-9)


def test_sparse_rows_have_the_outputs_of_dense_ones():
    """Rows come in their type."""
    model = classifier()
    dense, sparse = (collected(activations(model, rows, 9)) for rows in (X, csr_matrix(X)))

    for name, array in dense.items():
        np.testing.assert_allclose(sparse[name], array)


def test_layers_of_inner_estimators_have_their_names():
    """Each perceptron inside a meta-estimator is one."""
    several = MultiOutputRegressor(MLPRegressor(hidden_layer_sizes=(2,), random_state=0))
    several.partial_fit(X, np.stack([TARGETS, -TARGETS], axis=1))
    found = collected(activations(several, X, 60))

    assert list(found) == [f"estimators_/{i}/{layer}" for i in (0, 1) for layer in ("hidden_1", "output")]
    for number, part in enumerate(several.estimators_):
        np.testing.assert_allclose(found[f"estimators_/{number}/output"][:, 0], part.predict(X))


def test_rows_pass_through_the_steps_of_a_pipeline_first():
    """The last step gets what the others make; a step that is not fitted is refused with the fix."""
    pipeline = make_pipeline(MaxAbsScaler(), MLPClassifier((2,), random_state=0))
    with pytest.raises(SettingsError, match=r"MaxAbsScaler is a step that is not fitted.*pipeline\[:-1\].fit"):
        list(activations(pipeline, X, 5))
    scaled = pipeline[0].fit_transform(X)
    pipeline[-1].partial_fit(scaled, LABELS, classes=np.unique(LABELS))

    found = collected(activations(pipeline, X, 11))
    (output,) = (array for name, array in found.items() if name.endswith("output"))
    np.testing.assert_allclose(output, pipeline.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize(
    ("estimator", "layers"),
    [
        (MLPClassifier(), True),
        (OneVsRestClassifier(MLPClassifier()), True),
        (make_pipeline(MaxAbsScaler(), MLPRegressor()), True),
        (SGDClassifier(), False),
        (OneVsRestClassifier(SGDClassifier()), False),
    ],
)
def test_perceptrons_have_layers(estimator, layers):
    """Inside other estimators too; before a fit there are no outputs yet."""
    assert has_layers(estimator) == layers
    if not hasattr(estimator, "steps"):
        assert list(activations(estimator, X, 5)) == []
