"""Running means of what is logged, which do not wait for the device."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any, Literal, get_args

from ..errors import SettingsError
from .names import check_name
from .scalars import NO_NUMBERS, LazyMetrics, in_double, on_host, plain_number

__all__ = ["Reduce", "RunningMeans"]

Reduce = Literal["mean", "sum", "max", "min"] | None
"""What becomes of a metric's values, over batches and over ranks; None is their mean over the batches of rank 0."""

REDUCTIONS: tuple[Any, ...] = (*get_args(get_args(Reduce)[0]), None)


class RunningMeans(LazyMetrics):
    """The means of what was logged since the last `clear`, weighted by count, as a live read-only mapping.

    Adding never waits for a device: a tensor elsewhere than on the CPU is summed where it lies, and only reading the
    mean waits. Sums are kept in double precision where the device has it. Arrays are averaged element by element.
    Metrics that say so are summed, or their largest or least value is taken, instead.

    >>> means = RunningMeans()
    >>> means.add("loss", 1.0, 3)
    >>> means.add("loss", 2.0, 1)
    >>> means.add("tokens", 512.0, reduce="sum")
    >>> means.add("tokens", 500.0, reduce="sum")
    >>> dict(means)
    {'loss': 1.25, 'tokens': 1012.0}
    """

    def __init__(self) -> None:
        self._sums: dict[str, list[Any]] = {}  # name -> [sum, count]
        self._plain = True  # whether all sums are Python floats
        self.coarse: set[str] = set()
        """Metrics whose values came as bfloat16, which tells them apart by their first two or three digits."""
        self.reduced: dict[str, Reduce] = {}
        """Name of each metric that is no mean over all ranks to what it is."""

    def add(self, name: str, value: Any, count: float = 1, reduce: Reduce = "mean") -> None:
        """Take in the mean `value` of `count` samples, or a value to sum or to choose from; None is passed over.

        Raises:
            SettingsError: the value is text, a truth value or complex, the count is not above 0, or `reduce` is not
                what it was; or the name holds what cannot be printed.
        """
        entry = self._sums.get(name)
        if entry is None:
            check_name(name)
            if str(getattr(value, "dtype", "")).endswith("bfloat16"):
                self.coarse.add(name)
        if type(value) is not float:
            value = _summable(name, value)
            if value is None:
                return
            self._plain &= type(value) is float
        if type(count) is not int:
            count = float(count)  # a tensor or array would be changed by the summing below
        if not count > 0:
            raise SettingsError(f"count={count!r} of {name!r}: give the number of samples, above 0")
        if reduce != "mean" or name in self.reduced:
            self._check(name, reduce)
            if reduce is not None:
                self._sums[name] = [value if entry is None else _COMBINED[reduce](entry[0], value), 1]
                return
        if entry is None:
            self._sums[name] = [value * count, count]
        else:
            entry[0] = entry[0] + value * count
            entry[1] += count

    def _check(self, name: str, reduce: Reduce) -> None:
        if reduce not in REDUCTIONS:
            raise SettingsError(f"reduce={reduce!r} of {name!r}: give one of {', '.join(map(repr, REDUCTIONS))}")
        before = self.reduced.get(name, "mean" if name in self._sums else reduce)
        if before != reduce:
            raise SettingsError(f"{name!r} was logged with reduce={before!r} before, now with reduce={reduce!r}")
        self.reduced[name] = reduce

    def clear(self) -> None:
        """Forget all values."""
        self._sums.clear()
        self._plain = True

    def sums(self) -> dict[str, Any]:
        """Name to sum and count, and to how it is reduced: all there is to know; reading it may wait for the device."""
        reduced = {name: (how,) for name, how in self.reduced.items()}
        return {name: (total, count, *reduced.get(name, ())) for name, (total, count) in self._sums.items()}

    def read(self, prefix: str = "") -> dict[str, Any]:
        """All means whose names begin with `prefix` at once, which waits for each device once."""
        means = self.unread(prefix)
        if self._plain:
            return means
        return {name: plain_number(mean) for name, mean in on_host(means).items()}

    def unread(self, prefix: str = "") -> dict[str, Any]:
        """The same, where they lie."""
        return {name: total / count for name, (total, count) in self._sums.items() if name.startswith(prefix)}

    def then(self) -> Callable[[], dict[str, float]]:
        """The means as they are now, at any later time and in any thread.

        >>> means = RunningMeans()
        >>> means.add("loss", 1.0)
        >>> then = means.then()
        >>> means.add("loss", 3.0)
        >>> then(), dict(means)
        ({'loss': 1.0}, {'loss': 2.0})
        """
        if not self._plain:
            return super().then()
        # all in one tuple: many small ones would keep the garbage collector busy
        return partial(_divided, tuple(self._sums), tuple(chain.from_iterable(self._sums.values())))

    def bring_back(self, sums: Mapping[str, Any]) -> None:
        """Go on from what `sums` returned."""
        self._sums = {name: [total, count] for name, (total, count, *_) in sums.items()}
        self._look()
        self.reduced |= {name: reduced[0] for name, (_, _, *reduced) in sums.items() if reduced}

    def join(self, sums: Mapping[str, Any]) -> None:
        """Take in what another's `sums` returned."""
        for name, (total, count, *reduced) in sums.items():
            before, how = self._sums.get(name), reduced[0] if reduced else "mean"
            if before is None:
                self.bring_back({**self.sums(), name: (total, count, *reduced)})
            elif how == "mean":
                self._sums[name] = [before[0] + total, before[1] + count]
            elif how is not None:
                self._sums[name] = [_COMBINED[how](before[0], total), 1]
        self._look()

    def _look(self) -> None:
        self._plain = all(type(total) is float for total, _ in self._sums.values())

    def __getitem__(self, name: str) -> Any:
        total, count = self._sums[name]
        return plain_number(total / count)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sums)

    def __len__(self) -> int:
        return len(self._sums)

    def __contains__(self, name: object) -> bool:  # Mapping's own would compute the mean
        return name in self._sums


def _divided(names: tuple[str, ...], sums: tuple[float, ...]) -> dict[str, float]:
    """Name to mean, where sums and counts stand in turns."""
    return {name: total / count for name, total, count in zip(names, sums[::2], sums[1::2], strict=True)}


def _summable(name: str, value: Any) -> Any:
    """A float where that costs no wait, else the detached value in the widest float type of its device."""
    if value is None:
        return None
    if hasattr(value, "is_cpu") and value.is_cpu and value.numel() == 1:
        value = value.item()
    if isinstance(value, (bool, str, bytes, complex)):
        raise SettingsError(f"{name}={value!r} is no number; log numbers, a truth value as float(...)")
    if isinstance(value, (int, float)):
        return float(value)
    if str(getattr(value, "dtype", "")).removeprefix("torch.") in NO_NUMBERS:
        raise SettingsError(f"{name} holds values of {value.dtype}, no numbers; log numbers, truth values as floats")
    if hasattr(value, "is_cpu"):
        return in_double(value.detach())
    if type(value).__module__.startswith("jax"):
        return value  # computes on by itself while Python goes on, and has no double precision by default
    try:
        if hasattr(value, "astype"):
            value = value.astype("float64")
            return value.item() if value.size == 1 else value
        return float(value)
    except (TypeError, ValueError):
        raise SettingsError(f"{name} is a {type(value).__name__}, no number; log numbers") from None


def _larger(one: Any, other: Any) -> Any:
    """The larger one, element by element; what is not a number stays so."""
    if type(one) is float and type(other) is float:
        return one if one >= other or one != one else other  # NaN is not itself
    if hasattr(one, "is_cpu") or hasattr(other, "is_cpu"):
        torch = sys.modules["torch"]
        return torch.maximum(torch.as_tensor(one), torch.as_tensor(other))
    import numpy as np  # noqa: PLC0415 - the core is imported without it

    return np.maximum(one, other)


_COMBINED: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda one, other: one + other,
    "max": _larger,
    "min": lambda one, other: -_larger(-one, -other),
}
