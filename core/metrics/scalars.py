"""Metric values as numbers; they stay on their device until they are read, then all are fetched together."""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, cast

from ..terminal.text import shown

_NUMERIC = ("int", "uint", "float", "bfloat")
_NOT_NUMBERS = (bool, str, bytes, bytearray, memoryview)  # although float() accepts some of them


def is_missing(value: Any) -> bool:
    """Return whether a metric has no value: it is None or a masked NumPy value.

    >>> is_missing(None), is_missing(0.0)
    (True, False)
    """
    return value is None or (hasattr(value, "filled") and value.size > 0 and bool(value.mask.all()))


def is_numeric(dtype: Any) -> bool:
    """Return whether this is a type of real numbers; text, times, truth values and complex numbers are not.

    >>> import numpy as np
    >>> is_numeric(np.dtype("float16")), is_numeric(np.dtype("datetime64[s]"))
    (True, False)
    """
    kind = getattr(dtype, "kind", "V")
    if kind != "V":  # bfloat16 and similar types are not part of NumPy
        return kind in ("i", "u", "f")
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    return str(name).rpartition(".")[2].lower().startswith(_NUMERIC)


def as_number(value: Any) -> float:
    """Return a metric's value as a Python float, exact for every float type; may wait for its device.

    Raises:
        TypeError: The value is not a single number (text, a time, a truth value, a vector, None, a masked value).

    >>> as_number(3), math.isnan(as_number(float("nan")))
    (3.0, True)
    """
    if isinstance(value, (type, *_NOT_NUMBERS)) or is_missing(value):
        given = shown(cast("object", value))
        raise TypeError(f"{given} is not a number")
    if getattr(value, "requires_grad", False):
        value = value.detach()
    size = math.prod(getattr(value, "shape", ()))
    if size != 1:
        raise TypeError(f"an array of {size} values is not a single number; log its mean, or each value separately")
    check_numeric(value)
    single = value.item() if hasattr(value, "item") else value
    if isinstance(single, _NOT_NUMBERS):  # an element of an array of objects
        given = shown(cast("object", single))
        raise TypeError(f"{given} is not a number")
    try:
        return float(single)
    except OverflowError:
        largest = f"{sys.float_info.max:.3g}"
        raise TypeError(f"{shown(single)} is too large; the largest number of a metric is {largest}") from None
    except (ValueError, TypeError):
        raise TypeError(f"a value of type {type(single).__name__} is not a number") from None


def check_numeric(values: Any) -> None:
    """Raise an error if an array or tensor cannot hold numbers; an array of Python objects can.

    Raises:
        TypeError: It holds text, times, truth values or complex numbers.
    """
    dtype = getattr(values, "dtype", None)
    if dtype is not None and getattr(dtype, "kind", "") != "O" and not is_numeric(dtype):
        raise TypeError(f"values of type {dtype} are not numbers")


def as_numbers(values: Any) -> Any:
    """Return an array of numbers in double precision, with NaN where a value is missing.

    Raises:
        TypeError: A value is not a number.
    """
    check_numeric(values)
    if getattr(values.dtype, "kind", "") == "O":
        for each in values.ravel().tolist() if hasattr(values, "ravel") else values:
            as_number(each)
    double = values.astype("float64")
    return double.filled(math.nan) if hasattr(double, "filled") else double


def plain_number(value: Any) -> Any:
    """Return a single number as a float, and anything else unchanged."""
    if type(value) is float:
        return value
    try:
        return as_number(value)
    except TypeError:
        return value


def in_double(tensor: Any) -> Any:
    """Return a tensor in the widest float type of its device."""
    try:
        return tensor.double()
    except (TypeError, RuntimeError):  # some devices (such as Apple's) have no double precision
        return tensor.float()


class LazyMetrics(Mapping[str, Any]):
    """A mapping from name to value; a value on a device stays there until it is read."""

    @abstractmethod
    def on_device(self) -> dict[str, Any]:
        """Return the current values without waiting, each on its device."""

    def __repr__(self) -> str:
        return repr(dict(self))


class DeviceScalars(LazyMetrics):
    """Copies of single numbers, each on its device.

    >>> DeviceScalars({"learning_rate": 0.5})
    {'learning_rate': 0.5}
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        # tensors may be changed in place later
        self._values = {n: value.detach().clone() if hasattr(value, "detach") else value for n, value in values.items()}
        self._read: dict[str, float] | None = None

    def on_device(self) -> dict[str, Any]:
        """Return the numbers without waiting, each on its device."""
        return dict(self._values if self._read is None else self._read)

    def __getitem__(self, name: str) -> float:
        if self._read is None:
            self._read = fetch_together(self)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def to_scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics that are single numbers, as Python floats.

    >>> to_scalars({"loss": 1, "per_class": [0.1, 0.2], "note": "good"})
    {'loss': 1.0}
    """
    read = fetch_together(metrics)
    if set(map(type, read.values())) <= {float}:
        return read
    found: dict[str, float] = {}
    for name, value in read.items():
        try:
            found[name] = as_number(value)
        except (TypeError, ValueError):
            continue
    return found


def deferred_scalars(metrics: Mapping[str, Any]) -> Callable[[], dict[str, float]]:
    """Return a function that computes ``to_scalars`` of the current metrics later, in any thread.

    This call fetches only the numbers on a device; the returned function computes everything else.

    >>> metrics = {"loss": 1}
    >>> deferred = deferred_scalars(metrics)
    >>> metrics["loss"] = 3
    >>> deferred()
    {'loss': 1.0}
    """
    return partial(to_scalars, on_host(metrics.on_device() if isinstance(metrics, LazyMetrics) else metrics))


def fetch_together(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings, where later ones take precedence, and fetch the numbers of each device together.

    Arrays of numbers are fetched one by one, since stacking a long history on the device could fill its memory.
    Values of plain mappings are returned unchanged.

    >>> fetch_together(DeviceScalars({"learning_rate": 0.5, "loss": 9.0}), {"loss": 1})
    {'learning_rate': 0.5, 'loss': 1}
    """
    values: dict[str, Any] = {}
    given: set[str] = set()  # names whose values are returned unchanged
    for part in parts:
        if isinstance(part, LazyMetrics):
            values |= part.on_device()
            given -= part.keys()
        else:
            values |= part
            given |= part.keys()
    return {name: value if name in given else _fetched(value) for name, value in on_host(values).items()}


def _fetched(value: Any) -> Any:
    value = plain_number(value)
    return value if getattr(value, "is_cpu", True) else value.cpu()


def on_host(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the single numbers of each device fetched together, which waits once per device."""
    read = dict(values)
    if set(map(type, read.values())) <= {float}:
        return read
    waiting: dict[Any, list[str]] = {}
    for name, value in read.items():
        if getattr(value, "is_cpu", True):
            continue
        if value.numel() == 1 and is_numeric(value.dtype):
            waiting.setdefault(value.device, []).append(name)
    for names in waiting.values():
        if len(names) > 1:
            stacked = sys.modules["torch"].stack([in_double(read[name].detach().reshape(())) for name in names])
            read.update(zip(names, map(float, stacked.tolist()), strict=True))
    return read
