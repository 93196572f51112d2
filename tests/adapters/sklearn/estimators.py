"""Every estimator of scikit-learn that has ``partial_fit``, with data that suits it."""

import numpy as np
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.utils import all_estimators

from trainbus.adapters.sklearn import SklearnSubject

RNG = np.random.default_rng(0)
X = RNG.integers(0, 5, (60, 8)).astype(float)
LABELS = np.arange(60) % 3
TARGETS = X @ np.arange(8.0) / 10
TEXTS = [f"word{i % 7} other{i % 5}" for i in range(60)]
META = {"MultiOutputClassifier", "MultiOutputRegressor", "OneVsOneClassifier", "OneVsRestClassifier", "SelectFromModel"}
WITH_RATE = {
    "BernoulliRBM",
    "MLPClassifier",
    "MLPRegressor",
    "MultiOutputClassifier",
    "MultiOutputRegressor",
    "OneVsOneClassifier",
    "OneVsRestClassifier",
    "PassiveAggressiveClassifier",
    "PassiveAggressiveRegressor",
    "Perceptron",
    "SGDClassifier",
    "SGDOneClassSVM",
    "SGDRegressor",
    "SelectFromModel",
}
KINDS = {name: kind for name, kind in all_estimators() if hasattr(kind, "partial_fit")}
CASES = sorted(KINDS)


def make(name):
    """Return a new estimator of this name, with a constant learning rate if it can have one."""
    constant = {"learning_rate": "constant", "eta0": 0.01}
    kind = KINDS[name]
    if name in META:
        inner = SGDRegressor if name == "MultiOutputRegressor" else SGDClassifier
        return kind(inner(**constant, random_state=0))
    options = {
        "BernoulliRBM": {"n_components": 3},
        "CategoricalNB": {"min_categories": 5},
        "IncrementalPCA": {"n_components": 2},
        "LatentDirichletAllocation": {"n_components": 2},
        "MLPClassifier": {"hidden_layer_sizes": (4,)},
        "MLPRegressor": {"hidden_layer_sizes": (4,)},
        "MiniBatchDictionaryLearning": {"n_components": 2},
        "MiniBatchKMeans": {"n_clusters": 3},
        "MiniBatchNMF": {"n_components": 2},
        "SGDClassifier": constant,
        "SGDOneClassSVM": constant,
        "SGDRegressor": constant,
        "HashingVectorizer": {"n_features": 16},
    }.get(name, {})
    seeded = {"random_state": 0} if "random_state" in kind().get_params() else {}
    return kind(**options, **seeded)


def data(name):
    """Return X and y that suit the estimator; y is None if it trains without targets."""
    if name == "HashingVectorizer":
        return TEXTS, None
    if name == "MultiOutputClassifier":
        return X, np.stack([LABELS, LABELS % 2], axis=1)
    if name == "MultiOutputRegressor":
        return X, np.stack([TARGETS, -TARGETS], axis=1)
    if "Regressor" in name:
        return X, TARGETS
    if name.endswith("NB") or "Classifier" in name or name in ("Perceptron", "SelectFromModel"):
        return X, LABELS
    return X, None


def step(name, estimator):
    """Update once more, by scikit-learn alone."""
    samples, y = data(name)
    classes = {}
    if name == "MultiOutputClassifier":
        classes = {"classes": [np.unique(column) for column in y.T]}
    elif y is LABELS:
        classes = {"classes": np.unique(y)}
    estimator.partial_fit(samples, *([] if y is None else [y]), **classes)


def fitted(estimator):
    """Return all fitted arrays."""
    return {name: np.array(array) for name, array in SklearnSubject(estimator).weights()}


def assert_equal(one, other):
    """Assert that both have the same fitted arrays, bit by bit."""
    one, other = fitted(one), fitted(other)
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(other[name], array, err_msg=name)


class Own(SGDClassifier):
    """A third-party class."""
