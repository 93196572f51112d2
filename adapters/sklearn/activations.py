"""What the layers of multi-layer perceptrons put out."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.neural_network._base import ACTIVATIONS
from sklearn.utils import check_array, gen_batches
from sklearn.utils.extmath import safe_sparse_dot

from .estimators import inner
from .pipeline import prepared
from .rows import Rows

__all__ = ["activations", "has_layers"]


def has_layers(estimator: Any) -> bool:
    """Whether it is a multi-layer perceptron, or has some inside."""
    return hasattr(estimator, "hidden_layer_sizes") or any(map(has_layers, inner(estimator).values()))


def activations(estimator: Any, X: Any, batch_size: int) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Name and array of what each layer puts out for these rows, at most so many at a time; nothing before a fit.

    Layers of estimators inside have names such as "estimators_/0/hidden_1".
    """
    rows = Rows("validation_data", X)
    for part in gen_batches(len(rows), batch_size):
        yield from _layers(estimator, prepared(estimator, rows.take(np.arange(part.start, part.stop))[0]), "")


def _layers(estimator: Any, X: Any, prefix: str) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    if hasattr(estimator, "coefs_") and hasattr(estimator, "hidden_layer_sizes"):
        last = len(estimator.coefs_)
        values = check_array(X, accept_sparse=True, dtype=estimator.coefs_[0].dtype)
        for number, (weights, offsets) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True), start=1):
            values = safe_sparse_dot(values, weights) + offsets
            ACTIVATIONS[estimator.activation if number < last else estimator.out_activation_](values)
            yield f"{prefix}hidden_{number}" if number < last else f"{prefix}output", values
    for name, part in inner(estimator).items():
        yield from _layers(part, X, f"{prefix}{name}/")
