"""Combine the values of a metric: sums for means, and other reductions."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, Literal, get_args

from ..errors import SettingsError
from .scalars import as_number, as_numbers, check_numeric, in_double, is_missing

Reduce = Literal["mean", "sum", "max", "min"] | None
"""How a metric's values are reduced over batches and ranks; None takes the mean over the batches of rank 0."""

REDUCTIONS: tuple[Any, ...] = (*get_args(get_args(Reduce)[0]), None)


def number_of_samples(name: str, count: Any) -> float:
    """Return a copy of a count, since summing would change a tensor or an array in place."""
    if type(count) is float:
        return count
    try:
        return as_number(count)
    except TypeError as error:
        raise SettingsError(f"count of {name!r}: {error}; give the number of samples, above 0") from None


def summable(name: str, value: Any) -> Any:
    """Return a float if that needs no waiting, else the detached value in the widest float type of its device.

    Args:
        name: The name of the metric, for messages.
        value: A number, or an array or tensor of numbers.

    Returns:
        The value; None for one that is missing.

    Raises:
        SettingsError: The value is not a number.

    >>> summable("loss", 2), summable("loss", None)
    (2.0, None)
    """
    if is_missing(value):
        return None
    tensor = hasattr(value, "is_cpu")
    if tensor and value.is_cpu and value.numel() == 1:
        value, tensor = value.item(), False
        if type(value) is float:
            return value
    try:
        if tensor:
            check_numeric(value)
            return in_double(value.detach())
        if type(value).__module__.startswith("jax"):
            check_numeric(value)
            return value  # computed asynchronously, and without double precision by default
        if hasattr(value, "astype") and math.prod(value.shape) != 1:
            return as_numbers(value)
        return as_number(value)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{name}: {error}; log a number, or float(...) of a bool") from None


def mean_of(total: Any, count: float) -> Any:
    """Divide a sum; CUDA would multiply by the inverse of a Python number, which changes the last bit of the result."""
    return total / (total.new_full((), count) if hasattr(total, "is_cpu") else count)


def like(total: Any, value: Any) -> Any:
    """Move a sum to the device of the next value, since a checkpoint stores sums of tensors as arrays and numbers."""
    return value.new_tensor(total) if hasattr(value, "is_cpu") and not hasattr(total, "is_cpu") else total


def _larger(one: Any, other: Any) -> Any:
    """Return the element-wise maximum; a NaN stays a NaN."""
    if type(one) is float and type(other) is float:
        return one if one >= other or one != one else other  # NaN differs from itself
    if hasattr(one, "is_cpu") or hasattr(other, "is_cpu"):
        torch = sys.modules["torch"]
        return torch.maximum(torch.as_tensor(one), torch.as_tensor(other))
    import numpy as np  # noqa: PLC0415 - the core is imported without it

    return np.maximum(one, other)


COMBINED: dict[str | None, Callable[[Any, Any], Any]] = {
    "sum": lambda one, other: one + other,
    "max": _larger,
    "min": lambda one, other: -_larger(-one, -other),
}
"""Reduction to the function of two values, for reductions that are no mean."""
