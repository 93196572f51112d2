"""Train scikit-learn estimators on data in memory, batch by batch with callbacks."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import IncrementalPCA
from sklearn.utils import check_random_state

from trainbus import Run, SettingsError
from trainbus.callback import Verbose
from trainbus.engine.stopping.signals import DEFAULT
from trainbus.resume.script.rates import RateSource
from trainbus.settings.arguments import check_validation_freq, checked, whole_number
from trainbus.storage.paths import Source

from .estimators import accepts, final_estimator, fit_batch, ravel_targets, trains_by_column, unsupported_option
from .pipeline import fit_steps
from .rows import Rows, batches
from .scorer_trial import try_scorers
from .scoring import ADVICE, Scoring
from .subject import SklearnSubject


@checked("partial_fit")
def partial_fit(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    batch_size: int = 32,
    epochs: int = 1,
    validation_data: Any = None,
    validation_freq: int | Collection[int] = 1,
    scoring: Scoring = None,
    callbacks: object = (),
    classes: Any = None,
    sample_weight: Any = None,
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = None,
    verbose: Verbose | None = None,
    resume: Source | None = None,
    resume_strict: bool = False,
    resume_learning_rates: RateSource = "checkpoint",
    start: Mapping[str, Any] | None = None,
    hparams: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    signals: Iterable[str] = DEFAULT,
    trusted: Iterable[str] = (),
) -> Run:
    """Train an estimator with callbacks, in epochs and batches.

    Each epoch ends with the metrics on all of ``X`` and, with the prefix "val_", those on the validation data: "loss"
    if the estimator is a classifier or regressor (see ``loss``), and the scores of ``scoring``.

    Args:
        estimator: Trained in place; a trained estimator is trained further. Of a pipeline the last step is trained;
            other steps that are not fitted are fitted to all of ``X`` first.
        X: Samples of shape (rows, features): an array, sparse matrix, data frame or list.
        y: Targets of shape (rows,) or (rows, outputs); None for estimators that need none.
        batch_size: Rows per ``partial_fit``; the last batch of an epoch may be smaller.
        epochs: How often to train on all rows, unless a callback stops earlier.
        validation_data: ``(X, y)`` of rows to validate on, or X alone if y is None.
        validation_freq: Which epochs end with a validation: every n-th, or these (counted from 1).
        scoring: A scorer's name, several, a mapping from names to scorers, or a callable ``(estimator, X, y)`` that
            returns a number, named "score", or several by name; None is the estimator's ``score``, if it has one.
            Each scorer is called once before the training, on a copy that has learned from a few rows.
        callbacks: As in ``trainbus.Run``.
        classes: All labels that may occur, per output if there are several; None takes them from ``y``.
        sample_weight: Weights of shape (rows,) of the samples in training; metrics are not weighted.
        shuffle: Whether to shuffle the rows in each epoch.
        random_state: Seed or generator of the shuffling.
        verbose: As in ``trainbus.Run``.
        resume: As in ``trainbus.Run``: a checkpoint, a directory or "auto" to continue from.
        resume_strict: As in ``trainbus.Run``.
        resume_learning_rates: As in ``trainbus.Run``.
        start: As in ``trainbus.Run``.
        hparams: As in ``trainbus.Run``.
        run_id: As in ``trainbus.Run``.
        signals: As in ``trainbus.Run``.
        trusted: As in ``SklearnSubject``: classes that a checkpoint may hold, or ".joblib".

    Returns:
        The run after its end: ``run.history``, ``run.result``.

    Raises:
        SettingsError: Arguments do not fit together; raised before any training.

    >>> from sklearn.linear_model import SGDClassifier
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
    >>> clf = SGDClassifier(random_state=0)
    >>> run = partial_fit(clf, X, y, batch_size=2, epochs=3, validation_data=(X, y), scoring="accuracy", random_state=0)
    >>> list(run.history), run.step
    (['loss', 'accuracy', 'val_loss', 'val_accuracy'], 6)
    """
    subject = SklearnSubject(estimator, scoring=scoring, trusted=trusted)
    batch_size, epochs = whole_number("batch_size", batch_size, 1), whole_number("epochs", epochs, 1)
    check_validation_freq(validation_freq)
    rows = Rows("partial_fit", X, ravel_targets(estimator, y), sample_weight)
    validation_rows = _validation_rows(estimator, validation_data, y)
    subject.probe = None if validation_rows is None else validation_rows.X
    _check_first_batch(final_estimator(estimator), min(batch_size, len(rows)))
    options = _class_options(estimator, rows, validation_rows, classes)
    if sample_weight is not None and not accepts(estimator, "sample_weight"):
        raise unsupported_option(estimator, "sample_weight")
    data = [rows] if validation_rows is None else [rows, validation_rows]
    try_scorers(estimator, scoring, data, batch_size, options)
    random = subject.random = check_random_state(random_state) if shuffle else None

    run = Run(
        subject,
        callbacks,
        verbose=verbose,
        resume=resume,
        resume_strict=resume_strict,
        resume_learning_rates=resume_learning_rates,
        start=start,
        hparams=hparams,
        run_id=run_id,
        signals=signals,
    )
    with run:
        run.state.metric_advice = ADVICE
        transformed = Rows("partial_fit", fit_steps(estimator, rows.X, rows.y), rows.y, rows.sample_weight)
        for epoch in run.epochs(epochs, validation_freq=validation_freq):
            for numbers in run.batches(list(batches(len(rows), batch_size, random))):
                fit_batch(estimator, *transformed.take(numbers), options)
                subject.trained_samples += len(numbers)
            run.log(subject.metrics(rows.X, rows.y))
            if validation_rows is not None and run.state.validates(epoch):
                with run.validation():
                    run.log(subject.metrics(validation_rows.X, validation_rows.y))
    return run


def _validation_rows(estimator: Any, data: Any, y: Any) -> Rows | None:
    if data is None:
        return None
    if y is None and not isinstance(data, tuple):
        return Rows("validation_data", data)
    if not isinstance(data, tuple) or len(data) != 2:
        raise SettingsError("validation_data: give a pair (X, y)")
    return Rows("validation_data", data[0], ravel_targets(estimator, data[1]))


def _check_first_batch(estimator: Any, size: int) -> None:
    for each, name, fitted in (
        (MiniBatchKMeans, "n_clusters", "cluster_centers_"),
        (IncrementalPCA, "n_components", "components_"),
    ):
        if isinstance(estimator, each) and not hasattr(estimator, fitted):
            needed = getattr(estimator, name)
            if needed is not None and size < needed:
                raise SettingsError(
                    f"{each.__name__}({name}={needed}) needs at least {needed} rows in its first batch, not {size}; "
                    f"set batch_size={needed} or more"
                )


def _class_options(estimator: Any, rows: Rows, validation_rows: Rows | None, classes: Any) -> dict[str, Any]:
    """Return the labels as an option of ``partial_fit`` if it accepts them; check that they include the data's."""
    if not accepts(estimator, "classes"):
        if classes is not None:
            raise unsupported_option(estimator, "classes")
        return {}
    if rows.y is None:
        raise SettingsError(f"y: {type(final_estimator(estimator)).__name__} needs the label of every row")
    if classes is None:
        classes = getattr(estimator, "classes_", None)
    y = np.asarray(rows.y)
    per_column = trains_by_column(estimator) and y.ndim == 2
    if classes is None:
        classes = [np.unique(column) for column in y.T] if per_column else np.unique(y)
    targets = {"y": y} if validation_rows is None else {"y": y, "validation_data": np.asarray(validation_rows.y)}
    for what, data in targets.items():
        for known, found in zip(classes, data.T, strict=True) if per_column else [(classes, data)]:
            unknown = np.setdiff1d(found, known)
            if unknown.size:
                raise SettingsError(
                    f"{what} holds the labels {unknown.tolist()}, which are not among the classes "
                    f"{np.asarray(known).tolist()}; give classes= with all labels that may occur"
                )
    return {"classes": classes}
