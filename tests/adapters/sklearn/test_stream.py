"""Training on data that never fits in memory at once."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import MiniBatchKMeans
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier, SGDRegressor

from trainbus import SettingsError
from trainbus.adapters.sklearn import loss, partial_fit
from trainbus.adapters.sklearn.stream import partial_fit_stream
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

random = np.random.default_rng(0)
X = random.normal(size=(60, 4))
y = (X.sum(1) > 0).astype(int)


def chunks(size=7):
    for start in range(0, len(X), size):
        yield X[start : start + size], y[start : start + size]


def new():
    return SGDClassifier(learning_rate="constant", eta0=0.05, random_state=0)


@given(st.integers(1, 70))
def test_a_stream_trains_as_the_same_rows_in_memory(size):
    """For any batch sizes, the estimator equals one trained by partial_fit on the same rows in that order."""
    streamed, in_memory = new(), new()
    partial_fit_stream(streamed, lambda: chunks(size), classes=[0, 1], epochs=2, callbacks=[])
    partial_fit(in_memory, X, y, batch_size=size, epochs=2, shuffle=False, callbacks=[])

    np.testing.assert_array_equal(streamed.coef_, in_memory.coef_)


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(chunks, id="function"),
        pytest.param(list(chunks()), id="list"),
        pytest.param(lambda: ([X[i : i + 7], y[i : i + 7]] for i in range(0, 60, 7)), id="lists of arrays"),
        pytest.param(lambda: ((a, b, np.ones(len(b))) for a, b in chunks()), id="with weights"),
        pytest.param(
            torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(y)), batch_size=7),
            id="DataLoader",
        ),
    ],
)
def test_any_iterable_of_batches_that_restarts_is_a_stream(stream):
    """A function, a list and a DataLoader train the same, epoch after epoch."""
    expected, clf = new(), new()
    partial_fit_stream(expected, chunks, classes=[0, 1], epochs=3, callbacks=[])
    run = partial_fit_stream(clf, stream, classes=[0, 1], epochs=3, callbacks=[])

    np.testing.assert_array_equal(clf.coef_, expected.coef_)
    assert run.step == 3 * 9


def test_training_metrics_are_those_before_each_batch():
    """An epoch's metrics are the means over the rows of what each batch showed before it was trained on."""
    clf, judged = new(), new()
    run = partial_fit_stream(clf, chunks, classes=[0, 1], epochs=1, scoring="accuracy", callbacks=[])
    losses, scores, rows = [], [], []
    for number, (a, b) in enumerate(chunks()):
        if number:
            losses.append(loss(judged, a, b))
            scores.append(judged.score(a, b))
            rows.append(len(b))
        judged.partial_fit(a, b, classes=[0, 1])

    assert run.history["loss"] == [pytest.approx(np.average(losses, weights=rows))]
    assert run.history["accuracy"] == [pytest.approx(np.average(scores, weights=rows))]
    silent = partial_fit_stream(new(), chunks, classes=[0, 1], train_metrics=False, callbacks=[])
    assert silent.history == {"learning_rate": [0.05]}


@given(st.integers(1, 70))
def test_validation_in_batches_gives_the_means_over_all_rows(size):
    """The loss and accuracy of a validation stream are those of all its rows at once."""
    options = {"classes": [0, 1], "epochs": 2, "scoring": "accuracy", "train_metrics": False, "callbacks": []}
    in_memory = partial_fit_stream(new(), chunks, validation_data=(X, y), **options)
    streamed = partial_fit_stream(new(), chunks, validation_data=lambda: chunks(size), **options)

    for name in ("val_loss", "val_accuracy"):
        np.testing.assert_allclose(streamed.history[name], in_memory.history[name])


def test_callbacks_and_resuming_work_as_with_data_in_memory(tmp_path):
    """A run that died in the middle of an epoch continues from its checkpoint, bit by bit as if uninterrupted."""
    callbacks = [
        ModelCheckpoint(str(tmp_path / "last"), save_freq=4),
        EarlyStopping(monitor="val_loss", patience=3),
        ReduceLROnPlateau(monitor="val_loss", patience=1),
    ]
    options = {"classes": [0, 1], "epochs": 6, "validation_data": (X, y), "callbacks": callbacks}
    unbroken = new()
    run = partial_fit_stream(unbroken, chunks, **options)
    for path in tmp_path.iterdir():
        path.unlink()
    batches = iter(range(24))

    def dying():
        for batch in chunks():
            next(batches)  # the generator ends here, as a lost connection would
            yield batch

    with pytest.raises(RuntimeError, match="StopIteration"):
        partial_fit_stream(new(), dying, **options)
    resumed = new()
    again = partial_fit_stream(resumed, chunks, resume="auto", **options)

    assert again.resumed is not None
    assert again.resumed.step == 24
    assert again.history == run.history
    np.testing.assert_array_equal(resumed.coef_, unbroken.coef_)


def test_estimators_without_targets_learn_from_streams():
    """Batches of X alone train clusters, and a vectorizer takes lists of texts."""
    means = MiniBatchKMeans(n_clusters=3, n_init=1, random_state=0)
    run = partial_fit_stream(means, lambda: (a for a, _ in chunks(20)), epochs=2, callbacks=[])
    assert list(run.history) == ["score"]
    partial_fit_stream(HashingVectorizer(), lambda: [["a b", "c"], ["d"]], callbacks=[])


@pytest.mark.parametrize(
    ("estimator", "stream", "options", "sentence"),
    [
        (
            new(),
            chunks(),
            {"classes": [0, 1], "epochs": 2},
            "a generator, which is empty after one epoch of 2",
        ),
        (new(), X, {"classes": [0, 1]}, "an array, not batches; .*partial_fit splits arrays"),
        (new(), 7, {"classes": [0, 1]}, "stream is a int; give an iterable of batches, or a function"),
        (new(), chunks, {}, r"SGDClassifier needs all labels before the first batch.*classes=\[\.\.\.\]"),
        (SGDRegressor(), chunks, {"classes": [0, 1]}, "SGDRegressor.partial_fit does not have this argument"),
        (new(), lambda: [(1, 2, 3, 4)], {"classes": [0, 1]}, r"a batch has 4 parts; give \(X, y\)"),
        (new(), list, {"classes": [0, 1]}, "has no batch; a function must return a new iterator"),
        (new(), lambda: [(X, y[:3])], {"classes": [0, 1]}, "a batch: .*inconsistent numbers of samples"),
        (MiniBatchKMeans(2), lambda: [(X, None, y)], {}, None),
        (
            new(),
            chunks,
            {"classes": [0, 1], "validation_data": chunks(), "epochs": 2},
            "validation_data is a generator",
        ),
    ],
)
def test_data_that_is_no_stream_is_refused_with_the_fix(estimator, stream, options, sentence):
    """A generator for several epochs, an array, unknown labels: each is refused in a sentence."""
    if sentence is None:
        partial_fit_stream(estimator, stream, callbacks=[], **options)
        return
    with pytest.raises(SettingsError, match=sentence):
        partial_fit_stream(estimator, stream, callbacks=[], **options)
