"""The losses of estimators, and scores."""

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.metrics import get_scorer, log_loss
from sklearn.neural_network import MLPClassifier, MLPRegressor

from trainbus.adapters.sklearn import SklearnSubject, loss, partial_fit

from .estimators import CASES, LABELS, TARGETS, X, data, make, step

# deprecated since scikit-learn 1.8, gone in 1.10
pytestmark = pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")


@pytest.mark.parametrize(
    ("scoring", "names"),
    [
        (None, ["score"]),
        ("accuracy", ["accuracy"]),
        (["accuracy", "neg_log_loss"], ["accuracy", "neg_log_loss"]),
        ({"right": "accuracy", "f": "f1_macro"}, ["right", "f"]),
        (lambda model, X, y: model.score(X, y), ["score"]),
        (lambda model, X, y: {"right": model.score(X, y)}, ["right"]),
    ],
)
def test_scores_are_those_of_scikit_learn(scoring, names):
    """The history holds what the scorers give on the training and the validation rows, under their names."""
    estimator = MLPClassifier((4,), random_state=0)
    run = partial_fit(estimator, X, LABELS, scoring=scoring, validation_data=(X[:20], LABELS[:20]), random_state=0)
    assert list(run.history) == [
        "learning_rate", "loss", *names, "val_loss", *(f"val_{name}" for name in names)
    ]  # fmt: skip
    known = {"neg_log_loss": "neg_log_loss", "f": "f1_macro"}
    for name in names:
        scorer = get_scorer(known.get(name, "accuracy"))
        assert run.history[name] == [scorer(estimator, X, LABELS)]
        assert run.history[f"val_{name}"] == [scorer(estimator, X[:20], LABELS[:20])]
    assert run.history["val_loss"] == [log_loss(LABELS[:20], estimator.predict_proba(X[:20]))]


def named_losses(kind):
    """Return the names of an estimator's losses, without those for which it gives probabilities."""
    return sorted(kind.loss_functions.keys() - {"log_loss"})


def own_loss(estimator, truth, raw):
    """Return the mean of scikit-learn's function for the estimator's loss, doubled if scikit-learn halves it."""
    kind, *options = estimator.loss_functions[estimator.loss]
    function = kind(*[estimator.epsilon if option == SGDRegressor().epsilon else option for option in options])
    if hasattr(function, "py_loss"):
        return np.mean([function.py_loss(p, y) for p, y in zip(raw, truth, strict=True)])
    out = np.empty(len(raw))
    function.loss(truth.astype(float), raw, None, out)
    return out.mean() * (2 if estimator.loss == "squared_error" else 1)


@pytest.mark.parametrize("name", named_losses(SGDClassifier))
def test_the_loss_of_a_margin_classifier_is_the_one_that_it_minimizes(name):
    """With two classes, the loss is the mean of scikit-learn's own function over the rows."""
    signs = np.where(LABELS == 0, 1, -1)
    estimator = SGDClassifier(loss=name, learning_rate="constant", eta0=1e-4, random_state=0)
    estimator.partial_fit(X, signs, classes=[-1, 1])
    assert loss(estimator, X, signs) == pytest.approx(own_loss(estimator, signs, estimator.decision_function(X)))


@pytest.mark.parametrize("name", named_losses(SGDRegressor))
def test_the_loss_of_a_regressor_is_the_one_that_it_minimizes(name):
    """The loss is the mean of scikit-learn's own function over the rows."""
    estimator = SGDRegressor(loss=name, epsilon=0.3, learning_rate="constant", eta0=1e-4, random_state=0)
    estimator.partial_fit(X, TARGETS)
    assert loss(estimator, X, TARGETS) == pytest.approx(own_loss(estimator, TARGETS, estimator.predict(X)))


@pytest.mark.parametrize("name", [name for name in CASES if data(name)[1] is not None and name != "SelectFromModel"])
def test_every_classifier_and_regressor_has_a_loss(name):
    """The default monitor val_loss works for all of them, and is finite."""
    samples, y = data(name)
    run = partial_fit(make(name), samples, y, epochs=5, validation_data=(samples, y), random_state=0)
    assert run.history["loss"] == run.history["val_loss"]
    assert np.isfinite(run.history["loss"]).all()


def test_the_loss_of_a_perceptron_is_the_one_that_it_minimizes():
    """The loss that an MLP reports, of its last batch before the update, equals ours if it has no penalty."""
    samples, many = X, np.stack([LABELS, LABELS % 2], axis=1) > 0
    for kind, y, options, share in (
        (MLPClassifier, LABELS, {}, 1),
        (MLPClassifier, many.astype(int), {}, 2),
        (MLPRegressor, TARGETS, {}, 0.5),
        (MLPRegressor, np.abs(TARGETS) + 1, {"loss": "poisson"}, None),
    ):
        estimator = kind(hidden_layer_sizes=(4,), alpha=0, random_state=0, **options)
        classes = {"classes": np.unique(y)} if kind is MLPClassifier else {}
        estimator.partial_fit(samples, y, **classes)
        before = loss(estimator, samples, y)
        estimator.partial_fit(samples, y)
        if share is not None:
            assert estimator.loss_ == pytest.approx(before * share)
        else:
            assert loss(estimator, samples, y) < before


def test_the_loss_of_several_outputs_is_the_mean_of_theirs():
    """The loss of several outputs is the mean of the losses of their estimators."""
    for name in ("MultiOutputClassifier", "MultiOutputRegressor"):
        estimator, (samples, y) = make(name), data(name)
        step(name, estimator)
        parts = [loss(part, samples, y[:, i]) for i, part in enumerate(estimator.estimators_)]
        assert loss(estimator, samples, y) == np.mean(parts)


def test_scores_improve_upwards_under_any_name():
    """A scorer's direction is up, even if its name suggests down; a loss goes down."""
    subject = SklearnSubject(make("SGDRegressor"), scoring={"error": "neg_mean_squared_error"})
    assert subject.direction_of("val_error") == "max"
    assert subject.direction_of("val_loss") == "min"
    assert subject.direction_of("reward") is None
