"""Running means of logged metrics, computed without waiting for a device."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..errors import SettingsError
from ..limits import EPOCHS
from ..terminal.text import shown
from .names import check_name, is_validated
from .reductions import COMBINED, REDUCTIONS, Reduce, like, mean_of, number_of_samples, summable
from .scalars import (
    LazyMetrics,
    is_numeric,
    on_host,
    plain_number,
)

_EARLIER: Final = "\0"
"""In the names of earlier sums, the delimiter around the restart number; no metric name contains it."""
_LAST: Final = "\1"
"""Before the name of a metric, the mark of its last value; no metric name contains it."""
_RESTARTS: Final = "\2"
"""Before a number, the mark of the restarts so far; no metric name contains it."""


class RunningMeans(LazyMetrics):
    """The means of the values logged since the last ``clear``, weighted by count, as a live read-only mapping.

    Adding a value never waits for a device: a tensor on a GPU is summed on that GPU, and only reading the mean waits.
    Sums are kept in double precision if the device supports it. Arrays are averaged element by element. A metric may be
    reduced by its sum, its maximum or its minimum instead of its mean.

    >>> means = RunningMeans()
    >>> means.add("loss", 1.0, 3)
    >>> means.add("loss", 2.0, 1)
    >>> means.add("tokens", 512.0, reduce="sum")
    >>> means.add("tokens", 500.0, reduce="sum")
    >>> dict(means)
    {'loss': 1.25, 'tokens': 1012.0}
    """

    def __init__(self) -> None:
        self._sums: dict[str, list[Any]] = {}  # name -> [sum, count]; other reductions count values, not samples
        self._earlier: dict[str, tuple[int, list[Any]]] = {}  # name -> (number of the restart, [sum, count] before it)
        self._restarts = 0
        self._validating = False  # whether the values since the last restart are those of an incomplete validation
        self._names: set[str] = set()  # names that were checked already
        self._last: dict[str, list[Any]] | None = None  # name -> [last value times count, count]; None if not kept
        self.without_value: dict[str, None] = {}
        """The metrics that were logged only as None or as masked NumPy values."""
        self.low_precision: set[str] = set()
        """Metrics that were logged as bfloat16, which has two or three significant digits."""
        self.reduced: dict[str, Reduce] = {}
        """Name to reduction of each metric that is not reduced to the mean over all ranks."""

    def add(self, name: str, value: Any, count: float = 1, reduce: Reduce = "mean") -> None:
        """Add a value.

        Args:
            name: Name of the metric.
            value: A number, or an array or tensor of numbers; None and masked NumPy values are skipped.
            count: Number of samples over which ``value`` was averaged, above 0; other reductions ignore it.
            reduce: The reduction of the metric; every call for one metric must pass the same.

        Raises:
            SettingsError: The value is not a number (text, a time, a truth value), ``count`` is not a finite number
                above 0, ``reduce`` differs from the previous call, or the name is not printable.
        """
        entry = self._sums.get(name)
        if entry is None:
            if name not in self._names:
                check_name(name)
                self._names.add(name)
            if str(getattr(value, "dtype", "")).endswith("bfloat16"):
                self.low_precision.add(name)
        if type(value) is not float:
            value = summable(name, value)
            if value is None:
                if name not in self:
                    self.without_value[name] = None
                return
        if type(count) is not int:
            count = number_of_samples(name, count)
        if not 0 < count <= sys.float_info.max:
            raise SettingsError(
                f"count={shown(count)} of {name!r}: give the number of samples, a finite number above 0"
            )
        combine = None
        if reduce != "mean" or name in self.reduced:
            self._check_reduce(name, reduce)
            combine = COMBINED.get(reduce)
        if self._last is not None and not is_validated(name):
            # a resumed run continues with the same product, which may differ from the value in the last bit
            self._last[name] = [value * count, count] if combine is None else [value, 1]
        if entry is None:
            self.without_value.pop(name, None)
            self._sums[name] = [value * count, count] if combine is None else [value, 1]
            return
        if type(entry[0]) is not type(value):
            entry[0] = like(entry[0], value)
        if combine is None:
            entry[0] = entry[0] + value * count
            entry[1] += count
        else:
            entry[0] = combine(entry[0], value)
            entry[1] += 1

    def replace(self, name: str, value: Any, reduce: Reduce = "mean") -> None:
        """Add a value in place of all that were added before under its name.

        Args:
            name: Name of the metric.
            value: As in ``add``.
            reduce: How the values of several ranks are reduced.

        >>> means = RunningMeans()
        >>> means.add("loss", 1.0, reduce="sum")
        >>> means.replace("loss", 3.0)
        >>> dict(means)
        {'loss': 3.0}
        """
        self._sums.pop(name, None)
        self._earlier.pop(name, None)
        self.reduced.pop(name, None)
        self.add(name, value, reduce=reduce)

    def _check_reduce(self, name: str, reduce: Reduce) -> None:
        if reduce not in REDUCTIONS:
            raise SettingsError(f"reduce={reduce!r} of {name!r}: give one of {', '.join(map(repr, REDUCTIONS))}")
        before = self.reduced.get(name, "mean" if name in self else reduce)
        if before != reduce:
            raise SettingsError(f"{name!r} was logged with reduce={before!r} before, now with reduce={reduce!r}")
        self.reduced[name] = reduce

    def clear(self) -> None:
        """Remove all values."""
        self._sums.clear()
        self._earlier.clear()
        self._restarts = 0
        self.without_value.clear()
        if self._last is not None:
            self._last.clear()
        self._validating = False

    def keep_last(self) -> None:
        """Keep the last value of each metric from now on."""
        if self._last is None:
            self._last = {}

    def last_values(self) -> dict[str, Any]:
        """Return the last value of each metric that was logged since they are kept, of all ranks as the metric reduces.

        A validation measures one state of the model with all of its batches, so of its metrics the means are returned.

        >>> means = RunningMeans()
        >>> means.keep_last()
        >>> for loss in (3.0, 1.0):
        ...     means.add("loss", loss)
        >>> means.last_values(), dict(means)
        ({'loss': 1.0}, {'loss': 2.0})
        """
        latest = {name: self._reduced(name, entry) for name, entry in (self._last or {}).items()}
        validated = {name: self._reduced(name, self._entry(name)) for name in self if is_validated(name)}
        return {name: plain_number(value) for name, value in on_host({**latest, **validated}).items()}

    def stamp(self, name: str) -> tuple[int, float]:
        """Return the number of the validation that has logged a metric, and the samples or values since it began.

        Within an epoch they change exactly when the metric gets a value. Without a validation, the number is 0.
        """
        if not is_validated(name):
            return 0, self._entry(name)[1]
        return (self._restarts if name in self._sums else self._earlier[name][0] - 1), self._entry(name)[1]

    def restart_validation(self) -> None:
        """Restart the validation metrics: the next value of each replaces all its earlier values.

        The values of a validation that was not ended by ``end_validation`` are removed.

        >>> means = RunningMeans()
        >>> for loss in (3.0, 1.0):
        ...     means.restart_validation()
        ...     means.add("val_loss", loss)
        >>> dict(means)
        {'val_loss': 1.0}
        """
        if self._validating:
            self.discard_validation()
        self._validating = True
        self._restarts += 1
        for name in [*filter(is_validated, self._sums)]:
            self._earlier[name] = self._restarts, self._sums.pop(name)

    def end_validation(self) -> None:
        """Let the values since the last restart count from now on."""
        self._validating = False

    def discard_validation(self) -> None:
        """Remove the values since the last restart: the validation was broken off, and the one before it counts.

        >>> means = RunningMeans()
        >>> means.add("val_loss", 1.0)
        >>> means.restart_validation()
        >>> means.add("val_loss", 9.0)
        >>> means.discard_validation()
        >>> dict(means)
        {'val_loss': 1.0}
        """
        self._validating = False
        for name in [*filter(is_validated, self._sums)]:
            del self._sums[name]
            if name not in self._earlier:
                self.without_value[name] = None

    def sums(self) -> dict[str, Any]:
        """Return name to sum, count and, unless it is a mean, reduction; reading the sums may wait for a device.

        A metric that was logged without a value has the sum None and the count 0. The names of values from before a
        restart contain the number of that restart. An entry without a name has the number of all restarts.
        """
        reduced = {name: (how,) for name, how in self.reduced.items()}
        found = {name: (total, count, *reduced.get(name, ())) for name, (total, count) in self._sums.items()}
        earlier = {
            f"{_EARLIER}{number}{_EARLIER}{name}": (total, count, *reduced.get(name, ()))
            for name, (number, (total, count)) in self._earlier.items()
        }
        last = {_LAST + name: (*entry, *reduced.get(name, ())) for name, entry in (self._last or {}).items()}
        restarts = {f"{_RESTARTS}{self._restarts}": (0.0, 1)} if self._restarts else {}
        return {**found, **earlier, **last, **restarts, **dict.fromkeys(self.without_value, (None, 0))}

    def read(self) -> dict[str, Any]:
        """Return all means; waits for each device once."""
        return {name: plain_number(mean) for name, mean in on_host(self.on_device()).items()}

    def read_validation(self) -> dict[str, Any]:
        """Return the means of the validation metrics that were logged since the last restart."""
        latest = {name: self._reduced(name, each) for name, each in self._sums.items() if is_validated(name)}
        return {name: plain_number(mean) for name, mean in on_host(latest).items()}

    def on_device(self) -> dict[str, Any]:
        """Return the same means without waiting, each on its device."""
        return {name: self._reduced(name, self._entry(name)) for name in self}

    def totals(self) -> dict[str, Any]:
        """Return the sums without waiting, each on its device: one is finite exactly if its mean is."""
        return {name: entry[0] for name, entry in self._sums.items()}

    def load_sums(self, sums: Mapping[str, Any]) -> None:
        """Continue from the result of ``sums``.

        Raises:
            ValueError: It is damaged; nothing is changed.
        """
        check_sums(sums)
        self._sums, self._earlier, self.without_value, self._restarts = {}, {}, {}, 0
        last = {key.removeprefix(_LAST): each for key, each in sums.items() if key.startswith(_LAST)}
        if last or self._last is not None:
            self._last = {name: [total, count] for name, (total, count, *_) in last.items()}
        for key, (total, count, *reduced) in sums.items():
            if key.startswith(_LAST):
                continue
            if key.startswith(_RESTARTS):
                self._restarts = max(int(key.removeprefix(_RESTARTS)), self._restarts)
                continue
            *restart, name = key.rsplit(_EARLIER, 1)
            number = int(restart[0].strip(_EARLIER)) if restart else 0
            if reduced:
                self.reduced[name] = reduced[0]
            if not count:
                self.without_value[name] = None
            elif not restart:
                self._sums[name] = [total, count]
            elif number > self._earlier.get(name, (0,))[0]:  # the last restart with a value may differ between ranks
                self._earlier[name] = number, [total, count]
            self._restarts = max(number, self._restarts)
        self.without_value = {name: None for name in self.without_value if name not in self}

    def merge(self, sums: Mapping[str, Any]) -> None:
        """Add the result of another object's ``sums``."""
        merged = self.sums()
        for name, (total, count, *reduced) in sums.items():
            how = reduced[0] if reduced else "mean"
            if not count:
                merged.setdefault(name, (None, 0))
            elif name not in merged or not merged[name][1]:
                merged[name] = (total, count, *reduced)
            elif how == "mean":
                merged[name] = (merged[name][0] + total, merged[name][1] + count)
            elif how is not None:
                merged[name] = (COMBINED[how](merged[name][0], total), merged[name][1] + count, how)
        self.load_sums(merged)

    def _entry(self, name: str) -> list[Any]:
        return self._sums[name] if name in self._sums else self._earlier[name][1]

    def _reduced(self, name: str, entry: list[Any]) -> Any:
        """Return the value of an entry: its mean, unless the metric is reduced in another way."""
        return entry[0] if self.reduced.get(name) in COMBINED else mean_of(*entry)

    def __getitem__(self, name: str) -> Any:
        return plain_number(self._reduced(name, self._entry(name)))

    def __iter__(self) -> Iterator[str]:
        return iter({**self._sums, **self._earlier} if self._earlier else self._sums)

    def __len__(self) -> int:
        return len(self._sums.keys() | self._earlier.keys())

    def __contains__(self, name: object) -> bool:  # the method of Mapping would compute the mean
        return name in self._sums or name in self._earlier


def check_sums(sums: Mapping[str, Any]) -> None:
    """Refuse what is not a result of ``RunningMeans.sums``.

    Raises:
        ValueError: It is none; the message names the first wrong sum.

    >>> check_sums({"loss": ("nan", 1)})
    Traceback (most recent call last):
        ...
    ValueError: the sum of 'loss' is damaged
    """
    for key, entry in sums.items():
        *restart, name = str(key).removeprefix(_LAST).rsplit(_EARLIER, 1)
        try:
            if name.startswith(_RESTARTS):
                restart, name = [name.removeprefix(_RESTARTS)], "val"
            check_name(name)
            total, count, *reduced = entry
            whole = not restart or 0 < int(restart[0].strip(_EARLIER)) <= EPOCHS
            known = not reduced or (len(reduced) == 1 and reduced[0] in REDUCTIONS)
            valid = whole and known and type(count) in (int, float) and 0 <= count <= sys.float_info.max
            if not valid or (count and not _is_sum(total)):
                raise ValueError("a value is of the wrong kind")
        except (SettingsError, TypeError, ValueError, OverflowError):
            raise ValueError(f"the sum of {shown(name)} is damaged") from None


def _is_sum(total: Any) -> bool:
    if type(total) in (int, float):
        return isinstance(float(total), float)
    return hasattr(total, "dtype") and is_numeric(total.dtype)
