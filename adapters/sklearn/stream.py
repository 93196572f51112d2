"""scikit-learn: training on data that never lies in memory as a whole, batch by batch as something reads it."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from typing import Any

from sklearn.exceptions import NotFittedError

from trainbus import Run, SettingsError
from trainbus.engine.signals import DEFAULT

from . import SklearnSubject
from .estimators import flat, learn, learner, takes, untaken
from .pipeline import prepared
from .rows import Rows
from .scoring import Scoring

__all__ = ["partial_fit_stream"]

Stream = Iterable[Any] | Callable[[], Iterable[Any]]
"""Batches, each X, `(X, y)` or `(X, y, sample_weight)`; or what makes them anew for each epoch."""


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
    resume: str | os.PathLike[str] | None = None,
    resume_strict: bool = False,
    signals: Iterable[str] = DEFAULT,
    trusted: Iterable[str] = (),
) -> Run:
    """Train an estimator on batches as they come, with callbacks; no more than one is in memory.

    Args:
        estimator: trained in place; one that was trained before is trained on. Of a pipeline the last step is trained;
            the others have to be fitted.
        stream: the batches of an epoch: an iterable that begins anew each time it is gone through, such as PyTorch's
            DataLoader, or a function that returns an iterator, such as a generator function; a generator itself lasts
            for one epoch. Each batch is `(X, y)`, `(X, y, sample_weight)`, or X alone for an estimator that needs no y.
        classes: all labels that may come; a classifier that is not trained yet has to be told.
        epochs: how often the stream is gone through, unless a callback stops before.
        train_metrics: whether each batch is judged before it is trained on, as Keras judges them; the epoch's metrics
            are the means over its rows. The very first batch of an untrained estimator is not judged.
        validation_data: `(X, y)` in memory, or a stream of batches, whose metrics are means over the rows: right for
            the loss and accuracy, not for what is no mean, such as the area under a curve.
        validation_freq: as in `partial_fit`.
        scoring: as in `partial_fit`.
        callbacks: as in `trainbus.Run`.
        resume: as in `trainbus.Run`. In the middle of an epoch the batches that were trained on are read and left out.
        resume_strict: as in `trainbus.Run`.
        signals: as in `trainbus.Run`.
        trusted: as in `SklearnSubject`.

    Returns:
        The run after its end: `run.history`, `run.result`.

    Raises:
        SettingsError: something does not fit together; told before any training, or at the first batch that shows it.

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
    _check_stream("stream", stream, epochs)
    in_memory = isinstance(validation_data, tuple)
    if validation_data is not None and not in_memory:
        _check_stream("validation_data", validation_data, epochs)
    options = _class_options(estimator, classes)
    weighs = takes(estimator, "sample_weight")

    with Run(subject, callbacks, resume=resume, resume_strict=resume_strict, signals=signals) as run:
        for epoch in run.epochs(epochs, validation_freq=validation_freq):
            for batch in run.batches(_batches(stream)):
                rows = _rows("a batch", estimator, batch)
                if rows.sample_weight is not None and not weighs:
                    raise untaken(estimator, "sample_weight")
                if train_metrics:
                    _log(run, subject, rows)
                learn(estimator, prepared(estimator, rows.X), rows.y, rows.sample_weight, options)
            if validation_data is not None and run.state.validates(epoch):
                with run.validation():
                    for batch in [validation_data] if in_memory else _batches(validation_data):
                        _log(run, subject, _rows("validation_data", estimator, batch))
    return run


def _check_stream(what: str, stream: Stream, epochs: int) -> None:
    if hasattr(stream, "shape"):
        raise SettingsError(f"{what} is an array, not batches; trainbus.adapters.sklearn.partial_fit cuts it into some")
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
        raise SettingsError("the stream has no batch; a function has to return a new iterator each time it is called")
    return chain([first], batches)


def _rows(what: str, estimator: Any, batch: Any) -> Rows:
    parts = batch if isinstance(batch, tuple) or _are_arrays(batch) else (batch,)
    if not 1 <= len(parts) <= 3:
        raise SettingsError(f"{what} has {len(parts)} parts; give (X, y), (X, y, sample_weight), or X alone")
    X, y, weight = (*parts, None, None)[:3]
    return Rows(what, X, flat(estimator, y), weight)


def _are_arrays(batch: Any) -> bool:
    """Whether a list holds X and y, as those of PyTorch's DataLoader do, and not the rows of X."""
    return isinstance(batch, list) and all(hasattr(each, "shape") for each in batch) and len(batch[0].shape) > 1


def _log(run: Run, subject: SklearnSubject, rows: Rows) -> None:
    try:
        metrics = subject.metrics(rows.X, rows.y)
    except (NotFittedError, AttributeError):
        if run.step:
            raise
        return  # before its first batch an estimator can judge nothing
    run.log(metrics, count=len(rows))


def _class_options(estimator: Any, classes: Any) -> dict[str, Any]:
    if not takes(estimator, "classes"):
        if classes is not None:
            raise untaken(estimator, "classes")
        return {}
    known = getattr(estimator, "classes_", None) if classes is None else classes
    if known is None:
        raise SettingsError(
            f"classes: {type(learner(estimator)).__name__} has to know all labels before the first batch, which may "
            "not hold them all; give classes=[...]"
        )
    return {"classes": known}
