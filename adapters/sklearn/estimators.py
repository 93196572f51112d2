"""What a scikit-learn estimator consists of: the estimators inside it, and its fitted arrays."""

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

__all__ = ["by_column", "flat", "inner", "kind", "learn", "learner", "leaves", "takes", "untaken", "weights"]

NO_WEIGHTS = ("classes_", "h_samples_")
"""Fitted arrays that hold data: labels, and the samples from which BernoulliRBM goes on drawing."""


def learner(estimator: Any) -> Any:
    """What learns batch by batch: the last step of a pipeline, else the estimator itself."""
    return learner(estimator.steps[-1][1]) if isinstance(estimator, Pipeline) else estimator


def kind(estimator: Any) -> str:
    """The name of its class, and those of its steps, which have to be the same where one takes over another.

    >>> from sklearn.linear_model import SGDClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> kind(make_pipeline("passthrough", SGDClassifier()))
    'Pipeline(passthrough, SGDClassifier)'
    """
    if isinstance(estimator, Pipeline):
        return f"{type(estimator).__name__}({', '.join(kind(step) for _, step in estimator.steps)})"
    return estimator if isinstance(estimator, str) else type(estimator).__name__


def inner(estimator: Any) -> dict[str, Any]:
    """Name to each estimator that a meta-estimator trains: the fitted ones, before its first fit their pattern.

    Of a pipeline that is the last one.

    >>> from sklearn.linear_model import SGDClassifier
    >>> from sklearn.multiclass import OneVsRestClassifier
    >>> inner(OneVsRestClassifier(SGDClassifier()))
    {'estimator': SGDClassifier()}
    """
    if isinstance(estimator, Pipeline):
        return dict(estimator.steps[-1:]) if hasattr(learner(estimator), "partial_fit") else {}
    fitted = getattr(estimator, "estimators_", None)
    if isinstance(fitted, list):
        return {f"estimators_/{i}": each for i, each in enumerate(fitted)}
    for name in ("estimator_", "estimator"):
        if hasattr(getattr(estimator, name, None), "partial_fit"):
            return {name: getattr(estimator, name)}
    return {}


def leaves(estimator: Any) -> Iterator[Any]:
    """The estimators at the ends of the nesting, which do the learning; the estimator itself where nothing nests."""
    parts = inner(estimator)
    if not parts:
        yield estimator
    for part in parts.values():
        yield from leaves(part)


def takes(estimator: Any, option: str) -> bool:
    """Whether `partial_fit` takes the option, itself or for the estimators inside."""
    estimator = learner(estimator)
    parameters = signature(estimator.partial_fit).parameters
    if option in parameters:
        return True
    passes_on = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    return passes_on and any(takes(part, option) for part in inner(estimator).values())


def untaken(estimator: Any, option: str) -> SettingsError:
    """What is raised where `partial_fit` does not take the option."""
    return SettingsError(f"{option}: {type(learner(estimator)).__name__}.partial_fit takes none")


def learn(estimator: Any, X: Any, y: Any, sample_weight: Any, options: Mapping[str, Any]) -> None:
    """One `partial_fit` of what learns, on rows as it sees them; y and the weights may be None."""
    weighted = {} if sample_weight is None else {"sample_weight": sample_weight}
    learner(estimator).partial_fit(X, *([] if y is None else [y]), **options, **weighted)


def flat(estimator: Any, y: Any) -> Any:
    """Targets of shape (rows, 1) as (rows,), unless the estimator trains one of its own for each column."""
    return np.ravel(y) if getattr(y, "shape", ())[1:] == (1,) and not by_column(estimator) else y


def by_column(estimator: Any) -> bool:
    """Whether the estimator trains one of its own for each column of the targets."""
    return isinstance(learner(estimator), (MultiOutputClassifier, MultiOutputRegressor))


def weights(estimator: Any, prefix: str = "") -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Name and array of all that was fitted: public attributes ending in "_" that hold floats, inner ones included."""
    for name, value in vars(estimator).items():
        if not name.endswith("_") or name.startswith("_") or name in NO_WEIGHTS:
            continue
        listed = isinstance(value, list) and bool(value)
        for i, array in enumerate(value if listed else [value]):
            if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                yield f"{prefix}{name}/{i}" if listed else f"{prefix}{name}", array
    for name, part in inner(estimator).items():
        yield from weights(part, f"{prefix}{name}/")
