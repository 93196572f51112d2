"""A scorer that cannot work is refused before the training."""

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import Perceptron, SGDClassifier, SGDRegressor
from sklearn.metrics import f1_score, make_scorer
from sklearn.naive_bayes import MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainbus import SettingsError
from trainbus.adapters.sklearn import partial_fit
from trainbus.adapters.sklearn.stream import partial_fit_stream

from .estimators import LABELS, X, fitted

TWO = (LABELS > 0).astype(int)


def text(estimator, X, y):
    """Return what is no number."""
    return "good"


def broken(estimator, X, y):
    """Raise an error."""
    raise KeyError("column")


@pytest.mark.parametrize(
    ("estimator", "scoring", "y", "sentence"),
    [
        (SGDClassifier(), "neg_log_loss", LABELS, "'neg_log_loss' cannot score this SGDClassifier: .*predict_proba"),
        (SGDClassifier(), "roc_auc", LABELS, "'roc_auc' cannot score this SGDClassifier: .*"),
        (SGDClassifier(), ["accuracy", "f1"], LABELS, "'f1' cannot score this SGDClassifier: Target is multiclass"),
        (Perceptron(), "neg_brier_score", TWO, "'neg_brier_score' cannot score this Perceptron: .*predict_proba"),
        (make_pipeline(StandardScaler(), SGDClassifier()), "neg_log_loss", TWO, "cannot score this SGDClassifier"),
        (SGDClassifier(), {"mine": make_scorer(f1_score)}, LABELS, "'mine' cannot score this SGDClassifier: Target is"),
        (SGDClassifier(), text, LABELS, "text cannot score this SGDClassifier: .*'good' is not a number"),
        (SGDRegressor(), {"b": broken}, LABELS, "'b' cannot score this SGDRegressor: 'column'"),
        (SGDRegressor(), "neg_mean_squared_log_error", -1.0 - LABELS, "cannot score this SGDRegressor"),
    ],
)
def test_a_scorer_that_cannot_work_is_refused_before_training(estimator, scoring, y, sentence):
    """The error names the scorer and why it fails; nothing was trained."""
    with pytest.raises(SettingsError, match=f"^scoring: .*{sentence}.*; choose another scorer$"):
        partial_fit(estimator, X, y, epochs=3, scoring=scoring)
    assert not fitted(estimator)


def test_a_scorer_that_cannot_score_the_validation_data_is_refused():
    """Rows of one label have no area under a curve."""
    scorer = make_scorer(lambda y, predicted: 1 / np.ptp(y) if np.ptp(y) else {}["one label"])
    with pytest.raises(SettingsError, match="cannot score this SGDClassifier: 'one label'"):
        partial_fit(SGDClassifier(), X, TWO, scoring={"s": scorer}, validation_data=(X[TWO == 1], TWO[TWO == 1]))
    with pytest.raises(SettingsError, match="'neg_log_loss' cannot score this SGDClassifier"):
        partial_fit_stream(
            SGDClassifier(), [(X, TWO)], classes=[0, 1], validation_data=(X, TWO), scoring="neg_log_loss"
        )


@pytest.mark.parametrize(
    ("estimator", "scoring", "y"),
    [
        (SGDClassifier(loss="log_loss"), ["neg_log_loss", "roc_auc_ovr"], np.sort(LABELS)),
        (SGDClassifier(loss="log_loss"), "neg_log_loss", np.sort(TWO)),
        (MLPClassifier((3,)), "average_precision", np.sort(TWO)),
        (MultinomialNB(), "f1_macro", LABELS),
        (MiniBatchKMeans(3, n_init=1), lambda model, X, y: model.score(X), None),
        (make_pipeline(PCA(4), SGDClassifier(loss="log_loss")), "top_k_accuracy", LABELS),
    ],
)
def test_the_trial_changes_nothing(estimator, scoring, y):
    """Sorted labels, of which a batch has one, are no reason to refuse; the training draws the same numbers."""
    samples, runs = np.abs(X), []
    for tried in (scoring, None):
        np.random.seed(3)  # noqa: NPY002 - the estimators draw from it
        runs.append(partial_fit(estimator, samples, y, batch_size=5, epochs=2, scoring=tried, shuffle=True))
        estimator = type(estimator)(**estimator.get_params()) if not hasattr(estimator, "steps") else None
        if estimator is None:
            estimator = make_pipeline(PCA(4), SGDClassifier(loss="log_loss"))
    common = runs[0].history.keys() & runs[1].history.keys()
    assert runs[0].step == runs[1].step > 0
    assert all(runs[0].history[name] == runs[1].history[name] for name in common)
