"""scikit-learn: every estimator that has `partial_fit`."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cached_property, partial
from numbers import Integral
from pathlib import Path
from typing import Any, Literal
from warnings import warn

import numpy as np

from trainbus import CheckpointError, MissingDependency, Run, SettingsError
from trainbus.capabilities import BackgroundSaveable, HasActivations, HasLearningRate, Node, Restorable, Saveable
from trainbus.engine.signals import DEFAULT
from trainbus.storage.paths import Source

try:
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import IncrementalPCA
    from sklearn.utils import check_random_state
except ImportError as error:
    raise MissingDependency(f"{error}; pip install 'trainbus[sklearn]'") from error

from .activations import activations, has_layers
from .estimators import by_column, flat, kind, learn, learner, leaves, takes, untaken, weights
from .graph import nodes
from .learning_rates import rate_of, set_rate
from .pipeline import fit_steps, take_over
from .rows import Rows, batches
from .scoring import Metrics, Scoring, loss

__all__ = ["SklearnSubject", "loss", "partial_fit"]

JOBLIB = ".joblib"
"""Suffix of files that run code when they are read."""


class SklearnSubject:
    """A scikit-learn estimator that learns by `partial_fit`, one that looks like it, or a pipeline that ends in one.

    Snapshots and checkpoints hold the whole estimator: what it counts and its optimizer's moments decide the next
    update as much as its weights do. Both are brought back into the same object.

    In a loop of one's own, over data that need not fit into memory, it stands for the estimator:

    >>> from sklearn.linear_model import SGDClassifier
    >>> clf = SGDClassifier(learning_rate="constant", eta0=0.1, random_state=0)
    >>> chunks = [([[0.0], [3.0]], [0, 1]), ([[1.0], [2.0]], [0, 1])]  # or whatever reads them one by one
    >>> with Run(SklearnSubject(clf), callbacks=[]) as run:
    ...     for epoch in run.epochs(5):
    ...         for X, y in run.batches(chunks):
    ...             _ = clf.partial_fit(X, y, classes=[0, 1])
    ...         with run.validation():
    ...             run.log(loss=loss(clf, [[0.5], [2.5]], [0, 1]))
    >>> list(run.history), run.step
    (['learning_rate', 'val_loss'], 10)

    Args:
        estimator: what is trained.
        scoring: the scorers whose values the loop logs, as in `partial_fit`; they tell which way these improve.
        trusted: dotted names of classes beside skops's and scikit-learn's own that a checkpoint may hold; with
            ".joblib" among them also files of that suffix, which run whatever code they hold when they are read.
        probe: samples, one a row, to look at the layers of a multi-layer perceptron with.

    Raises:
        SettingsError: the estimator, or the last step of the pipeline, has no `partial_fit`, or is set to something
            that fails in it.
    """

    def __init__(
        self, estimator: Any, *, scoring: Scoring = None, trusted: Iterable[str] = (), probe: Any = None
    ) -> None:
        _check(estimator)
        self.estimator = estimator
        self.probe = probe
        self.trusted = frozenset([trusted] if isinstance(trusted, str) else trusted)
        self.metrics = Metrics(estimator, scoring)
        self.random: np.random.RandomState | None = None
        """The generator that the order of the rows is drawn from, if it is none of NumPy's."""

    def refusal(self, capability: type) -> str | None:
        """Why this estimator lacks the capability: no rate that acts, a type that skops cannot write, no samples."""
        if capability is HasLearningRate:
            found = rate_of(self.estimator)
            return found if isinstance(found, str) else None
        if capability is HasActivations and self.probe is None and has_layers(self.estimator):
            return "there is no validation data to see them on; give partial_fit validation_data=(X, y)"
        if capability in (Saveable, Restorable, BackgroundSaveable) and JOBLIB not in self.trusted:
            return self._unsaveable
        return None

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """.skops, which runs no code when it is read; .joblib where that is trusted."""
        return (".skops", JOBLIB) if JOBLIB in self.trusted else (".skops",)

    def save(self, path: Path, *, weights_only: bool) -> object:
        """Write the whole estimator, also where only weights are asked for: it has no smaller part to go on from."""
        return self._files.write(self.estimator, path)

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        """What writes a deep copy of the estimator."""
        return partial(self._files.write, deepcopy(self.estimator))

    def load(self, path: Path) -> None:
        """Take over the estimator that `path` holds, which may contain types of skops and scikit-learn only.

        Raises:
            CheckpointError: it cannot be read, holds types that are not trusted, or another kind of estimator.
        """
        loaded = self._files.read(path, self.trusted)
        holds, wanted = kind(loaded), kind(self.estimator)
        if type(loaded) is not type(self.estimator) or holds != wanted:
            raise CheckpointError(f"{str(path)!r} holds a {holds}, which cannot be taken over by a {wanted}")
        take_over(self.estimator, loaded)

    @property
    def _files(self) -> Any:
        from . import files as sklearn_files  # noqa: PLC0415 - skops imports all of scikit-learn

        return sklearn_files

    def snapshot(self) -> object:
        """A deep copy of the estimator: `partial_fit` changes its arrays in place."""
        return deepcopy(self.estimator)

    def restore(self, snapshot: Any) -> None:
        """Take over a copy of the snapshot, which stays as it is."""
        take_over(self.estimator, deepcopy(snapshot))

    def random_state(self) -> Mapping[str, Any]:
        """Where the generator of the orders stands; those inside the estimator are part of it."""
        return {} if self.random is None else {"orders": self.random.get_state(legacy=False)}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Bring the generator of the orders back."""
        if self.random is not None and "orders" in state:
            self.random.set_state(state["orders"])

    def learning_rates(self) -> Mapping[str, float]:
        """The rate of the next update; of several estimators inside, such as one a class, the largest."""
        found = rate_of(self.estimator)
        return {} if isinstance(found, str) else {"learning_rate": max(rate.value for rate in found)}

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Change the rate where the next update reads it; in estimators inside, all by the same factor."""
        for name, value in rates.items():
            if name != "learning_rate":
                raise SettingsError(f"{name!r} is no learning rate of an estimator, which has one: 'learning_rate'")
            set_rate(self.estimator, value)

    def weights(self) -> Iterable[tuple[str, np.ndarray[Any, Any]]]:
        """The fitted arrays, those of estimators inside as "estimators_/0/coef_"."""
        return weights(self.estimator)

    def activations(self, batch_size: int) -> Iterable[tuple[str, np.ndarray[Any, Any]]]:
        """What the layers of multi-layer perceptrons put out for the probe; nothing for other estimators."""
        return () if self.probe is None else activations(self.estimator, self.probe, batch_size)

    def graph(self) -> Sequence[Node]:
        """How data goes through the estimators, and the layers of a multi-layer perceptron."""
        return list(nodes(self.estimator))

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """What a scorer gives improves upwards, the loss downwards."""
        return self.metrics.direction_of(metric)

    @cached_property
    def _unsaveable(self) -> str | None:
        try:
            return str(why) if (why := self._files.unwritable(self.estimator)) else None
        except ImportError as error:
            return f"{error}; pip install 'trainbus[sklearn]'"


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
    resume: Source | None = None,
    resume_strict: bool = False,
    signals: Iterable[str] = DEFAULT,
    trusted: Iterable[str] = (),
) -> Run:
    """Train an estimator batch by batch, as its `fit` would epoch by epoch, with callbacks.

    Each epoch ends with the metrics on all of `X`, and those on the validation data with the prefix `val_`: "loss",
    where the estimator is a classifier or regressor (see `loss`), and the scores of `scoring`.

    Args:
        estimator: trained in place; one that was trained before is trained on. Of a pipeline the last step is trained;
            those of the others that are not fitted are fitted to all of `X` first.
        X: samples of shape (rows, features): an array, sparse matrix, data frame or list.
        y: targets of shape (rows,) or (rows, outputs); None for estimators that need none.
        batch_size: rows to one `partial_fit`; the last batch of an epoch may be smaller.
        epochs: how often all rows are gone through, unless a callback stops before.
        validation_data: `(X, y)` of rows to validate on, or X alone where y is None.
        validation_freq: which epochs end with a validation: every n-th, or these (counted from 1).
        scoring: a scorer's name, several, a mapping of names to scorers, or a callable `(estimator, X, y)` that gives
            a number, named "score", or several by name; None is the estimator's `score`, where it has one.
        callbacks: as in `trainbus.Run`.
        classes: all labels that may come, per output where there are several; None takes them from all of `y`.
        sample_weight: weights of shape (rows,) of the samples in training; metrics are not weighted.
        shuffle: whether each epoch goes through the rows in an order of its own.
        random_state: seed or generator of these orders.
        resume: as in `trainbus.Run`: a checkpoint, a directory or "auto", to go on from.
        resume_strict: as in `trainbus.Run`.
        signals: as in `trainbus.Run`.
        trusted: as in `SklearnSubject`: what a checkpoint may hold, or ".joblib".

    Returns:
        The run after its end: `run.history`, `run.result`.

    Raises:
        SettingsError: something does not fit together; told before any training.

    >>> from sklearn.linear_model import SGDClassifier
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
    >>> clf = SGDClassifier(random_state=0)
    >>> run = partial_fit(clf, X, y, batch_size=2, epochs=3, validation_data=(X, y), scoring="accuracy", random_state=0)
    >>> list(run.history), run.step
    (['loss', 'accuracy', 'val_loss', 'val_accuracy'], 6)
    """
    subject = SklearnSubject(estimator, scoring=scoring, trusted=trusted)
    for name, number in (("batch_size", batch_size), ("epochs", epochs)):
        if not isinstance(number, Integral) or number < 1:
            raise SettingsError(f"{name}={number!r}: give a whole number from 1")
    rows = Rows("partial_fit", X, flat(estimator, y), sample_weight)
    held_out = _held_out(estimator, validation_data, y)
    subject.probe = None if held_out is None else held_out.X
    _check_first_batch(learner(estimator), min(batch_size, len(rows)))
    options = _class_options(estimator, rows, held_out, classes)
    if sample_weight is not None and not takes(estimator, "sample_weight"):
        raise untaken(estimator, "sample_weight")
    random = subject.random = check_random_state(random_state) if shuffle else None

    run = Run(subject, callbacks, resume=resume, resume_strict=resume_strict, signals=signals)
    with run:
        seen = Rows("partial_fit", fit_steps(estimator, rows.X, rows.y), rows.y, rows.sample_weight)
        for epoch in run.epochs(epochs, validation_freq=validation_freq):
            for numbers in run.batches(list(batches(len(rows), batch_size, random))):
                learn(estimator, *seen.take(numbers), options)
            run.log(subject.metrics(rows.X, rows.y))
            if held_out is not None and run.state.validates(epoch):
                with run.validation():
                    run.log(subject.metrics(held_out.X, held_out.y))
    return run


def _check(estimator: Any) -> None:
    """Refuse what would fail at the first batch, and warn of what would go wrong unseen."""
    if isinstance(estimator, type):
        raise SettingsError(f"{estimator.__name__} is a class; give an object of it: {estimator.__name__}(...)")
    last = learner(estimator)
    for leaf in leaves(last):
        name = type(leaf).__name__
        if getattr(leaf, "solver", None) == "lbfgs" and hasattr(leaf, "hidden_layer_sizes"):
            raise SettingsError(f"{name}(solver='lbfgs') trains on all rows at once; set solver='adam' or 'sgd'")
        if getattr(leaf, "early_stopping", False):
            raise SettingsError(
                f"{name}(early_stopping=True) splits off rows of its own, which partial_fit cannot; set "
                "early_stopping=False and list trainbus's EarlyStopping"
            )
    if not hasattr(last, "partial_fit"):
        step = "" if last is estimator else f", the last step of the {type(estimator).__name__},"
        raise SettingsError(f"{type(last).__name__}{step} has no partial_fit, so it cannot be trained batch by batch")
    for leaf in leaves(last):
        schedule = getattr(leaf, "learning_rate", None), getattr(leaf, "solver", None)
        if schedule == ("adaptive", "sgd"):
            warn(
                f"{type(leaf).__name__}(learning_rate='adaptive') divides its rate by 5 on the noise of single "
                "batches; set learning_rate='constant' and list ReduceLROnPlateau",
                stacklevel=3,
            )


def _held_out(estimator: Any, data: Any, y: Any) -> Rows | None:
    if data is None:
        return None
    if y is None and not isinstance(data, tuple):
        return Rows("validation_data", data)
    if not isinstance(data, tuple) or len(data) != 2:
        raise SettingsError("validation_data: give a pair (X, y)")
    return Rows("validation_data", data[0], flat(estimator, data[1]))


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


def _class_options(estimator: Any, rows: Rows, held_out: Rows | None, classes: Any) -> dict[str, Any]:
    """The labels as an option of `partial_fit`, where it takes them, with every label of the data among them."""
    if not takes(estimator, "classes"):
        if classes is not None:
            raise untaken(estimator, "classes")
        return {}
    if rows.y is None:
        raise SettingsError(f"y: {type(learner(estimator)).__name__} needs the label of every row")
    if classes is None:
        classes = getattr(estimator, "classes_", None)
    y = np.asarray(rows.y)
    several = by_column(estimator) and y.ndim == 2
    if classes is None:
        classes = [np.unique(column) for column in y.T] if several else np.unique(y)
    for what, data in (("y", y), ("validation_data", None if held_out is None else np.asarray(held_out.y))):
        if data is None:
            continue
        for known, found in zip(classes, data.T, strict=True) if several else [(classes, data)]:
            late = np.setdiff1d(found, known)
            if late.size:
                raise SettingsError(
                    f"{what} holds the labels {late.tolist()}, which are not among the classes "
                    f"{np.asarray(known).tolist()}; give classes= with all that may come"
                )
    return {"classes": classes}
