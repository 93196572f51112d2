"""Train scikit-learn estimators on data that does not fit into memory, batch by batch as it is read."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from sklearn.exceptions import NotFittedError

from trainbus import Run, SettingsError
from trainbus.callback import Verbose
from trainbus.engine.stopping.signals import DEFAULT
from trainbus.resume.script.rates import RateSource
from trainbus.settings.arguments import check_validation_freq, checked, whole_number

from .estimators import accepts, final_estimator, fit_batch, ravel_targets, unsupported_option
from .pipeline import transformed
from .rows import Rows
from .scorer_trial import try_scorers
from .scoring import ADVICE, Scoring
from .subject import SklearnSubject

Stream = Iterable[Any] | Callable[[], Iterable[Any]]
"""Batches, each X, ``(X, y)`` or ``(X, y, sample_weight)``; or a function that returns them for each epoch."""
_TRIAL_ROWS = 32
"""Rows from which a copy learns, on which each scorer is tried."""


@checked("partial_fit_stream")
def partial_fit_stream(
    estimator: Any,
    stream: Stream,
    *,
    classes: Any = None,
    epochs: int = 1,
    train_metrics: bool = True,
    validation_data: Stream | None = None,
    validation_freq: int | Collection[int] = 1,
    scoring: Scoring = None,
    callbacks: object = (),
    verbose: Verbose | None = None,
    resume: str | os.PathLike[str] | None = None,
    resume_strict: bool = False,
    resume_learning_rates: RateSource = "checkpoint",
    start: Mapping[str, Any] | None = None,
    hparams: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    signals: Iterable[str] = DEFAULT,
    trusted: Iterable[str] = (),
) -> Run:
    """Train an estimator with callbacks on batches as they are read; one batch is in memory at a time.

    Args:
        estimator: Trained in place; a trained estimator is trained further. In a pipeline, the last step is trained;
            the other steps must be fitted.
        stream: The batches of an epoch: an iterable that restarts at each iteration, such as PyTorch's DataLoader, or a
            function that returns an iterator, such as a generator function; a generator itself lasts for one epoch.
            Each batch is ``(X, y)``, ``(X, y, sample_weight)``, or X alone for an estimator that needs no y.
        classes: All labels that may occur; required for a classifier that is not trained yet.
        epochs: How often to iterate the stream, unless a callback stops earlier.
        train_metrics: Whether to evaluate each batch before training on it, as Keras does; the epoch's metrics are the
            means over its rows. The first batch of an untrained estimator is not evaluated.
        validation_data: ``(X, y)`` in memory, or a stream of batches. A stream's metrics are means over the rows. This
            is exact for the loss and accuracy, but not for scores such as the area under a curve.
        validation_freq: As in ``partial_fit``.
        scoring: As in ``partial_fit``. Without validation data in memory, each scorer is called on a few rows of the
            first batch, before a batch is trained on.
        callbacks: As in ``trainbus.Run``.
        verbose: As in ``trainbus.Run``.
        resume: As in ``trainbus.Run``. In the middle of an epoch, batches that were trained on are read and skipped.
        resume_strict: As in ``trainbus.Run``.
        resume_learning_rates: As in ``trainbus.Run``.
        start: As in ``trainbus.Run``.
        hparams: As in ``trainbus.Run``.
        run_id: As in ``trainbus.Run``.
        signals: As in ``trainbus.Run``.
        trusted: As in ``SklearnSubject``.

    Returns:
        The run after its end: ``run.history``, ``run.result``.

    Raises:
        SettingsError: The arguments are not consistent; raised before the training, or at the first batch that shows
            it.

    >>> from sklearn.linear_model import SGDClassifier
    >>> def batches():
    ...     for low in (0.0, 1.0):
    ...         yield [[low], [low + 3]], [0, 1]
    >>> clf = SGDClassifier(random_state=0)
    >>> run = partial_fit_stream(clf, batches, classes=[0, 1], epochs=3, validation_data=([[0.5], [4.5]], [0, 1]))
    >>> list(run.history), run.step
    (['loss', 'score', 'val_loss', 'val_score'], 6)
    """
    subject = SklearnSubject(estimator, scoring=scoring, trusted=trusted)
    epochs = whole_number("epochs", epochs, 1)
    check_validation_freq(validation_freq)
    _check_stream("stream", stream, epochs)
    in_memory = isinstance(validation_data, tuple)
    if validation_data is not None and not in_memory:
        _check_stream("validation_data", validation_data, epochs)
    options = _class_options(estimator, classes)
    weighs = accepts(estimator, "sample_weight")
    untried = scoring is not None and not in_memory and (train_metrics or validation_data is not None)
    if in_memory:
        try_scorers(estimator, scoring, [_rows("validation_data", estimator, validation_data)], _TRIAL_ROWS, options)

    with Run(
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
    ) as run:
        run.state.metric_advice = ADVICE
        for epoch in run.epochs(epochs, validation_freq=validation_freq):
            for batch in run.batches(_batches(stream)):
                rows = _rows("a batch", estimator, batch)
                if rows.sample_weight is not None and not weighs:
                    raise unsupported_option(estimator, "sample_weight")
                if untried:
                    untried = False
                    try_scorers(estimator, scoring, [rows], _TRIAL_ROWS, options, complete=False)
                if train_metrics:
                    _log(run, subject, rows)
                fit_batch(estimator, transformed(estimator, rows.X), rows.y, rows.sample_weight, options)
                subject.trained_samples += len(rows)
            if validation_data is not None and run.state.validates(epoch):
                with run.validation():
                    for batch in [validation_data] if in_memory else _batches(validation_data):
                        _log(run, subject, _rows("validation_data", estimator, batch))
    return run


def _check_stream(what: str, stream: Stream, epochs: int) -> None:
    if hasattr(stream, "shape"):
        raise SettingsError(f"{what} is an array, not batches; trainbus.adapters.sklearn.partial_fit splits arrays")
    if callable(stream):
        return
    if not isinstance(stream, Iterable):
        kind = type(stream).__name__
        raise SettingsError(f"{what} is a {kind}; give an iterable of batches, or a function that returns one")
    if isinstance(stream, Iterator) and epochs > 1:
        raise SettingsError(
            f"{what} is a {type(stream).__name__}, which is empty after one epoch of {epochs}; give the function that "
            "makes it, without calling it"
        )


def _batches(stream: Stream) -> Iterable[Any]:
    if not callable(stream):
        return stream
    batches = iter(stream())
    first = next(batches, None)
    if first is None:
        raise SettingsError("the stream has no batch; a function must return a new iterator each time it is called")
    return chain([first], batches)


def _rows(what: str, estimator: Any, batch: Any) -> Rows:
    parts = batch if isinstance(batch, tuple) or _are_arrays(batch) else (batch,)
    if not 1 <= len(parts) <= 3:
        raise SettingsError(f"{what} has {len(parts)} parts; give (X, y), (X, y, sample_weight), or X alone")
    X, y, weight = (*parts, None, None)[:3]
    return Rows(what, X, ravel_targets(estimator, y), weight)


def _are_arrays(batch: Any) -> bool:
    """Return whether a list holds X and y, as PyTorch's DataLoader returns them, and not the rows of X."""
    return isinstance(batch, list) and all(hasattr(each, "shape") for each in batch) and len(batch[0].shape) > 1


def _log(run: Run, subject: SklearnSubject, rows: Rows) -> None:
    try:
        metrics = subject.metrics(rows.X, rows.y)
    except (NotFittedError, AttributeError):
        if run.step:
            raise
        return  # an estimator cannot predict before its first batch
    run.log(metrics, count=len(rows))


def _class_options(estimator: Any, classes: Any) -> dict[str, Any]:
    if not accepts(estimator, "classes"):
        if classes is not None:
            raise unsupported_option(estimator, "classes")
        return {}
    known = getattr(estimator, "classes_", None) if classes is None else classes
    if known is None:
        raise SettingsError(
            f"classes: {type(final_estimator(estimator)).__name__} needs all labels before the first batch, "
            "which may not hold them all; give classes=[...]"
        )
    return {"classes": known}
