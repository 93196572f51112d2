"""Metric values as numbers, which are left on a device until somebody asks, and fetched together then."""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

__all__ = [
    "NO_NUMBERS",
    "DeviceScalars",
    "LazyMetrics",
    "as_number",
    "deferred_scalars",
    "fetch_together",
    "in_double",
    "on_host",
    "plain_number",
    "to_scalars",
]

NO_NUMBERS = frozenset({"bool", "complex64", "complex128"})
"""Types of arrays and tensors that have no mean that could be a metric."""


def as_number(value: Any) -> float:
    """A metric's value as a Python float, exact for every float type; may wait for the device.

    Raises:
        TypeError: the value is no single number (text, a truth value, a vector, None).

    >>> as_number(3), math.isnan(as_number(float("nan")))
    (3.0, True)
    """
    if isinstance(value, (bool, str, bytes)) or value is None:
        raise TypeError(f"{value!r} is no number")
    if getattr(value, "requires_grad", False):
        value = value.detach()
    size = math.prod(getattr(value, "shape", ()))
    if size != 1:
        raise TypeError(f"an array of {size} values is no single number; log its mean, or each value by itself")
    return float(value.item() if hasattr(value, "item") else value)


def plain_number(value: Any) -> Any:
    """A single number as a float, whatever else as it is."""
    if type(value) is float:
        return value
    try:
        return as_number(value)
    except TypeError:
        return value


def in_double(tensor: Any) -> Any:
    """A tensor in the widest float type of its device."""
    try:
        return tensor.double()
    except (TypeError, RuntimeError):  # some devices (Apple's) have no double precision
        return tensor.float()


class LazyMetrics(Mapping[str, Any]):
    """Values by name, of which those on a device are left there until somebody asks."""

    @abstractmethod
    def unread(self) -> dict[str, Any]:
        """The values where they lie, as they are now."""

    def then(self) -> Callable[[], dict[str, float]]:
        """What gives the single numbers as they are now, at any later time and in any thread."""
        return partial(to_scalars, fetch_together(self))

    def __repr__(self) -> str:
        return repr(dict(self))


class DeviceScalars(LazyMetrics):
    """Single numbers as they are now.

    >>> DeviceScalars({"learning_rate": 0.5})
    {'learning_rate': 0.5}
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        # what lies on a device may be changed in place
        self._values = {n: value.detach().clone() if hasattr(value, "detach") else value for n, value in values.items()}
        self._read: dict[str, float] | None = None

    def unread(self) -> dict[str, Any]:
        """The numbers where they lie."""
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
    """Those metrics that are single numbers, as Python floats.

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
    """What gives `to_scalars` as they are now, at any later time and in any thread.

    Nothing is computed before that which can be computed then; only numbers on a device are fetched, all at once.
    """
    return metrics.then() if isinstance(metrics, LazyMetrics) else partial(to_scalars, on_host(metrics))


def fetch_together(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping of all, in which the later ones win; the numbers that lie on one device are fetched together.

    >>> fetch_together(DeviceScalars({"learning_rate": 0.5, "loss": 9.0}), {"loss": 1})
    {'learning_rate': 0.5, 'loss': 1}
    """
    values: dict[str, Any] = {}
    given: set[str] = set()  # these stay what they are
    for part in parts:
        if isinstance(part, LazyMetrics):
            values |= part.unread()
            given -= part.keys()
        else:
            values |= part
            given |= part.keys()
    return {name: value if name in given else plain_number(value) for name, value in on_host(values).items()}


def on_host(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, where the single numbers that lie on one device are fetched together: one wait, not many."""
    read = dict(values)
    if set(map(type, read.values())) <= {float}:
        return read
    waiting: dict[Any, list[str]] = {}
    for name, value in read.items():
        if getattr(value, "is_cpu", True):
            continue
        if value.numel() == 1 and str(value.dtype).removeprefix("torch.") not in NO_NUMBERS:
            waiting.setdefault(value.device, []).append(name)
    for names in waiting.values():
        if len(names) > 1:
            stacked = sys.modules["torch"].stack([in_double(read[name].detach().reshape(())) for name in names])
            read.update(zip(names, map(float, stacked.tolist()), strict=True))
    return read
