"""Every estimator of scikit-learn that has ``partial_fit`` as a subject."""

import warnings

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import IncrementalPCA
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor

import trainbus
from trainbus import SettingsError
from trainbus.adapters.sklearn import SklearnSubject, partial_fit
from trainbus.plugins import ReduceLROnPlateau
from trainbus.testing import check_subject

from .estimators import CASES, KINDS, LABELS, TARGETS, WITH_RATE, Own, X, assert_equal, make, step

# deprecated since scikit-learn 1.8, gone in 1.10
pytestmark = pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")


def test_all_estimators_are_covered():
    """scikit-learn has the estimators that the rules were written for; PassiveAggressive* may have gone."""
    assert len(KINDS) in (27, 29)
    assert WITH_RATE - KINDS.keys() <= {"PassiveAggressiveClassifier", "PassiveAggressiveRegressor"}


@pytest.mark.parametrize("name", CASES)
def test_every_estimator_keeps_the_contract_of_subjects(name):
    """Weights, snapshots, files, rates and graphs are as the contract says, for each estimator."""

    def train(subject):
        step(name, subject.estimator)
        return getattr(subject.estimator, "n_samples_seen_", None)  # all that the same samples change in a scaler

    if name == "HashingVectorizer":
        with pytest.raises(AssertionError, match="nothing shows whether a subject is restored"):  # it learns nothing
            check_subject(lambda: SklearnSubject(make(name), probe=X), train)
        return
    check_subject(lambda: SklearnSubject(make(name), probe=X), train)


@pytest.mark.parametrize(
    ("name", "way"),
    [(name, way) for name in CASES for way in ("snapshot", "file") if (name, way) != ("Birch", "file")],
)
@pytest.mark.covering(1)
def test_a_restored_estimator_continues_bit_by_bit(name, way, tmp_path):
    """A restored estimator continues as if uninterrupted, after other training or in a new object."""
    unbroken = make(name)
    subject = SklearnSubject(make(name))
    for estimator in (unbroken, subject.estimator):
        step(name, estimator)
        step(name, estimator)
    if way == "snapshot":
        kept = subject.snapshot()
        step(name, subject.estimator)
        subject.restore(kept)
    else:
        subject.save(tmp_path / "it.skops", weights_only=False)
        subject = SklearnSubject(make(name))
        subject.load(tmp_path / "it.skops")
    for estimator in (unbroken, subject.estimator):
        step(name, estimator)
    assert_equal(unbroken, subject.estimator)


def test_a_snapshot_of_an_untrained_estimator_restores_it_untrained():
    """A snapshot from before the training removes all fitted attributes from the same object."""
    estimator = make("SGDClassifier")
    subject = SklearnSubject(estimator)
    kept = subject.snapshot()
    step("SGDClassifier", estimator)
    subject.restore(kept)
    assert subject.estimator is estimator
    assert vars(estimator).keys() == vars(make("SGDClassifier")).keys()


def test_third_party_estimators_are_trained():
    """A duck-typed estimator trains; its parameter is set by ``set_params``."""

    class Stranger:
        def __init__(self):
            self.coef_, self.lr, self.rates = np.zeros(8), 0.1, []

        def get_params(self, deep=True):
            return {"lr": self.lr}

        def set_params(self, lr):
            self.lr = lr
            self.rates.append(lr)

        def partial_fit(self, X, y):
            self.coef_ += self.lr * (X * (y - X @ self.coef_)[:, None]).mean(axis=0) / 100

    stranger = Stranger()
    run = partial_fit(
        stranger,
        X,
        TARGETS,
        epochs=3,
        scoring=lambda model, X, y: {"loss": float(np.mean((y - X @ model.coef_) ** 2))},
        callbacks=ReduceLROnPlateau(monitor="loss", min_delta=1e9, patience=1, factor=0.5),
    )
    assert stranger.rates == [0.05, 0.025]
    assert run.history["loss"][2] < run.history["loss"][0]


@pytest.mark.parametrize(
    ("estimator", "sentence"),
    [
        (LogisticRegression(), "LogisticRegression has no partial_fit, so it cannot be trained batch by batch"),
        (SGDClassifier, r"SGDClassifier is a class; give an object of it: SGDClassifier\(...\)"),
        (SGDClassifier(early_stopping=True), r"SGDClassifier\(early_stopping=True\) .* list trainbus's EarlyStopping"),
        (MLPRegressor(early_stopping=True), r"MLPRegressor\(early_stopping=True\)"),
        (OneVsRestClassifier(MLPClassifier(early_stopping=True)), r"MLPClassifier\(early_stopping=True\)"),
        (MLPClassifier(solver="lbfgs"), r"MLPClassifier\(solver='lbfgs'\) .* set solver='adam' or 'sgd'"),
        (MiniBatchKMeans(5), r"MiniBatchKMeans\(n_clusters=5\) needs at least 5 rows .* not 4; set batch_size=5"),
        (IncrementalPCA(6), r"IncrementalPCA\(n_components=6\) needs at least 6 rows in its first batch, not 4"),
    ],
)
def test_an_estimator_that_would_fail_is_refused_before_training(estimator, sentence):
    """Estimators that would fail at a batch are refused before the first one, with the fix."""
    with pytest.raises(SettingsError, match=sentence):
        partial_fit(estimator, X, LABELS, batch_size=4)


def test_an_adaptive_rate_is_warned_of():
    """MLP's 'adaptive' rate falls by the noise of batches, which is warned of; with Adam it has no effect."""
    with pytest.warns(UserWarning, match=r"MLPClassifier\(learning_rate='adaptive'\) divides its rate by 5"):
        SklearnSubject(MLPClassifier(solver="sgd", learning_rate="adaptive"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SklearnSubject(MLPClassifier(learning_rate="adaptive"))


def test_watch_finds_the_adapter_by_type():
    """The adapter for scikit-learn handles a class derived from scikit-learn's."""
    assert isinstance(trainbus.watch(Own()).subject, SklearnSubject)
