"""A scorer that cannot work is refused before the training."""

import numpy as np
import pytest
from sklearn.base import clone
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


def returning(value):
    """Return a scorer that returns this value."""

    def scorer(estimator, X, y):
        return value

    return scorer


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
        (SGDClassifier(), returning(np.ones(3)), LABELS, "an array of 3 values is not a single number"),
        (SGDClassifier(), returning(None), LABELS, "None is not a number"),
        (SGDClassifier(), returning(np.empty(0)), LABELS, "an array of 0 values is not a single number"),
        (SGDClassifier(), returning(True), LABELS, "True is not a number"),
        (SGDClassifier(), returning([0.5, 0.6]), LABELS, "a value of type list is not a number"),
        (SGDClassifier(), returning(1j), LABELS, "complex"),
        (SGDClassifier(), returning(np.ma.masked), LABELS, "masked is not a number"),
        (SGDClassifier(), returning({"a": 0.5, "b": None}), LABELS, "None is not a number"),
        (SGDClassifier(), returning({"a": np.ones((2, 2))}), LABELS, "an array of 4 values"),
        (SGDClassifier(), returning({"": 0.5}), LABELS, "'' is an empty metric name"),
        (SGDRegressor(), {"b": returning(np.zeros(2))}, LABELS, "'b' cannot score this SGDRegressor: an array of 2"),
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


def split(y, size=10):
    """Return a function that yields the rows in batches."""

    def stream():
        for at in range(0, len(X), size):
            yield X[at : at + size], y[at : at + size]

    return stream


STREAMS = {
    "validation stream": {"train_metrics": False, "validation_data": True},
    "metrics of the batches": {"train_metrics": True},
    "both": {"train_metrics": True, "validation_data": True},
}


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize(
    ("estimator", "scoring", "y", "sentence"),
    [
        (SGDClassifier(), "neg_log_loss", TWO, "'neg_log_loss' cannot score this SGDClassifier: .*predict_proba"),
        (SGDClassifier(), ["accuracy", "f1"], LABELS, "'f1' cannot score this SGDClassifier: Target is multiclass"),
        (Perceptron(), "neg_brier_score", np.sort(TWO), "'neg_brier_score' cannot score this Perceptron"),
        (SGDClassifier(), "neg_log_loss", np.sort(LABELS), "'neg_log_loss' cannot score this SGDClassifier"),
        (SGDClassifier(), text, LABELS, "text cannot score this SGDClassifier: .*'good' is not a number"),
        (SGDRegressor(), {"b": broken}, 1.0 * LABELS, "'b' cannot score this SGDRegressor: 'column'"),
        (SGDRegressor(), "neg_mean_squared_log_error", -2.0 - LABELS, "cannot score this SGDRegressor"),
        (SGDRegressor(), "roc_auc", 1.5 * LABELS, "'roc_auc' cannot score this SGDRegressor"),
        (MLPClassifier((3,)), {"mine": make_scorer(f1_score)}, LABELS, "'mine' cannot score this MLPClassifier"),
    ],
)
def test_a_scorer_of_a_stream_is_tried_before_a_batch_is_trained_on(kind, estimator, scoring, y, sentence):
    """Whether it would score batches or a validation stream; sorted labels hide nothing."""
    options = {**STREAMS[kind], "epochs": 3, "scoring": scoring}
    estimator = clone(estimator)
    if "validation_data" in options:
        options["validation_data"] = split(y)
    if hasattr(type(estimator), "predict_log_proba") or isinstance(estimator, (SGDClassifier, Perceptron)):
        options["classes"] = np.unique(y)
    with pytest.raises(SettingsError, match=f"^scoring: .*{sentence}.*; choose another scorer$"):
        partial_fit_stream(estimator, split(y), **options)
    assert not fitted(estimator)


@pytest.mark.parametrize(
    ("estimator", "scoring", "y"),
    [
        (SGDClassifier(loss="log_loss"), "neg_log_loss", np.sort(TWO)),
        (SGDClassifier(loss="log_loss"), "roc_auc_ovr", np.sort(LABELS)),
        (SGDClassifier(loss="log_loss"), ["neg_log_loss", "accuracy"], np.sort(LABELS)),
        (MLPClassifier((3,)), "average_precision", np.sort(TWO)),
        (MultinomialNB(), "f1_macro", np.sort(LABELS)),
        (SGDClassifier(loss="log_loss"), "top_k_accuracy", np.sort(LABELS)),
        (Perceptron(), "f1", np.sort(TWO)),
    ],
)
def test_a_first_batch_of_one_label_is_no_reason_to_refuse(estimator, scoring, y):
    """The other labels come later; the trial draws nothing, and the stream is read once."""
    samples, runs, opened = np.abs(X), [], []

    def stream():
        opened.append(1)
        for at in range(0, len(samples), 10):
            yield samples[at : at + 10], y[at : at + 10]

    for tried in (scoring, None):
        model = clone(estimator)
        np.random.seed(3)  # noqa: NPY002 - the estimators draw from it
        options = {"classes": np.unique(y), "epochs": 2, "train_metrics": False, "scoring": tried}
        runs.append(partial_fit_stream(model, stream, validation_data=lambda: [(samples, y)], **options))
    assert len(opened) == 4
    assert runs[0].step == runs[1].step > 0
    assert runs[0].history["val_loss"] == runs[1].history["val_loss"]


def test_scorers_that_are_never_called_are_not_tried():
    """Without metrics of the batches and without validation data."""
    run = partial_fit_stream(SGDRegressor(), split(LABELS), train_metrics=False, scoring={"b": broken})
    assert run.step > 0
