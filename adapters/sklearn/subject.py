"""A scikit-learn estimator as the subject of a run."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal
from warnings import warn

import numpy as np

from trainbus import CheckpointError, SettingsError
from trainbus.capabilities import BackgroundSaveable, HasActivations, HasLearningRate, Node, Restorable, Saveable
from trainbus.resume.rng_state import checked_numpy_state
from trainbus.settings.arguments import checked
from trainbus.storage.atomic_file import reading

from .activations import activations, has_layers
from .estimators import describe, final_estimator, leaf_estimators, weights
from .graph import estimator_nodes
from .learning_rates import options_of, rate_of, set_rate
from .pipeline import adopt_state
from .scoring import Metrics, Scoring

JOBLIB = ".joblib"
"""Suffix of files that run code when they are read."""


class SklearnSubject:
    """A scikit-learn estimator that has ``partial_fit``, one with the same interface, or a pipeline that ends in one.

    Snapshots and checkpoints hold the complete estimator: its counters and its optimizer's moments determine the next
    update as much as its weights do. Both are restored into the same object.

    In a hand-written loop, over data that need not fit into memory, the run gets it in place of the estimator:

    >>> from trainbus import Run
    >>> from trainbus.adapters.sklearn import loss
    >>> from sklearn.linear_model import SGDClassifier
    >>> clf = SGDClassifier(learning_rate="constant", eta0=0.1, random_state=0)
    >>> chunks = [([[0.0], [3.0]], [0, 1]), ([[1.0], [2.0]], [0, 1])]  # or a generator that reads them one by one
    >>> with Run(SklearnSubject(clf), callbacks=[]) as run:
    ...     for epoch in run.epochs(5):
    ...         for X, y in run.batches(chunks):
    ...             _ = clf.partial_fit(X, y, classes=[0, 1])
    ...         with run.validation():
    ...             run.log(loss=loss(clf, [[0.5], [2.5]], [0, 1]))
    >>> list(run.history), run.step
    (['learning_rate', 'val_loss'], 10)

    Args:
        estimator: The estimator to train.
        scoring: The scorers whose values the loop logs, as in ``partial_fit``; higher values are better.
        trusted: Dotted names of classes that a checkpoint may hold in addition to skops's and scikit-learn's; ".joblib"
            among them allows files of that suffix too, which run any code that they hold when they are read.
        probe: Samples, one per row, for the activations of a multi-layer perceptron.

    Raises:
        SettingsError: The estimator, or the last step of the pipeline, has no ``partial_fit``, or has a setting that
            fails in it.
    """

    @checked("SklearnSubject")
    def __init__(
        self, estimator: Any, *, scoring: Scoring = None, trusted: Iterable[str] = (), probe: Any = None
    ) -> None:
        _check(estimator)
        self.estimator = estimator
        self.probe = probe
        self.trusted = frozenset([trusted] if isinstance(trusted, str) else trusted)
        self.metrics = Metrics(estimator, scoring)
        self.random: np.random.RandomState | None = None
        """The generator that shuffles the rows; None for an ordered or a hand-written loop."""
        self.trained_samples = 0
        """The rows that ``partial_fit`` of trainbus has trained."""

    def samples(self) -> float:
        """Return how many rows were trained; 0 in a hand-written loop."""
        return self.trained_samples

    def refusal(self, capability: type) -> str | None:
        """Return why this estimator lacks the capability; None if it has it."""
        if capability is HasLearningRate:
            rates = rate_of(self.estimator)
            return rates if isinstance(rates, str) else None
        if capability is HasActivations and self.probe is None and has_layers(self.estimator):
            return "there is no validation data to compute them on; give partial_fit validation_data=(X, y)"
        if capability in (Saveable, Restorable, BackgroundSaveable) and JOBLIB not in self.trusted:
            return self._unsaveable
        return None

    def suffixes(self, *, weights_only: bool) -> Sequence[str]:
        """Return .skops, which runs no code when it is read, and .joblib if it is trusted."""
        return (".skops", JOBLIB) if JOBLIB in self.trusted else (".skops",)

    def save(self, path: Path, *, weights_only: bool) -> object:
        """Write the complete estimator, even if ``weights_only``: it cannot continue from less."""
        return self._files.write(self.estimator, path)

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        """Return a function that writes a deep copy of the estimator."""
        return partial(self._files.write, deepcopy(self.estimator))

    def content_writer(self, content: Any) -> Callable[[Path], object]:
        """Return a function that writes a deep copy of the content, such as a mapping that holds the estimator."""
        return partial(self._files.write, deepcopy(content))

    def load(self, path: Path) -> None:
        """Load the state of the estimator in the file, which may hold types of skops, scikit-learn and ``trusted``.

        Raises:
            UnreadableCheckpoint: It cannot be read.
            CheckpointError: It holds types that are not trusted, or another kind of estimator.
        """
        loaded = self._files.read(path, self.trusted)
        expected, same = describe(self.estimator), type(loaded) is type(self.estimator)
        with reading(path, "is not a readable estimator"):
            found = describe(loaded) if same else type(loaded).__name__
        if not same or found != expected:
            raise CheckpointError(f"{str(path)!r} holds a {found}, which a {expected} cannot load")
        with reading(path, "is not a readable estimator"):
            loaded.get_params()
        adopt_state(self.estimator, loaded)

    @property
    def _files(self) -> Any:
        from . import files as sklearn_files  # noqa: PLC0415 - skops imports all of scikit-learn

        return sklearn_files

    def snapshot(self) -> object:
        """Return a deep copy of the estimator: ``partial_fit`` changes its arrays in place."""
        return deepcopy(self.estimator)

    def restore(self, snapshot: Any) -> None:
        """Load the state of a copy of the snapshot, which stays unchanged."""
        adopt_state(self.estimator, deepcopy(snapshot))

    def random_state(self) -> Mapping[str, Any]:
        """Return the state of the shuffling generator; generators inside the estimator are part of its state."""
        return {} if self.random is None else {"orders": self.random.get_state(legacy=False)}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state of the shuffling generator."""
        if self.random is not None and "orders" in state:
            self.random.set_state(checked_numpy_state(state["orders"]))

    def learning_rates(self) -> Mapping[str, float]:
        """Return the rate of the next update; of several inner estimators, such as one per class, the largest."""
        rates = rate_of(self.estimator)
        return {} if isinstance(rates, str) else {"learning_rate": max(rate.value for rate in rates)}

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Change the rate that the next update reads; rates of inner estimators change by the same factor."""
        for name, value in rates.items():
            if name != "learning_rate":
                raise SettingsError(f"{name!r} is not a learning rate of an estimator; its only one is 'learning_rate'")
            set_rate(self.estimator, value)

    def optimizer_options(self) -> Mapping[str, Any]:
        """Return the parameters of the estimator except learning rates, by scikit-learn's names for them."""
        return options_of(self.estimator)

    def weights(self) -> Iterable[tuple[str, np.ndarray[Any, Any]]]:
        """Return the fitted arrays, those of inner estimators under names such as "estimators_/0/coef_"."""
        return weights(self.estimator)

    def activations(self, batch_size: int) -> Iterable[tuple[str, np.ndarray[Any, Any]]]:
        """Return the outputs of the layers of multi-layer perceptrons for the probe; nothing for other estimators."""
        return () if self.probe is None else activations(self.estimator, self.probe, batch_size)

    def graph(self) -> Sequence[Node]:
        """Return the data flow through the estimators and through the layers of a multi-layer perceptron."""
        return list(estimator_nodes(self.estimator))

    def direction_of(self, metric: str) -> Literal["min", "max"] | None:
        """Return "max" for a score and "min" for the loss."""
        return self.metrics.direction_of(metric)

    @cached_property
    def _unsaveable(self) -> str | None:
        try:
            return str(why) if (why := self._files.why_not_serialisable(self.estimator)) else None
        except ImportError as error:
            return f"{error}; pip install 'trainbus[sklearn]'"


def _check(estimator: Any) -> None:
    """Raise an error for settings that would fail at the first batch; warn about settings with bad results."""
    if isinstance(estimator, type):
        raise SettingsError(f"{estimator.__name__} is a class; give an object of it: {estimator.__name__}(...)")
    last = final_estimator(estimator)
    for leaf in leaf_estimators(last):
        name = type(leaf).__name__
        if getattr(leaf, "solver", None) == "lbfgs" and hasattr(leaf, "hidden_layer_sizes"):
            raise SettingsError(f"{name}(solver='lbfgs') trains on all rows at once; set solver='adam' or 'sgd'")
        if getattr(leaf, "early_stopping", False):
            raise SettingsError(
                f"{name}(early_stopping=True) splits off validation rows, which partial_fit cannot; set "
                "early_stopping=False and list trainbus's EarlyStopping"
            )
    if not hasattr(last, "partial_fit"):
        step = "" if last is estimator else f", the last step of the {type(estimator).__name__},"
        raise SettingsError(f"{type(last).__name__}{step} has no partial_fit, so it cannot be trained batch by batch")
    for leaf in leaf_estimators(last):
        schedule = getattr(leaf, "learning_rate", None), getattr(leaf, "solver", None)
        if schedule == ("adaptive", "sgd"):
            warn(
                f"{type(leaf).__name__}(learning_rate='adaptive') divides its rate by 5 on the noise of single "
                "batches; set learning_rate='constant' and list ReduceLROnPlateau",
                stacklevel=3,
            )
