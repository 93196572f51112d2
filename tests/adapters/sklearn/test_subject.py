"""The scikit-learn adapter, over every estimator of scikit-learn that has `partial_fit`."""

import json
import pickle
import warnings
from copy import deepcopy
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import skops.io
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.cluster import Birch, MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import IncrementalPCA
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDOneClassSVM, SGDRegressor
from sklearn.metrics import get_scorer, log_loss
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor
from sklearn.utils import all_estimators

import trainbus
from trainbus import CheckpointError, MissingCapability, SettingsError, hookimpl
from trainbus.adapters.sklearn import SklearnSubject, loss, partial_fit
from trainbus.adapters.sklearn import files as sklearn_files
from trainbus.adapters.sklearn.rows import batches
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import check_subject

# deprecated since scikit-learn 1.8, gone in 1.10
pytestmark = pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")

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
    """A new estimator of this name, with a learning rate that holds still where it can have one."""
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
    """X and y that suit the estimator; y is None where it learns without."""
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
    """One more update, by scikit-learn alone."""
    samples, y = data(name)
    classes = {}
    if name == "MultiOutputClassifier":
        classes = {"classes": [np.unique(column) for column in y.T]}
    elif y is LABELS:
        classes = {"classes": np.unique(y)}
    estimator.partial_fit(samples, *([] if y is None else [y]), **classes)


def fitted(estimator):
    """All fitted arrays."""
    return {name: np.array(array) for name, array in SklearnSubject(estimator).weights()}


def assert_equal(one, other):
    """Both have the same fitted arrays, to the bit."""
    one, other = fitted(one), fitted(other)
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(other[name], array, err_msg=name)


def rises(estimator, X, y):
    """A score that is there for every estimator."""
    rises.calls += 1
    return rises.calls


def test_all_estimators_are_covered():
    """scikit-learn has the estimators that the rules were written for; PassiveAggressive* may have gone."""
    assert len(KINDS) in (27, 29)
    assert WITH_RATE - KINDS.keys() <= {"PassiveAggressiveClassifier", "PassiveAggressiveRegressor"}


@pytest.mark.parametrize("name", CASES)
def test_every_estimator_trains_with_callbacks(name):
    """Each trains through `partial_fit` with the deciders, and its best state is brought back at the end."""
    rises.calls = 0
    estimator, (samples, y) = make(name), data(name)
    callbacks = [EarlyStopping(monitor="score", mode="min", patience=1, restore_best_weights=True)]
    if name != "Birch":
        callbacks.append(ModelCheckpoint("best", monitor="score", mode="max", save_best_only=True))
    if name in WITH_RATE:
        callbacks.append(ReduceLROnPlateau(monitor="score", mode="min", factor=0.5, patience=1))
    run = partial_fit(
        estimator, samples, y, batch_size=20, epochs=5, scoring=rises, callbacks=callbacks, random_state=0
    )
    assert run.result.epochs == 2
    assert run.stopped
    assert run.step == 6
    assert run.history["score"] == [1, 2]
    assert len(run.state.checkpoints) == (0 if name == "Birch" else 2)
    alone = make(name)
    partial_fit(alone, samples, y, batch_size=20, epochs=1, random_state=0)
    assert_equal(estimator, alone)


@pytest.mark.parametrize("name", CASES)
def test_every_estimator_keeps_the_contract_of_subjects(name):
    """Weights, snapshots, files, rates and graphs are as the contract says, for each estimator."""
    check_subject(lambda: SklearnSubject(make(name), probe=X), lambda subject: step(name, subject.estimator))


@pytest.mark.parametrize(
    ("name", "way"),
    [(name, way) for name in CASES for way in ("snapshot", "file") if (name, way) != ("Birch", "file")],
)
def test_what_is_brought_back_goes_on_to_the_bit(name, way, tmp_path):
    """An estimator brought back, after other training or into a new object, continues as if uninterrupted."""
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


def test_what_was_untrained_is_untrained_again():
    """A snapshot from before the training takes all that was fitted away, from the same object."""
    estimator = make("SGDClassifier")
    subject = SklearnSubject(estimator)
    kept = subject.snapshot()
    step("SGDClassifier", estimator)
    subject.restore(kept)
    assert subject.estimator is estimator
    assert vars(estimator).keys() == vars(make("SGDClassifier")).keys()


@pytest.mark.parametrize("name", CASES)
def test_a_learning_rate_acts_or_is_refused(name):
    """Writing the rate changes the next update where there is one; elsewhere the plateau callback is refused."""
    estimator = make(name)
    subject = SklearnSubject(estimator)
    if name not in WITH_RATE:
        before = deepcopy(vars(estimator))
        with pytest.raises(MissingCapability, match=f"needs HasLearningRate, but {name} has no learning rate"):
            partial_fit(estimator, *data(name), callbacks=ReduceLROnPlateau())
        assert vars(estimator).keys() == before.keys()  # nothing was trained
        with pytest.raises(SettingsError, match="has no learning rate"):
            subject.set_learning_rates({"learning_rate": 0.1})
        return
    step(name, estimator)
    unchanged = deepcopy(estimator)
    rate = subject.learning_rates()["learning_rate"]
    subject.set_learning_rates({"learning_rate": rate / 10_000})
    assert subject.learning_rates() == {"learning_rate": rate / 10_000}
    start = fitted(estimator)
    for each in (unchanged, estimator):
        step(name, each)
    moved = [
        sum(np.abs(array - start[key]).sum() for key, array in fitted(each).items()) for each in (unchanged, estimator)
    ]
    assert moved[1] < moved[0] / 2


SCHEDULES = {
    "adam": lambda: MLPClassifier((4,), random_state=0),
    "sgd": lambda: MLPClassifier((4,), solver="sgd", momentum=0, random_state=0),
    "sgd invscaling": lambda: MLPClassifier((4,), solver="sgd", learning_rate="invscaling", momentum=0, random_state=0),
    "invscaling": lambda: SGDClassifier(learning_rate="invscaling", eta0=0.1, random_state=0),
    "adaptive": lambda: SGDClassifier(learning_rate="adaptive", eta0=0.1, random_state=0),
    "pa1": lambda: SGDClassifier(learning_rate="pa1", eta0=0.1, random_state=0),
    "pa2": lambda: SGDClassifier(learning_rate="pa2", eta0=0.1, random_state=0),
    "nested": lambda: OneVsRestClassifier(MLPClassifier((4,), random_state=0)),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_learning_rate_acts_under_every_schedule(schedule, when):
    """Written before the first update or after it, a rate shortens the updates that follow, all of them."""
    long = SCHEDULES[schedule]()
    if when == "after":
        step("SGDClassifier", long)
    short = deepcopy(long)
    rate = SklearnSubject(long).learning_rates()["learning_rate"]
    SklearnSubject(short).set_learning_rates({"learning_rate": rate / 10_000})
    assert SklearnSubject(short).learning_rates()["learning_rate"] == pytest.approx(rate / 10_000, rel=1e-12)
    moves = []
    for estimator in (long, short):
        for _ in range(3):
            before = fitted(estimator)
            step("SGDClassifier", estimator)
            after = fitted(estimator)
            moves.append(sum(np.abs(after[key] - before[key]).sum() for key in before) if before else None)
    pairs = list(zip(moves[:3], moves[3:], strict=True))[when == "before" :]
    # passive-aggressive updates go as far as the rows that are still wrong demand, so later ones may be longer
    for far, near in pairs if schedule not in ("pa1", "pa2") else pairs[:1]:
        assert near < far / 2


def test_a_decaying_rate_is_told_as_it_is():
    """Under invscaling the rate told is that of the next update, not the one set at the start."""
    estimator = SGDRegressor(learning_rate="invscaling", eta0=0.1, power_t=0.25)
    estimator.partial_fit(X, TARGETS)
    assert SklearnSubject(estimator).learning_rates() == {"learning_rate": 0.1 / 61**0.25}


def test_a_rate_is_set_in_all_fitted_estimators_inside():
    """A meta-estimator's rate is written into those that it trains, each by the same factor."""
    estimator = make("OneVsOneClassifier")
    step("OneVsOneClassifier", estimator)
    estimator.estimators_[0].eta0 = 0.002
    SklearnSubject(estimator).set_learning_rates({"learning_rate": 0.005})
    assert [each.eta0 for each in estimator.estimators_] == [0.001, 0.005, 0.005]


@pytest.mark.parametrize("value", [0.0, -0.1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(value):
    """scikit-learn takes any number after the first update, ascent included; trainbus takes rates only."""
    with pytest.raises(SettingsError, match="finite number above 0"):
        SklearnSubject(make("SGDClassifier")).set_learning_rates({"learning_rate": value})


def test_a_rate_that_does_not_stay_is_told():
    """An estimator that does not take what is written raises."""

    class Stubborn(BaseEstimator):
        learning_rate = property(lambda self: 0.5, lambda self, value: None)

        def partial_fit(self, X, y=None):
            return self

    with pytest.raises(SettingsError, match=r"Stubborn\.learning_rate stayed 0\.5 when set to 0.1"):
        SklearnSubject(Stubborn()).set_learning_rates({"learning_rate": 0.1})


def test_strangers_learn_too():
    """An object that only looks like an estimator trains; its parameter is written by `set_params`."""

    class Stranger:
        def __init__(self):
            self.coef_, self.lr, self.told = np.zeros(8), 0.1, []

        def get_params(self, deep=True):
            return {"lr": self.lr}

        def set_params(self, lr):
            self.lr = lr
            self.told.append(lr)

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
    assert stranger.told == [0.05, 0.025]
    assert run.history["loss"][2] < run.history["loss"][0]


# --- the loop


class Batches:
    """Remembers what it was trained on."""

    def __init__(self):
        self.seen = []

    def partial_fit(self, X, y=None, sample_weight=None):
        self.seen.append((X, y, sample_weight))


def test_data_stays_of_its_type_and_in_step():
    """Sparse matrices, lists and arrays come in batches of their own type; rows, targets and weights together."""
    numbers = np.arange(10)
    for samples, kind, values in (
        (numbers[:, None], np.ndarray, lambda batch: batch[:, 0]),
        (sparse.coo_matrix(numbers[:, None]), None, lambda batch: batch.toarray()[:, 0]),
        ([[int(i)] for i in numbers], list, lambda batch: [row[0] for row in batch]),
    ):
        estimator = Batches()
        partial_fit(estimator, samples, numbers, batch_size=4, sample_weight=numbers * 2.0, random_state=1)
        assert [len(y) for _, y, _ in estimator.seen] == [4, 4, 2]
        for batch, y, weight in estimator.seen:
            assert sparse.issparse(batch) if kind is None else isinstance(batch, kind)
            np.testing.assert_array_equal(values(batch), y)
            np.testing.assert_array_equal(weight, y * 2)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_come_in_frames(library):
    """A data frame is taken apart by rows, whatever its index."""
    frames = pytest.importorskip(library)
    estimator = Batches()
    partial_fit(estimator, frames.DataFrame({"a": np.arange(6)}), frames.Series(np.arange(6)), batch_size=4)
    assert [len(batch) for batch, _, _ in estimator.seen] == [4, 2]
    for batch, y, _ in estimator.seen:
        assert isinstance(batch, frames.DataFrame)
        np.testing.assert_array_equal(batch["a"].to_numpy(), y.to_numpy())


@given(st.integers(1, 200), st.integers(1, 250), st.integers(0, 9) | st.none())
def test_an_epoch_has_every_row_once(rows, size, seed):
    """Whatever the size and the order, each row comes once, in full batches with a smaller one at most at the end."""
    random = None if seed is None else np.random.RandomState(seed)
    found = [batch.tolist() for batch in batches(rows, size, random)]
    assert sorted(row for batch in found for row in batch) == list(range(rows))
    assert all(len(batch) == size for batch in found[:-1])
    assert 1 <= len(found[-1]) <= size


def test_orders_are_reproducible_and_differ_by_epoch():
    """A seed gives the same orders again; each epoch has its own; without shuffling the order is that of the rows."""

    def orders(**options):
        estimator = Batches()
        partial_fit(estimator, np.arange(30)[:, None], batch_size=30, epochs=2, **options)
        return [batch[:, 0].tolist() for batch, _, _ in estimator.seen]

    assert orders(random_state=3) == orders(random_state=3)
    assert orders(random_state=3)[0] != orders(random_state=3)[1]
    assert orders(random_state=3) != orders(random_state=4)
    assert orders(shuffle=False) == [list(range(30))] * 2


def test_sparse_trains_as_dense_does():
    """The same rows, sparse or dense, give the same estimator."""
    dense, thin = make("MLPClassifier"), make("MLPClassifier")
    run = partial_fit(dense, X, LABELS, epochs=2, validation_data=(X[:9], LABELS[:9]), random_state=0)
    other = partial_fit(
        thin, sparse.csr_matrix(X), LABELS, epochs=2, validation_data=(sparse.coo_matrix(X[:9]), LABELS[:9]),
        random_state=0,
    )  # fmt: skip
    np.testing.assert_allclose(dense.coefs_[0], thin.coefs_[0])
    np.testing.assert_allclose(run.history["val_loss"], other.history["val_loss"])


def test_sample_weights_count():
    """Rows of weight 0 train nothing, whatever their targets."""
    weight = np.arange(60) % 2.0
    wrong = np.where(weight > 0, TARGETS, 1e3)
    one, other = make("SGDRegressor"), make("SGDRegressor")
    partial_fit(one, X, TARGETS, batch_size=15, sample_weight=weight, shuffle=False)
    partial_fit(other, X, wrong, batch_size=15, sample_weight=weight, shuffle=False)
    np.testing.assert_array_equal(one.coef_, other.coef_)
    assert one.coef_.any()


def test_labels_may_come_late():
    """A label that only the last batch holds is known from the first on, with one output or several."""
    late = np.repeat([0, 1, 2], [30, 29, 1])
    estimator = make("SGDClassifier")
    partial_fit(estimator, X, late, batch_size=20, shuffle=False)
    assert estimator.classes_.tolist() == [0, 1, 2]
    estimator = make("MultiOutputClassifier")
    partial_fit(estimator, X, np.stack([late, late > 0], axis=1), batch_size=20, shuffle=False)
    assert [each.classes_.tolist() for each in estimator.estimators_] == [[0, 1, 2], [0, 1]]


@pytest.mark.parametrize("name", ["OneVsRestClassifier", "SGDRegressor"])
def test_a_column_of_targets_is_taken_as_flat(name):
    """Targets of shape (rows, 1) train and validate as those of shape (rows,) do, without a warning."""
    flat, column = make(name), make(name)
    y = data(name)[1]
    for estimator, targets in ((flat, y), (column, y[:, None])):
        partial_fit(estimator, X, targets, validation_data=(X, targets), random_state=0)
    assert_equal(flat, column)
    assert loss(column, X, y[:, None]) == loss(flat, X, y)


def test_given_classes_hold_and_training_goes_on():
    """Labels that the data lacks may be given; a later call on other data goes on with the same ones."""
    estimator = make("SGDClassifier")
    partial_fit(estimator, X, LABELS % 2, classes=[0, 1, 2, 3])
    assert estimator.classes_.tolist() == [0, 1, 2, 3]
    partial_fit(estimator, X, LABELS)
    assert estimator.t_ == 121


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
    """Names of the losses that an estimator can have, but for those that it gives probabilities with."""
    return sorted(kind.loss_functions.keys() - {"log_loss"})


def own_loss(estimator, truth, raw):
    """The mean of the function that scikit-learn has for the estimator's loss, in full where it has the half."""
    kind, *options = estimator.loss_functions[estimator.loss]
    function = kind(*[estimator.epsilon if option == SGDRegressor().epsilon else option for option in options])
    if hasattr(function, "py_loss"):
        return np.mean([function.py_loss(p, y) for p, y in zip(raw, truth, strict=True)])
    out = np.empty(len(raw))
    function.loss(truth.astype(float), raw, None, out)
    return out.mean() * (2 if estimator.loss == "squared_error" else 1)


@pytest.mark.parametrize("name", named_losses(SGDClassifier))
def test_a_margin_classifiers_loss_is_its_own(name):
    """With two classes, the loss is the mean of scikit-learn's own function over the rows."""
    signs = np.where(LABELS == 0, 1, -1)
    estimator = SGDClassifier(loss=name, learning_rate="constant", eta0=1e-4, random_state=0)
    estimator.partial_fit(X, signs, classes=[-1, 1])
    assert loss(estimator, X, signs) == pytest.approx(own_loss(estimator, signs, estimator.decision_function(X)))


@pytest.mark.parametrize("name", named_losses(SGDRegressor))
def test_a_regressors_loss_is_its_own(name):
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


def test_a_perceptrons_loss_is_what_it_minimises():
    """The loss that an MLP tells, that of its last batch before the update, is ours where it has no penalty."""
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


def test_several_outputs_share_their_loss():
    """The loss of several outputs is the mean of the losses of their estimators."""
    for name in ("MultiOutputClassifier", "MultiOutputRegressor"):
        estimator, (samples, y) = make(name), data(name)
        step(name, estimator)
        parts = [loss(part, samples, y[:, i]) for i, part in enumerate(estimator.estimators_)]
        assert loss(estimator, samples, y) == np.mean(parts)


def test_scores_rise_whatever_their_names():
    """A scorer's direction is up, also where its name says down; a loss goes down."""
    subject = SklearnSubject(make("SGDRegressor"), scoring={"error": "neg_mean_squared_error"})
    assert subject.direction_of("val_error") == "max"
    assert subject.direction_of("val_loss") == "min"
    assert subject.direction_of("reward") is None


def test_validation_comes_when_it_is_due():
    """`validation_freq` says which epochs validate; the others have no `val_` metrics."""
    run = partial_fit(
        make("SGDRegressor"), X, TARGETS, epochs=4, validation_data=(X, TARGETS), validation_freq=2,
        callbacks=EarlyStopping(patience=9),
    )  # fmt: skip
    assert [value is None for value in run.history["val_loss"]] == [True, False, True, False]


def test_an_own_loop_trains_as_partial_fit_does():
    """A loop of one's own over chunks, with the same batches, gives the same estimator and the same decisions."""
    looped, given = make("SGDClassifier"), make("SGDClassifier")
    callbacks = [EarlyStopping(monitor="loss", patience=2), ReduceLROnPlateau(monitor="loss", patience=1, factor=0.5)]
    with trainbus.watch(looped, callbacks=callbacks) as run:
        for _ in run.epochs(12):
            for start in run.batches(range(0, 60, 20)):
                looped.partial_fit(X[start : start + 20], LABELS[start : start + 20], classes=[0, 1, 2])
            run.log(run.subject.metrics(X, LABELS))
    other = partial_fit(given, X, LABELS, batch_size=20, epochs=12, shuffle=False, callbacks=callbacks)
    assert run.history == other.history
    assert run.result == other.result
    assert_equal(looped, given)


def test_digits_show_all_that_callbacks_do(tmp_path):
    """On the scanned digits the rate is cut, best checkpoints are written, and the training stops early."""
    samples, y = load_digits(return_X_y=True)
    samples, held_out, y, held_out_y = train_test_split(samples / 16, y, test_size=0.3, random_state=0, stratify=y)
    callbacks = [
        EarlyStopping(monitor="val_loss", patience=4),
        ModelCheckpoint(tmp_path / "best", monitor="val_loss", save_best_only=True),
        ReduceLROnPlateau(monitor="val_loss", factor=0.2, patience=2, min_lr=1e-5),
    ]
    clf = MLPClassifier((64,), learning_rate_init=0.01, random_state=0)
    run = partial_fit(
        clf, samples, y, batch_size=32, epochs=60, validation_data=(held_out, held_out_y),
        scoring=["accuracy", "neg_log_loss"], callbacks=callbacks, random_state=0,
    )  # fmt: skip
    assert run.stopped
    assert run.result.epochs < 60
    assert len(set(run.result.learning_rates["learning_rate"])) > 1
    assert run.result.checkpoints == (tmp_path / "best.skops",)
    best = SklearnSubject(MLPClassifier())
    best.load(tmp_path / "best.skops")
    assert -run.result.best["val_loss"].value == run.history["val_neg_log_loss"][run.result.best["val_loss"].epoch]
    assert best.estimator.score(held_out, held_out_y) == run.history["val_accuracy"][run.result.best["val_loss"].epoch]


# --- refusals


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
    """What fails at a batch is told before the first, with what to do."""
    with pytest.raises(SettingsError, match=sentence):
        partial_fit(estimator, X, LABELS, batch_size=4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"X": (row for row in X)},
            r"X is a generator, which has no rows to shuffle; .*sklearn_stream.partial_fit_stream",
        ),
        ({"y": LABELS[:5]}, "partial_fit: .*inconsistent numbers of samples"),
        ({"y": None}, "y: SGDClassifier needs the label of every row"),
        ({"batch_size": 0}, "batch_size=0: give a whole number from 1"),
        ({"epochs": 1.5}, "epochs=1.5: give a whole number from 1"),
        ({"classes": [0, 1]}, r"y holds the labels \[2\], which are not among the classes \[0, 1\]; give classes="),
        ({"validation_data": (X, LABELS + 1)}, r"validation_data holds the labels \[3\]"),
        ({"validation_data": X}, r"validation_data: give a pair \(X, y\)"),
        ({"validation_data": (X[:3], LABELS)}, "validation_data: .*inconsistent"),
        ({"scoring": "acuracy"}, "'acuracy' is no scorer; did you mean 'accuracy'"),
        ({"scoring": {"loss": "accuracy"}}, "'loss' is what the estimator's own loss is called"),
        ({"estimator": make("SGDRegressor"), "classes": [0]}, "classes: SGDRegressor.partial_fit takes none"),
        ({"estimator": BernoulliRBM(), "sample_weight": np.ones(60)}, "sample_weight: BernoulliRBM.* takes none"),
        (
            {"estimator": SGDClassifier(), "callbacks": ReduceLROnPlateau()},
            r"SGDClassifier\(learning_rate='optimal'\) takes its steps from alpha .* set learning_rate='constant' and",
        ),
        (
            {"estimator": SGDOneClassSVM(), "y": None, "callbacks": ReduceLROnPlateau()},
            r"SGDOneClassSVM\(learning_rate='optimal'\) takes its steps from nu",
        ),
        ({"estimator": Birch(), "y": None, "callbacks": ModelCheckpoint("m")}, "needs Saveable, but skops.*Birch"),
        ({"callbacks": ModelCheckpoint("m.joblib")}, "cannot write .joblib; it writes .skops"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(options, sentence):
    """A wrong argument is told before the first batch, with what is right."""
    arguments = {"estimator": make("SGDClassifier"), "X": X, "y": LABELS, **options}
    estimator = arguments["estimator"]
    with pytest.raises(SettingsError, match=sentence):
        partial_fit(**arguments)
    assert not fitted(estimator)


def test_a_monitor_that_nothing_logs_is_told_at_the_first_epoch():
    """Without validation data there is no val_loss, and the message names what there is."""
    with pytest.raises(trainbus.MissingMetric, match=r"'val_loss' is not logged"):
        partial_fit(make("SGDClassifier"), X, LABELS, epochs=3, callbacks=EarlyStopping())


def test_an_adaptive_rate_is_warned_of():
    """MLP's 'adaptive' falls by the noise of batches; with Adam it means nothing, and nothing is said."""
    with pytest.warns(UserWarning, match=r"MLPClassifier\(learning_rate='adaptive'\) divides its rate by 5"):
        SklearnSubject(MLPClassifier(solver="sgd", learning_rate="adaptive"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SklearnSubject(MLPClassifier(learning_rate="adaptive"))


# --- files


class Exploit:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


class Own(SGDClassifier):
    """A stranger's class."""


def test_files_that_could_run_code_are_refused(tmp_path):
    """A pickle, a file of a stranger's types, and one of another estimator all raise, and change nothing."""
    subject = SklearnSubject(make("SGDClassifier"))
    pickled = tmp_path / "pickled.skops"
    pickled.write_bytes(pickle.dumps(Exploit()))
    skops.io.dump(Own().partial_fit(X, LABELS, classes=[0, 1, 2]), tmp_path / "own.skops")
    skops.io.dump(GaussianNB(), tmp_path / "other.skops")
    for name, sentence in (
        ("pickled", "is no skops file that can be read"),
        ("own", r"holds types that are neither skops's nor scikit-learn's: .*Own; if you trust them"),
        ("other", "holds a GaussianNB, which cannot be taken over by a SGDClassifier"),
    ):
        with pytest.raises(CheckpointError, match=sentence):
            subject.load(tmp_path / f"{name}.skops")
    assert not Path("ran").exists()
    assert not fitted(subject.estimator)


def test_what_the_user_trusts_is_read(tmp_path):
    """Named types in .skops, and .joblib where that is named: nothing of it by itself."""
    own = Own().partial_fit(X, LABELS, classes=[0, 1, 2])
    name = f"{Own.__module__}.Own"
    SklearnSubject(own).save(tmp_path / "own.skops", weights_only=False)
    subject = SklearnSubject(Own(), trusted=[name])
    subject.load(tmp_path / "own.skops")
    assert np.array_equal(subject.estimator.coef_, own.coef_)

    SklearnSubject(own, trusted=".joblib").save(tmp_path / "own.joblib", weights_only=False)
    with pytest.raises(CheckpointError, match=r'runs whatever code it holds; .*trusted=\[".joblib"\]'):
        subject.load(tmp_path / "own.joblib")
    subject = SklearnSubject(Own(), trusted=[".joblib"])
    subject.load(tmp_path / "own.joblib")
    assert np.array_equal(subject.estimator.coef_, own.coef_)
    (tmp_path / "cut.joblib").write_bytes((tmp_path / "own.joblib").read_bytes()[:100])
    with pytest.raises(CheckpointError, match="no joblib file that can be read"):
        subject.load(tmp_path / "cut.joblib")


def test_joblib_holds_what_skops_cannot(tmp_path, caplog):
    """And says once what that means."""
    with pytest.raises(MissingCapability, match="skops"):
        partial_fit(Birch(), X, callbacks=ModelCheckpoint(str(tmp_path / "m.joblib")))
    sklearn_files._warn.cache_clear()
    run = partial_fit(
        Birch(), X, epochs=3, callbacks=ModelCheckpoint(str(tmp_path / "m.joblib")), trusted=".joblib", resume="auto"
    )
    again = partial_fit(
        Birch(), X, epochs=4, callbacks=ModelCheckpoint(str(tmp_path / "m.joblib")), trusted=".joblib", resume="auto"
    )

    assert [run.result.epochs, again.result.epochs] == [3, 4]
    assert caplog.text.count("runs the code that it holds when it is read") == 1


@pytest.mark.parametrize(("module", "name"), [("sklearn.utils._testing", "check_output"), ("sklearn.nothing", "X")])
def test_what_scikit_learn_only_imports_is_not_trusted(module, name, tmp_path):
    """A name that begins with "sklearn." but is defined elsewhere, such as a way to run commands, is refused."""
    skops.io.dump(SGDClassifier(), tmp_path / "honest.skops")
    with ZipFile(tmp_path / "honest.skops") as archive:
        schema = json.loads(archive.read("schema.json"))
    schema["__module__"], schema["__class__"] = module, name
    with ZipFile(tmp_path / "forged.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    with pytest.raises(CheckpointError, match=f"neither skops's nor scikit-learn's: {module}.{name}"):
        SklearnSubject(SGDClassifier()).load(tmp_path / "forged.skops")


# --- parts


def test_weights_have_their_names():
    """Arrays are named by their attributes, those of layers by number, those inside by their place."""
    perceptron = MLPClassifier((4,), random_state=0).partial_fit(X, LABELS, classes=[0, 1, 2])
    assert list(fitted(perceptron)) == ["coefs_/0", "coefs_/1", "intercepts_/0", "intercepts_/1"]
    nested = make("OneVsRestClassifier")
    assert not fitted(nested)
    step("OneVsRestClassifier", nested)
    assert list(fitted(nested))[:3] == ["estimators_/0/coef_", "estimators_/0/intercept_", "estimators_/1/coef_"]


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


def test_watch_finds_the_adapter_by_type():
    """A class derived from scikit-learn's is scikit-learn's to watch."""
    assert isinstance(trainbus.watch(Own()).subject, SklearnSubject)


def test_an_error_ends_the_run_and_the_best_state_stays_on_disk(tmp_path):
    """Numbers that overflow raise scikit-learn's error, and the last good checkpoint is untouched."""

    class Blast:
        @hookimpl
        def on_epoch_end(self, run, epoch):
            if epoch == 1:
                run.subject.estimator.coefs_[0][:] = np.nan

    estimator = MLPRegressor(hidden_layer_sizes=(4,), random_state=0)
    callbacks = [Blast(), ModelCheckpoint(tmp_path / "m", monitor="loss", save_best_only=True)]
    with pytest.raises(ValueError, match="non-finite"):
        partial_fit(estimator, X, TARGETS, epochs=4, callbacks=callbacks)
    subject = SklearnSubject(MLPRegressor())
    subject.load(tmp_path / "m.skops")
