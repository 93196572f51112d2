"""``partial_fit``: data in memory, batches, labels and refusals."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.cluster import Birch
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier, SGDOneClassSVM, SGDRegressor
from sklearn.model_selection import cross_validate, train_test_split
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor

import trainbus
from trainbus import SettingsError, hookimpl
from trainbus.adapters.sklearn import SklearnSubject, loss, partial_fit, partial_fit_stream
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

from .estimators import CASES, LABELS, TARGETS, WITH_RATE, X, assert_equal, data, fitted, make

# deprecated since scikit-learn 1.8, gone in 1.10
pytestmark = pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")


def rises(estimator, X, y):
    """Return a score that any estimator has."""
    rises.calls += 1
    return rises.calls


@pytest.mark.parametrize("name", CASES)
def test_every_estimator_trains_with_callbacks(name):
    """Each estimator trains by ``partial_fit`` with the deciders, and its best state is restored at the end."""
    rises.calls = -1  # the scorer is tried once before the training
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


class Batches:
    """An estimator that records what it was trained on."""

    def __init__(self):
        self.seen = []

    def partial_fit(self, X, y=None, sample_weight=None):
        self.seen.append((X, y, sample_weight))


def test_batches_keep_the_type_of_the_data_and_the_rows_together():
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
def test_batches_of_a_data_frame_are_data_frames(library):
    """A data frame is taken apart by rows, whatever its index."""
    frames = pytest.importorskip(library)
    estimator = Batches()
    partial_fit(estimator, frames.DataFrame({"a": np.arange(6)}), frames.Series(np.arange(6)), batch_size=4)
    assert [len(batch) for batch, _, _ in estimator.seen] == [4, 2]
    for batch, y, _ in estimator.seen:
        assert isinstance(batch, frames.DataFrame)
        np.testing.assert_array_equal(batch["a"].to_numpy(), y.to_numpy())


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


def test_a_label_may_first_occur_in_a_late_batch():
    """A label that only the last batch contains is known from the first batch on, with one output or several."""
    late = np.repeat([0, 1, 2], [30, 29, 1])
    estimator = make("SGDClassifier")
    partial_fit(estimator, X, late, batch_size=20, shuffle=False)
    assert estimator.classes_.tolist() == [0, 1, 2]
    estimator = make("MultiOutputClassifier")
    partial_fit(estimator, X, np.stack([late, late > 0], axis=1), batch_size=20, shuffle=False)
    assert [each.classes_.tolist() for each in estimator.estimators_] == [[0, 1, 2], [0, 1]]


@pytest.mark.parametrize("name", ["OneVsRestClassifier", "SGDRegressor"])
def test_a_column_of_targets_is_flattened(name):
    """Targets of shape (rows, 1) train and validate as those of shape (rows,) do, without a warning."""
    flat, column = make(name), make(name)
    y = data(name)[1]
    for estimator, targets in ((flat, y), (column, y[:, None])):
        partial_fit(estimator, X, targets, validation_data=(X, targets), random_state=0)
    assert_equal(flat, column)
    assert loss(column, X, y[:, None]) == loss(flat, X, y)


def test_given_classes_are_kept_and_a_trained_estimator_is_trained_further():
    """Labels that the data lacks may be given; a later call on other data continues with the same labels."""
    estimator = make("SGDClassifier")
    partial_fit(estimator, X, LABELS % 2, classes=[0, 1, 2, 3])
    assert estimator.classes_.tolist() == [0, 1, 2, 3]
    partial_fit(estimator, X, LABELS)
    assert estimator.t_ == 121


def test_validation_runs_in_the_requested_epochs():
    """``validation_freq`` says which epochs validate; the others have no ``val_`` metrics."""
    run = partial_fit(
        make("SGDRegressor"), X, TARGETS, epochs=4, validation_data=(X, TARGETS), validation_freq=2,
        callbacks=EarlyStopping(patience=9),
    )  # fmt: skip
    assert [value is None for value in run.history["val_loss"]] == [True, False, True, False]


def test_a_hand_written_loop_trains_as_partial_fit_does():
    """A user's loop over chunks, with the same batches, gives the same estimator and the same decisions."""
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


def test_callbacks_work_together_on_digits(tmp_path):
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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"X": (row for row in X)},
            r"X is a generator, which has no rows to shuffle; .*sklearn.partial_fit_stream",
        ),
        ({"y": LABELS[:5]}, "partial_fit: .*inconsistent numbers of samples"),
        ({"y": None}, "y: SGDClassifier needs the label of every row"),
        ({"batch_size": 0}, "batch_size=0: give a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs=1.5: give a whole number of at least 1"),
        ({"classes": [0, 1]}, r"y holds the labels \[2\], which are not among the classes \[0, 1\]; give classes="),
        ({"validation_data": (X, LABELS + 1)}, r"validation_data holds the labels \[3\]"),
        ({"validation_data": X}, r"validation_data: give a pair \(X, y\)"),
        ({"validation_data": (X[:3], LABELS)}, "validation_data: .*inconsistent"),
        ({"scoring": "acuracy"}, "'acuracy' is not a scorer; did you mean 'accuracy'"),
        ({"scoring": {"loss": "accuracy"}}, "'loss' is the name of the estimator's own loss"),
        (
            {"estimator": make("SGDRegressor"), "classes": [0]},
            "classes: SGDRegressor.partial_fit does not have this argument",
        ),
        (
            {"estimator": BernoulliRBM(), "sample_weight": np.ones(60)},
            "sample_weight: BernoulliRBM.* does not have this argument",
        ),
        (
            {"estimator": SGDClassifier(), "callbacks": ReduceLROnPlateau()},
            r"SGDClassifier\(learning_rate='optimal'\) takes its steps from alpha .* set learning_rate='constant' and",
        ),
        (
            {"estimator": SGDOneClassSVM(), "y": None, "callbacks": ReduceLROnPlateau()},
            r"SGDOneClassSVM\(learning_rate='optimal'\) takes its steps from nu",
        ),
        (
            {"estimator": Birch(), "y": None, "callbacks": ModelCheckpoint("m")},
            "needs a subject that can be written to a file, but skops.*Birch",
        ),
        ({"callbacks": ModelCheckpoint("m.joblib")}, "this model cannot be saved as .joblib; write .skops"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_training(options, sentence):
    """A wrong argument is refused before the first batch, with the right ones."""
    arguments = {"estimator": make("SGDClassifier"), "X": X, "y": LABELS, **options}
    estimator = arguments["estimator"]
    with pytest.raises(SettingsError, match=sentence):
        partial_fit(**arguments)
    assert not fitted(estimator)


def test_a_monitor_that_nothing_logs_is_refused_at_the_first_epoch():
    """Without validation data there is no val_loss, and the message names the logged metrics."""
    with pytest.raises(trainbus.MissingMetric, match=r"'val_loss' is not logged; .*: give validation_data=, and valid"):
        partial_fit(make("SGDClassifier"), X, LABELS, epochs=3, callbacks=EarlyStopping())
    with pytest.raises(trainbus.MissingMetric, match=r"'fid' is not logged; name its scorer in scoring=; logged: "):
        partial_fit(make("SGDClassifier"), X, LABELS, epochs=3, callbacks=EarlyStopping(monitor="fid", mode="min"))


def test_an_error_ends_the_run_and_the_best_state_remains_on_disk(tmp_path):
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


class Trained(BaseEstimator):  # type: ignore[misc]
    """An estimator that trains with callbacks and keeps its run."""

    def __init__(self, epochs: int = 2, callbacks: Any = ()) -> None:
        self.epochs = epochs
        self.callbacks = callbacks

    def fit(self, X: Any, y: Any) -> "Trained":
        self.model_ = SGDRegressor(random_state=0)
        self.run_ = partial_fit(self.model_, X, y, epochs=self.epochs, callbacks=self.callbacks)
        return self

    def predict(self, X: Any) -> Any:
        return self.model_.predict(X)

    def score(self, X: Any, y: Any) -> float:
        return float(self.model_.score(X, y))


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
def test_estimators_that_hold_their_run_come_back_from_cross_validation(jobs: int) -> None:
    """Each of them still says how its training went."""
    X = np.linspace(0, 1, 30)[:, None]
    model = Trained(3, [EarlyStopping(monitor="loss", patience=1)])
    found = cross_validate(model, X, X[:, 0], cv=3, n_jobs=jobs, return_estimator=True)

    assert [each.run_.result.epochs for each in found["estimator"]] == [3, 3, 3]


@pytest.mark.parametrize(("verbose", "lines"), [(None, 0), (0, 0), (2, 3), ("auto", 3)])
def test_verbose_is_that_of_the_run(verbose, lines, capsys):
    """Of both functions: a line for each epoch, or none."""
    rows, labels = np.zeros((8, 2)), np.arange(8) % 2
    partial_fit(SGDClassifier(), rows, labels, epochs=3, verbose=verbose)
    assert capsys.readouterr().out.count("Epoch ") == lines
    partial_fit_stream(SGDClassifier(), [(rows, labels)], classes=[0, 1], epochs=3, verbose=verbose)
    assert capsys.readouterr().out.count("Epoch ") == lines


def test_the_id_of_a_run_is_in_its_path() -> None:
    """Of both functions."""
    x, y, saver = np.array([[0.0], [1.0]]), [0, 1], ModelCheckpoint("runs/{run}/m-{epoch}")
    assert partial_fit(SGDClassifier(), x, y, callbacks=saver, run_id="a").run_id == "a"
    run = partial_fit_stream(SGDClassifier(), lambda: [(x, y)], classes=[0, 1], callbacks=saver, run_id="b")
    assert [str(path) for path in run.result.checkpoints] == ["runs/b/m-1.skops"]
