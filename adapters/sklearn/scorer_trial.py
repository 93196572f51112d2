"""A trial of scorers before the training: each is called once on a copy of the estimator."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from trainbus import SettingsError
from trainbus.metrics.names import check_name
from trainbus.metrics.scalars import as_number

from .estimators import final_estimator, fit_batch, trains_by_column
from .pipeline import fit_steps
from .rows import Rows
from .scoring import Metrics, Scoring


def try_scorers(
    estimator: Any,
    scoring: Scoring,
    data: Sequence[Rows],
    batch_size: int,
    options: Mapping[str, Any],
    *,
    complete: bool = True,
) -> None:
    """Call each scorer on a copy of the estimator that was trained on a few rows.

    A scorer that fails on a few rows is called with all of them, which may contain further labels. If a copy cannot be
    created or trained, no error is raised here; the training itself will raise it.

    Args:
        estimator: The estimator, which does not change.
        scoring: The scorers, as in ``partial_fit``.
        data: The rows to score on; the copy learns from the first.
        batch_size: The number of rows of a batch.
        options: Options of the estimator's ``partial_fit``.
        complete: Whether these are all rows. If not, they may lack labels that others have: a scorer that fails is then
            called with rows to which all labels are assigned.

    Raises:
        SettingsError: A scorer fails or does not return a number; the message names it.

    >>> from sklearn.linear_model import SGDClassifier
    >>> try_scorers(SGDClassifier(), "neg_log_loss", [Rows("data", [[0.0], [1.0]], [0, 1])], 2, {"classes": [0, 1]})
    Traceback (most recent call last):
        ...
    trainbus.errors.SettingsError: scoring: 'neg_log_loss' cannot score this SGDClassifier: SGDClassifier has none of \
the following attributes: predict_proba; choose another scorer
    """
    if scoring is None:
        return
    random = np.random.get_state()  # noqa: NPY002 - estimators without a seed draw from it
    few = [rows.take(_few(rows, batch_size, labelled="classes" in options)) for rows in data]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                trial = deepcopy(estimator)
                X, y, weight = few[0]
                fit_batch(trial, fit_steps(trial, X, y), y, weight, options)
            except Exception:  # noqa: BLE001 - the training will raise it, where its cause shows
                return
            for name, scorer in _by_name(scoring).items():
                metrics = Metrics(trial, scorer)
                for rows, (X, y, _) in zip(data, few, strict=True):
                    labelled = [] if complete else _with_every_label(estimator, rows, options)
                    _try_scorer(name, metrics, [(X, y), (rows.X, rows.y), *labelled])
    finally:
        np.random.set_state(random)  # noqa: NPY002


def _by_name(scoring: Any) -> Mapping[str, Any]:
    if isinstance(scoring, Mapping):
        return {f"{name!r}": scorer for name, scorer in scoring.items()}
    if callable(scoring):
        return {getattr(scoring, "__name__", "the scorer"): scoring}
    return {f"{name!r}": name for name in ([scoring] if isinstance(scoring, str) else scoring)}


def _try_scorer(name: str, metrics: Metrics, attempts: Sequence[tuple[Any, Any]]) -> None:
    for X, y in attempts:
        try:
            for metric, value in metrics.scores(X, y).items():
                check_name(metric)
                as_number(value)
        except Exception as error:  # noqa: BLE001 - whatever a scorer raises
            problem = error
        else:
            return
    kind, why = type(final_estimator(metrics.estimator)).__name__, str(problem).rstrip(".")
    raise SettingsError(f"scoring: {name} cannot score this {kind}: {why}; choose another scorer")


def _with_every_label(estimator: Any, rows: Rows, options: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return rows to which each label is assigned at least twice; nothing if the rows have no single labels."""
    by_column, dimensions = trains_by_column(estimator), np.ndim(rows.y)
    if "classes" not in options or dimensions != (2 if by_column else 1):
        return []
    labels = [np.asarray(each) for each in (options["classes"] if by_column else [options["classes"]])]
    numbers = np.arange(2 * max(map(len, labels)))
    y = np.column_stack([each[numbers % len(each)] for each in labels])
    return [(rows.take(numbers % len(rows))[0], y if by_column else y[:, 0])]


def _few(rows: Rows, batch_size: int, *, labelled: bool) -> np.ndarray[Any, Any]:
    """Return the numbers of the rows of the first batch, and of the first row of each label."""
    found = set(range(min(batch_size, len(rows))))
    if labelled and rows.y is not None:
        y = np.asarray(rows.y)
        for column in y.reshape(len(y), -1).T:
            found.update(np.unique(column, return_index=True)[1].tolist())
    return np.array(sorted(found))
