"""The outputs of the layers of multi-layer perceptrons."""

# scikit-learn ships no types
# pyright: basic

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.neural_network._base import ACTIVATIONS
from sklearn.utils import check_array, gen_batches
from sklearn.utils.extmath import safe_sparse_dot

from .estimators import inner_estimators
from .pipeline import transformed
from .rows import Rows


def has_layers(estimator: Any) -> bool:
    """Return whether the estimator is a multi-layer perceptron or contains one."""
    return hasattr(estimator, "hidden_layer_sizes") or any(map(has_layers, inner_estimators(estimator).values()))


def activations(estimator: Any, X: Any, batch_size: int) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield name and array of each layer's output for these rows, ``batch_size`` rows at a time; nothing before a fit.

    Layers of inner estimators have names such as "estimators_/0/hidden_1".
    """
    rows = Rows("validation_data", X)
    for part in gen_batches(len(rows), batch_size):
        yield from _layers(estimator, transformed(estimator, rows.take(np.arange(part.start, part.stop))[0]), "")


def _layers(estimator: Any, X: Any, prefix: str) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    if hasattr(estimator, "coefs_") and hasattr(estimator, "hidden_layer_sizes"):
        last = len(estimator.coefs_)
        values = check_array(X, accept_sparse=True, dtype=estimator.coefs_[0].dtype)
        for number, (weights, offsets) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True), start=1):
            values = safe_sparse_dot(values, weights) + offsets
            ACTIVATIONS[estimator.activation if number < last else estimator.out_activation_](values)
            yield f"{prefix}hidden_{number}" if number < last else f"{prefix}output", values
    for name, part in inner_estimators(estimator).items():
        yield from _layers(part, X, f"{prefix}{name}/")
