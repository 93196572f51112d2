"""The parts of a scikit-learn estimator: the estimators inside it and its fitted arrays."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import Parameter, signature
from typing import Any

import numpy as np
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import Pipeline

from trainbus import SettingsError

NO_WEIGHTS = ("classes_", "h_samples_")
"""Fitted arrays that hold data: labels, and the samples from which BernoulliRBM continues to draw."""


def final_estimator(estimator: Any) -> Any:
    """Return the estimator that learns batch by batch: the last step of a pipeline, else the estimator itself."""
    return final_estimator(estimator.steps[-1][1]) if isinstance(estimator, Pipeline) else estimator


def describe(estimator: Any) -> str:
    """Return the name of its class and of its steps' classes; estimators with equal names can exchange their states.

    >>> from sklearn.linear_model import SGDClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> describe(make_pipeline("passthrough", SGDClassifier()))
    'Pipeline(passthrough, SGDClassifier)'
    """
    if isinstance(estimator, Pipeline):
        return f"{type(estimator).__name__}({', '.join(describe(step) for _, step in estimator.steps)})"
    return estimator if isinstance(estimator, str) else type(estimator).__name__


def inner_estimators(estimator: Any) -> dict[str, Any]:
    """Return name to each estimator that a meta-estimator trains: the fitted ones, or their template before a fit.

    Of a pipeline it is the last step.

    >>> from sklearn.linear_model import SGDClassifier
    >>> from sklearn.multiclass import OneVsRestClassifier
    >>> inner_estimators(OneVsRestClassifier(SGDClassifier()))
    {'estimator': SGDClassifier()}
    """
    if isinstance(estimator, Pipeline):
        return dict(estimator.steps[-1:]) if hasattr(final_estimator(estimator), "partial_fit") else {}
    fitted = getattr(estimator, "estimators_", None)
    if isinstance(fitted, list):
        return {f"estimators_/{i}": each for i, each in enumerate(fitted)}
    for name in ("estimator_", "estimator"):
        if hasattr(getattr(estimator, name, None), "partial_fit"):
            return {name: getattr(estimator, name)}
    return {}


def leaf_estimators(estimator: Any) -> Iterator[Any]:
    """Yield the innermost estimators, which are trained; the estimator itself if it contains no other."""
    parts = inner_estimators(estimator)
    if not parts:
        yield estimator
    for part in parts.values():
        yield from leaf_estimators(part)


def accepts(estimator: Any, option: str) -> bool:
    """Return whether ``partial_fit`` accepts the option, itself or for the estimators inside."""
    estimator = final_estimator(estimator)
    parameters = signature(estimator.partial_fit).parameters
    if option in parameters:
        return True
    passes_on = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    return passes_on and any(accepts(part, option) for part in inner_estimators(estimator).values())


def unsupported_option(estimator: Any, option: str) -> SettingsError:
    """Return the error for an option that ``partial_fit`` does not accept."""
    return SettingsError(
        f"{option}: {type(final_estimator(estimator)).__name__}.partial_fit does not have this argument"
    )


def fit_batch(estimator: Any, X: Any, y: Any, sample_weight: Any, options: Mapping[str, Any]) -> None:
    """Call ``partial_fit`` of the final estimator on transformed rows; y and the weights may be None."""
    weighted = {} if sample_weight is None else {"sample_weight": sample_weight}
    final_estimator(estimator).partial_fit(X, *([] if y is None else [y]), **options, **weighted)


def ravel_targets(estimator: Any, y: Any) -> Any:
    """Return targets of shape (rows, 1) as (rows,), unless the estimator trains one estimator per column."""
    return np.ravel(y) if getattr(y, "shape", ())[1:] == (1,) and not trains_by_column(estimator) else y


def trains_by_column(estimator: Any) -> bool:
    """Return whether the estimator trains one estimator per column of the targets."""
    return isinstance(final_estimator(estimator), (MultiOutputClassifier, MultiOutputRegressor))


def weights(estimator: Any, prefix: str = "") -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield name and array of the fitted public attributes ("..._") that hold floats, of inner estimators too."""
    for name, value in vars(estimator).items():
        if not name.endswith("_") or name.startswith("_") or name in NO_WEIGHTS:
            continue
        listed = isinstance(value, list) and bool(value)
        for i, array in enumerate(value if listed else [value]):
            if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                yield f"{prefix}{name}/{i}" if listed else f"{prefix}{name}", array
    for name, part in inner_estimators(estimator).items():
        yield from weights(part, f"{prefix}{name}/")
