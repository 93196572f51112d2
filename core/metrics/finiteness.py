"""Which metrics are NaN or infinite: known at once on the host, and without waiting on a device."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping
from math import isfinite
from typing import Any, NamedTuple

from .running_means import RunningMeans
from .scalars import LazyMetrics, as_number


class Finiteness(NamedTuple):
    """What is known of the metrics of one moment."""

    bad: list[str]
    """The metrics that are NaN or infinite."""
    pending: list[DeviceFlags]
    """The metrics on each device, of which that is not known yet."""


ALL_FINITE = Finiteness([], [])


class DeviceFlags:
    """Whether metrics on one device are finite; computed there, and copied to the host while the device works on.

    Args:
        values: Name to a single number on the device.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._names = list(values)
        self._copied: Any = None
        flags: list[Any] = [abs(value) < math.inf for value in values.values()]
        if _is_jax(flags[0]):
            for flag in flags:
                flag.copy_to_host_async()
            self._flags: Any = flags
            return
        torch = sys.modules["torch"]
        self._flags = torch.stack([flag.reshape(()) for flag in flags])
        if self._flags.is_cuda:  # reading it later would wait for all later work of the device as well
            host = torch.empty(self._flags.shape, dtype=torch.bool, pin_memory=True)
            host.copy_(self._flags, non_blocking=True)
            self._copied = torch.cuda.current_stream(self._flags.device).record_event()
            self._flags = host

    def read(self) -> list[str]:
        """Return the metrics that are NaN or infinite; may wait until the device has computed them."""
        if self._copied is not None:
            self._copied.synchronize()
        flags: Any = self._flags.tolist() if hasattr(self._flags, "tolist") else map(bool, self._flags)
        return [name for name, finite in zip(self._names, flags, strict=True) if not finite]


def finiteness(metrics: Mapping[str, Any], names: Collection[str] | None = None) -> Finiteness:
    """Return which metrics are NaN or infinite; arrays of several values and what is no number are left out.

    Args:
        metrics: Metrics by name; those on a device stay there.
        names: The metrics to look at; None for all.

    >>> means = RunningMeans()
    >>> means.add("loss", 1.0)
    >>> finiteness(means)
    Finiteness(bad=[], pending=[])
    >>> means.add("loss", float("nan"))
    >>> finiteness(means).bad, finiteness({"loss": 1, "lr": float("inf")}).bad
    (['loss'], ['lr'])
    """
    if type(metrics) is RunningMeans:  # isinstance of an abstract class costs more than the rest
        metrics = metrics.totals()
    elif isinstance(metrics, LazyMetrics):
        metrics = metrics.on_device()
    bad: list[str] = []
    waiting: dict[str, dict[str, Any]] = {}
    for name, value in metrics.items():
        if names is not None and name not in names:
            continue
        if type(value) is float:
            if not isfinite(value):
                bad.append(name)
        elif _is_on_device(value):
            if value.size == 1 if _is_jax(value) else value.numel() == 1:
                waiting.setdefault(str(value.device), {})[name] = value
        elif not isfinite(_number(value)):
            bad.append(name)
    if not bad and not waiting:
        return ALL_FINITE
    return Finiteness(bad, [DeviceFlags(values) for values in waiting.values()])


def _is_on_device(value: Any) -> bool:
    """Return whether reading the value may wait."""
    return not getattr(value, "is_cpu", True) or _is_jax(value)


def _is_jax(value: Any) -> bool:
    return type(value).__module__.startswith("jax")


def _number(value: Any) -> float:
    """Return a single number on the host; 0 for anything else."""
    try:
        return as_number(value)
    except TypeError:
        return 0.0
