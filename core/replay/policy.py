"""Ways to stop early, and grids of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from trainbus.plugins import EarlyStopping

from ..callback import MonitoredCallback
from ..errors import SettingsError, UnknownDirection
from ..metrics.direction import direction_of
from .curves import Curves
from .library_settings import Library, made

__all__ = ["Grid", "Policy", "usual_grid"]


class Policy(NamedTuple):
    """One way to stop early."""

    smoothing: str | None = None
    start_from_epoch: int = 0
    min_delta: float = 0.0
    baseline: float | None = None
    patience: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """What differs from the defaults, and the patience, as `EarlyStopping` names it."""
        default = Policy()
        given = {name: value for name, value in self._asdict().items() if value != getattr(default, name)}
        return {"patience": self.patience, **{name: given[name] for name in reversed(given)}}

    def callback(self, monitor: str, mode: str, library: Library) -> MonitoredCallback:
        """The callback that stops so, in the words of the library."""
        told = {} if library.name in ("trainbus", "torch") and _tells(monitor, mode) else {"mode": mode}
        return made(library.stops.settings, {"monitor": monitor, **told, **self.options})

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" if name != "smoothing" else value for name, value in self.options.items())


@dataclass(frozen=True)
class Grid:
    """Every combination of these values; those of one field, each once and rising where they are numbers.

    >>> grid = Grid(patience=(5, 3), min_delta=(0.0, 0.01))
    >>> [str(policy) for policy in grid]
    ['patience 3', 'patience 5', 'patience 3, min_delta 0.01', 'patience 5, min_delta 0.01']
    """

    smoothing: Sequence[str | None] = (None,)
    start_from_epoch: Sequence[int] = (0,)
    min_delta: Sequence[float] = (0.0,)
    baseline: Sequence[float | None] = (None,)
    patience: Sequence[int] = (0,)

    def __post_init__(self) -> None:
        """Check every value by the live callback's own laws.

        Raises:
            SettingsError: one is none that `EarlyStopping` takes, or there is none.
        """
        for name, values in self.axes.items():
            if not values:
                raise SettingsError(f"{name}: give at least one value")
            checked = [getattr(EarlyStopping(**{name: value}), name) for value in values]
            unique = list(dict.fromkeys(checked))
            object.__setattr__(self, name, tuple(sorted(unique, key=_none_first)))

    @property
    def axes(self) -> Mapping[str, Sequence[Any]]:
        """Field to its values, in the order in which policies are counted."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __len__(self) -> int:
        return int(np.prod([len(values) for values in self.axes.values()]))

    def __iter__(self) -> Iterator[Policy]:
        return (Policy(*values) for values in product(*self.axes.values()))

    def __getitem__(self, number: int) -> Policy:
        axes = tuple(self.axes.values())
        places = np.unravel_index(number, [len(values) for values in axes])
        return Policy(*(values[int(place)] for values, place in zip(axes, places, strict=True)))


def usual_grid(curves: Curves, library: Library, **axes: Sequence[Any] | None) -> Grid:
    """The given axes, and for the others what suits these runs: thousands of policies at most.

    A patience goes up to half of the longest run, and a min_delta is a round part of what runs typically gain.

    Raises:
        SettingsError: an axis is none of the library's early stopping.
    """
    unset = {"start_from_epoch", "baseline", "smoothing"} - set(library.stops.settings.model_fields)
    for name in unset:
        if axes.get(name):
            raise SettingsError(f"the EarlyStopping of {library.title} has no {name}")
    longest = int(curves.lengths.max(initial=1))
    gain = float(np.median(gains(curves)))
    steps = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200)
    usual: dict[str, Sequence[Any]] = {
        "patience": [each for each in steps if each <= max(longest // 2, 1)],
        "min_delta": [0.0, *(_round(gain * part) for part in (1e-4, 1e-3, 3e-3, 1e-2, 3e-2) if gain > 0)],
        "start_from_epoch": [each for each in (0, 3, 5, 10, 20, 50) if each <= longest // 4],
        "smoothing": [None, "ema 0.5", "ema 0.8", "median 3", "median 5"],
    }
    chosen = {name: values for name, values in axes.items() if values is not None}
    return Grid(**{**{name: values for name, values in usual.items() if name not in unset}, **chosen})


def gains(curves: Curves) -> Any:
    """How much each run gains from its first finite value to its best; 0 where it has none."""
    finite = np.isfinite(curves.scores)
    first = np.take_along_axis(curves.scores, finite.argmax(axis=1)[:, None], axis=1)[:, 0]
    best = curves.best[:, -1]
    return np.where(finite.any(axis=1), best - first, 0.0)


def _tells(monitor: str, mode: str) -> bool:
    """Whether trainbus finds by the name alone which way the metric improves."""
    try:
        return direction_of(monitor) == mode
    except UnknownDirection:
        return False


def _round(value: float) -> float:
    """The value to one significant digit."""
    return float(f"{value:.0e}")


def _none_first(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else 0)
