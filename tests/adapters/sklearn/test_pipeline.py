"""A pipeline is trained as its last step would be on what the other steps make of the rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDRegressor
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from tests.plugins.event_readers import read
from trainbus import CheckpointError, Run, SettingsError
from trainbus.adapters.sklearn import SklearnSubject, loss, partial_fit
from trainbus.adapters.sklearn.stream import partial_fit_stream
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
from trainbus.testing import check_subject

RNG = np.random.default_rng(0)
X, HELD_OUT = (RNG.normal(3, 5, size=(rows, 4)) for rows in (60, 30))
LABELS, HELD_OUT_LABELS = ((data.sum(axis=1) > 12).astype(int) for data in (X, HELD_OUT))

LEARNERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.1, random_state=0),
    "mlp": lambda: MLPClassifier((3,), random_state=0),
    "bayes": GaussianNB,
    "regressor": lambda: SGDRegressor(learning_rate="constant", eta0=0.01, random_state=0),
}
STEPS: dict[str, Callable[[], list[Any]]] = {
    "scaler": lambda: [StandardScaler()],
    "several": lambda: [SimpleImputer(), "passthrough", MinMaxScaler(), PCA(2, random_state=0)],
    "columns": lambda: [make_column_transformer((StandardScaler(), [0, 2]), remainder="passthrough")],
    "no state": lambda: [FunctionTransformer(np.tanh)],
    "none": list,
}


def pipeline(steps: str = "scaler", learner: str = "sgd", *, nested: bool = False) -> Pipeline:
    """Return a new pipeline, not fitted."""
    last = LEARNERS[learner]()
    return make_pipeline(*STEPS[steps](), make_pipeline(StandardScaler(), last) if nested else last)


def weights(estimator: Any) -> list[np.ndarray[Any, Any]]:
    """Return all fitted arrays of the last step, whatever their names."""
    return [np.array(array) for _, array in SklearnSubject(estimator).weights()]


@settings(max_examples=20)
@given(
    steps=st.sampled_from(sorted(STEPS)),
    learner=st.sampled_from(sorted(LEARNERS)),
    nested=st.booleans(),
    before=st.booleans(),
    seed=st.integers(0, 9),
)
def test_the_last_step_learns_from_the_output_of_the_others(
    steps: str, learner: str, nested: bool, before: bool, seed: int
) -> None:
    """Metrics and weights are those of the last step alone on such rows, bit for bit, however these were made."""
    trained, alone = pipeline(steps, learner, nested=nested), LEARNERS[learner]()
    scaling = make_pipeline(*STEPS[steps](), *([StandardScaler()] if nested else []), "passthrough").fit(X, LABELS)
    rows, held_out = scaling.transform(X), scaling.transform(HELD_OUT)
    if before:
        made = make_pipeline(*trained[:-1], "passthrough").fit_transform(X, LABELS)
        if nested:
            trained[-1][0].fit(made)
    options: dict[str, Any] = {"batch_size": 16, "epochs": 3, "random_state": seed}
    run = partial_fit(trained, X, LABELS, validation_data=(HELD_OUT, HELD_OUT_LABELS), **options)
    expected = partial_fit(alone, rows, LABELS, validation_data=(held_out, HELD_OUT_LABELS), **options)
    assert run.history == expected.history
    for one, other in zip(weights(trained), weights(alone), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loss(trained, HELD_OUT, HELD_OUT_LABELS) == loss(alone, held_out, HELD_OUT_LABELS)


def test_a_fitted_step_is_not_fitted_again() -> None:
    """A scaler that was fitted on other rows is not fitted again."""
    trained = pipeline()
    trained[0].fit(HELD_OUT)
    mean = trained[0].mean_.copy()
    partial_fit(trained, X, LABELS)
    np.testing.assert_array_equal(trained[0].mean_, mean)


def test_texts_are_transformed_into_numbers_first() -> None:
    """Rows may be whatever the first step takes."""
    texts = [f"{word} {other}" for word in ("good", "bad") for other in ("film", "book", "song")]
    trained = make_pipeline(TfidfVectorizer(), SGDClassifier(random_state=0))
    run = partial_fit(trained, texts, [1, 1, 1, 0, 0, 0], epochs=5, batch_size=2, random_state=0)
    assert run.metrics["score"] == 1.0
    assert trained.predict(["a good day"]) == [1]


def test_targets_of_one_column_keep_it_if_the_last_step_needs_columns() -> None:
    """The last step determines the shape."""
    trained = make_pipeline(StandardScaler(), MultiOutputRegressor(SGDRegressor(random_state=0)))
    run = partial_fit(trained, X, X[:, :1], epochs=2, random_state=0)
    assert run.history["loss"][1] < run.history["loss"][0]


@pytest.mark.parametrize("learner", sorted(LEARNERS))
def test_a_pipeline_keeps_the_contract_of_subjects(learner: str) -> None:
    """Weights, snapshots, files, rates, graphs and activations are as the contract says."""

    def train(subject: SklearnSubject) -> None:
        trained = subject.estimator
        given = {} if learner == "regressor" else {"classes": [0, 1]}
        if learner == "mlp" and hasattr(trained[-1], "classes_"):
            given = {}
        trained[-1].partial_fit(trained[:-1].fit_transform(X), LABELS, **given)

    check_subject(lambda: SklearnSubject(pipeline("several", learner), probe=X), train)


@pytest.mark.parametrize("resumed", [True, False])
def test_a_resumed_pipeline_equals_the_uninterrupted_one(resumed: bool, tmp_path: Path) -> None:
    """Its steps are restored with it, into the existing objects, so references to them stay valid."""

    def train(trained: Pipeline, epochs: int, directory: Path, **options: Any) -> Run:
        callbacks = [
            ModelCheckpoint(directory / "it", save_best_only=False),
            ReduceLROnPlateau(patience=1, factor=0.5),
            EarlyStopping(patience=20, restore_best_weights=not resumed),
        ]
        held_out = HELD_OUT, HELD_OUT_LABELS
        return partial_fit(
            trained, X, LABELS, epochs=epochs, validation_data=held_out, callbacks=callbacks, random_state=0, **options
        )

    unbroken, trained = pipeline(), pipeline()
    expected = train(unbroken, 6, tmp_path / "unbroken")
    if resumed:
        train(pipeline(), 3, tmp_path / "run")
    scaler, learner = trained[0], trained[-1]
    run = train(trained, 6, tmp_path / "run", **({"resume": "auto"} if resumed else {}))
    assert (run.resumed is not None) == resumed
    assert run.history == expected.history
    assert trained[0] is scaler
    assert trained[-1] is learner
    np.testing.assert_array_equal(trained.decision_function(HELD_OUT), unbroken.decision_function(HELD_OUT))


def test_the_state_of_another_pipeline_is_refused(tmp_path: Path) -> None:
    """Its steps have to be of the same kinds."""
    SklearnSubject(pipeline()).save(tmp_path / "it.skops", weights_only=False)
    with pytest.raises(CheckpointError, match=r"holds a Pipeline\(StandardScaler, SGDClassifier\), which a Pipeline\("):
        SklearnSubject(pipeline("columns")).load(tmp_path / "it.skops")


def test_of_a_stream_only_the_last_step_is_trained() -> None:
    """The other steps transform each batch; they cannot be fitted, since the complete data is never available."""
    batches = [(X[start : start + 20], LABELS[start : start + 20]) for start in (0, 20, 40)]
    with pytest.raises(SettingsError, match=r"StandardScaler is a step that is not fitted.*pipeline\[:-1\]\.fit"):
        partial_fit_stream(pipeline(), batches, classes=[0, 1])
    trained, same = pipeline(), pipeline()
    trained[:-1].fit(X)
    run = partial_fit_stream(trained, batches, classes=[0, 1], epochs=2, validation_data=(HELD_OUT, HELD_OUT_LABELS))
    expected = partial_fit(
        same, X, LABELS, batch_size=20, epochs=2, validation_data=(HELD_OUT, HELD_OUT_LABELS), shuffle=False
    )
    assert run.history["val_loss"] == expected.history["val_loss"]
    np.testing.assert_array_equal(trained[-1].coef_, same[-1].coef_)


def test_tensorboard_shows_the_complete_pipeline() -> None:
    """The graph has all steps; layers of the last one are seen on what the others make of the validation data."""
    trained = pipeline("columns", "mlp")
    held_out = HELD_OUT, HELD_OUT_LABELS
    partial_fit(trained, X, LABELS, validation_data=held_out, callbacks=TensorBoard("logs", histogram_freq=1))
    found = read()["train"]
    tags = found.Tags()
    assert "mlpclassifier/coefs_/0/histogram" in tags["histograms"]
    (event,) = found.Histograms("mlpclassifier/output/activation")
    np.testing.assert_allclose(event.histogram_value.sum, trained.predict_proba(HELD_OUT)[:, 1].sum(), rtol=1e-6)
    inputs = {node.name: list(node.input) for node in found.Graph().node}
    assert inputs["Pipeline/columntransformer/standardscaler"] == ["input"]
    assert inputs["Pipeline/mlpclassifier/hidden_1"] == ["Pipeline/columntransformer"]
    assert inputs["Pipeline"] == ["Pipeline/mlpclassifier"]


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        (LogisticRegression(), "LogisticRegression, the last step of the Pipeline, has no partial_fit"),
        (MLPClassifier(solver="lbfgs"), r"MLPClassifier\(solver='lbfgs'\) .* set solver='adam' or 'sgd'"),
        (SGDClassifier(early_stopping=True), r"SGDClassifier\(early_stopping=True\) .* list trainbus's EarlyStopping"),
    ],
)
def test_a_last_step_that_would_fail_is_refused_before_training(last: Any, sentence: str) -> None:
    """A missing capability is reported of the last step, not of the pipeline."""
    with pytest.raises(SettingsError, match=sentence):
        partial_fit(make_pipeline(StandardScaler(), last), X, LABELS)
