"""Early stopping policies, grids of policies, and the choice of the policies to recommend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, fields
from itertools import product
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainbus import MonitoredCallback, SettingsError
from trainbus.plugins import EarlyStopping

from ..metrics.direction import known_direction
from .curves import Curves
from .libraries.library import Library
from .libraries.settings import build


class Policy(NamedTuple):
    """One combination of the options of early stopping."""

    smoothing: str | None = None
    start_from_epoch: int = 0
    min_delta: float = 0.0
    baseline: float | None = None
    patience: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """The patience and all options that differ from their defaults, as ``EarlyStopping`` names them."""
        default = Policy()
        given = {name: value for name, value in self._asdict().items() if value != getattr(default, name)}
        return {"patience": self.patience, **{name: given[name] for name in reversed(given)}}

    def callback(
        self, monitor: str, mode: str, library: Library, fixed: Mapping[str, Any] | None = None
    ) -> MonitoredCallback:
        """Return the policy as a callback of the library; ``mode`` is set unless the library infers it.

        Args:
            monitor: The metric that decides.
            mode: The direction in which it improves.
            library: Whose callback to return.
            fixed: Further options, which all policies share.
        """
        inferred = library.name in ("trainbus", "torch") and known_direction(monitor) == mode
        options = {"monitor": monitor, **({} if inferred else {"mode": mode}), **(fixed or {}), **self.options}
        return build(library.stopping.settings, options, library)

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" if name != "smoothing" else value for name, value in self.options.items())


def _check_alone(name: str, value: Any) -> Any:
    return getattr(EarlyStopping(**{name: value}), name)


@dataclass(frozen=True)
class Grid:
    """Every combination of the values of each option; values are unique and, if they are numbers, sorted.

    >>> grid = Grid(patience=(5, 3), min_delta=(0.0, 0.01))
    >>> [str(policy) for policy in grid]
    ['patience 3', 'patience 5', 'patience 3, min_delta 0.01', 'patience 5, min_delta 0.01']
    """

    smoothing: Sequence[str | None] = (None,)
    start_from_epoch: Sequence[int] = (0,)
    min_delta: Sequence[float] = (0.0,)
    baseline: Sequence[float | None] = (None,)
    patience: Sequence[int] = (0,)
    check: InitVar[Callable[[str, Any], Any]] = _check_alone

    def __post_init__(self, check: Callable[[str, Any], Any]) -> None:
        """Validate every value as the live callback does.

        Args:
            check: Returns a value of an axis as a callback stores it.

        Raises:
            SettingsError: The callback does not accept a value, or an option has no value.
        """
        for name, values in self.axes.items():
            if not values:
                raise SettingsError(f"{name}: give at least one value")
            checked = [check(name, value) for value in values]
            unique = list(dict.fromkeys(checked))
            object.__setattr__(self, name, tuple(sorted(unique, key=_none_first)))

    @property
    def axes(self) -> Mapping[str, Sequence[Any]]:
        """The values of each option, in the order in which policies are numbered."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __len__(self) -> int:
        return int(np.prod([len(values) for values in self.axes.values()]))

    def __iter__(self) -> Iterator[Policy]:
        return (Policy(*values) for values in product(*self.axes.values()))

    def __getitem__(self, number: int) -> Policy:
        axes = tuple(self.axes.values())
        places = np.unravel_index(number, [len(values) for values in axes])
        return Policy(*(values[int(place)] for values, place in zip(axes, places, strict=True)))


def default_grid(
    curves: Curves, library: Library, check: Callable[[str, Any], Any], **axes: Sequence[Any] | None
) -> Grid:
    """Return a grid of the given axes, completed with values that suit these runs: a few thousand policies at most.

    Of loops by steps, ``start_from_epoch`` is 0.

    By default, patience goes up to half of the longest run, and min_delta is a rounded fraction of the median gain of
    the runs.

    Args:
        curves: The runs.
        library: The library whose options are tried.
        check: As of ``Grid``.
        axes: The values to try, for each option that is given; None for the others.

    Raises:
        SettingsError: The library's early stopping does not have one of the given axes, or does not accept a value.
    """
    missing = {"start_from_epoch", "baseline", "smoothing"} - set(library.stopping.settings.model_fields)
    for name in missing:
        if axes.get(name):
            raise SettingsError(f"the EarlyStopping of {library.title} has no option {name}")
    epochs = set(curves.units) <= {"epoch"}
    longest = int(curves.lengths.max(initial=1))
    gain = float(np.median(gains(curves)))
    steps = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200)
    defaults: dict[str, Sequence[Any]] = {
        "patience": [each for each in steps if each <= max(longest // 2, 1)],
        "min_delta": [0.0, *(_round(gain * fraction) for fraction in (1e-4, 1e-3, 3e-3, 1e-2, 3e-2) if gain > 0)],
        "start_from_epoch": [each for each in (0, 3, 5, 10, 20, 50) if each <= longest // 4 and epochs] or [0],
        "smoothing": [None, "ema 0.5", "ema 0.8", "median 3", "median 5"],
    }
    chosen = {name: values for name, values in axes.items() if values is not None}
    return Grid(**{**{name: values for name, values in defaults.items() if name not in missing}, **chosen}, check=check)


def gains(curves: Curves) -> Any:
    """Return how much each run gains from its first finite value to its best one; 0 if it has no finite value."""
    finite = np.isfinite(curves.scores)
    first = np.take_along_axis(curves.scores, finite.argmax(axis=1)[:, None], axis=1)[:, 0]
    with np.errstate(invalid="ignore"):  # in a run without a finite value
        return np.where(finite.any(axis=1), curves.best[:, -1] - first, 0.0)


def fraction_of(lost: NDArray[np.float64], gained: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a loss as a fraction of what a run gains, at most 1; all is lost of a run that gains nothing.

    Args:
        lost: The loss of quality, 0 or above.
        gained: What the run gains from its first finite value to its best one; 0 may be negative.

    >>> fraction_of(np.array([0.0, 0.5, np.inf]), np.array([0.0, 2.0, -0.0])).tolist()
    [0.0, 0.25, 1.0]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.minimum(np.where(lost > 0, lost / np.abs(gained), 0.0), 1.0)


Fractions: TypeAlias = NDArray[np.float64]
Advice: TypeAlias = Literal["careful", "balanced", "eager"]


class Limit(NamedTuple):
    """The maximum loss of a policy, as fractions of the gain of a run from its first value to its best."""

    mean: float
    worst: float
    words: str

    def allows(self, mean: Fractions, worst: Fractions) -> NDArray[np.bool_]:
        """Return which policies are within the limit; nothing lost is exactly 0.

        Args:
            mean: The mean loss of each policy.
            worst: Its highest loss in a run.

        >>> ADVICE["careful"].allows(np.array([0.0, 1e-15]), np.array([0.0, 1e-15])).tolist()
        [True, False]
        """
        # a mean may depend on the order in which its fractions were summed
        within = (np.round(mean, _DIGITS) <= self.mean) & (worst <= self.worst + (_TOLERANCE if self.worst else 0.0))
        return np.asarray(within)


ADVICE: Final[Mapping[Advice, Limit]] = {
    "careful": Limit(0.0, 0.0, "loses nothing in any of these runs"),
    "balanced": Limit(0.01, 0.05, "loses at most 1 % of what a run gains on average, 5 % at worst"),
    "eager": Limit(0.05, 0.25, "loses at most 5 % of what a run gains on average, 25 % at worst"),
}

_TOLERANCE = 1e-12
"""Rounding error of a sum of fractions."""
_DIGITS = 12


class Estimate(NamedTuple):
    """The savings and losses of a policy, as fractions of the epochs and of the gain of a run."""

    saved: float
    lost: float
    worst: float


def most_saving(saved: Fractions, mean: Fractions, worst: Fractions, limit: Limit) -> int:
    """Return the index of the policy that saves most within the limit; among equal policies, the one that loses least.

    If no policy is within the limit, return the policy that loses least.

    >>> most_saving(np.array([0.2, 0.5, 0.9]), np.array([0.0, 0.0, 0.5]), np.array([0.0, 0.0, 0.9]), ADVICE["careful"])
    1
    """
    # equal policies must stay equal, regardless of the order in which their fractions were summed
    saved, mean = np.round(saved, _DIGITS), np.round(mean, _DIGITS)
    within = limit.allows(mean, worst)
    if not within.any():
        return int(np.lexsort((-saved, mean))[0])
    numbers = np.flatnonzero(within)
    return int(numbers[np.lexsort((mean[numbers], -saved[numbers]))[0]])


def leave_one_out(
    saved: Fractions, epochs: Fractions, lost: Fractions, limit: Limit, groups: Sequence[str] | None = None
) -> Estimate | None:
    """Return the expected savings and losses on an unseen run, by leave-one-out cross-validation.

    Each group of runs is left out in turn; the policy that the others choose is applied to it.

    Args:
        saved: Epochs saved, [policy, run].
        epochs: Epochs recorded, [run].
        lost: Fraction of the gain that is lost, [policy, run].
        limit: What may be lost.
        groups: The group of each run; by default each run is one.

    Returns:
        The estimate; None for a single group.
    """
    policies, runs = saved.shape
    names = {name: number for number, name in enumerate(dict.fromkeys(groups or map(str, range(runs))))}
    if len(names) < 2:
        return None
    losses, lengths, sizes = lost, epochs, np.ones(runs, np.int64)
    if groups:
        of_run = np.array([names[name] for name in groups])
        order = np.argsort(of_run, kind="stable")
        begins = np.searchsorted(of_run[order], np.arange(len(names)))
        saved, losses = (np.add.reduceat(each[:, order], begins, axis=1) for each in (saved, lost))
        lost = np.maximum.reduceat(lost[:, order], begins, axis=1)
        lengths, sizes = np.add.reduceat(epochs[order], begins), np.bincount(of_run)
    total_saved, total_lost = saved.sum(axis=1), losses.sum(axis=1)
    worst = np.argmax(lost, axis=1)
    highest = lost[np.arange(policies), worst]
    second = np.partition(lost, -2, axis=1)[:, -2]
    gained, cost, at_worst = 0.0, 0.0, 0.0
    for group, size in enumerate(sizes.tolist()):
        chosen = most_saving(
            (total_saved - saved[:, group]) / (epochs.sum() - lengths[group]),
            (total_lost - losses[:, group]) / (runs - size),
            np.where(worst == group, second, highest),
            limit,
        )
        gained, cost = gained + float(saved[chosen, group]), cost + float(losses[chosen, group])
        at_worst = max(at_worst, float(lost[chosen, group]))
    return Estimate(gained / float(epochs.sum()), cost / runs, at_worst)


def pareto_frontier(saved: Fractions, lost: Fractions) -> NDArray[np.intp]:
    """Return the policies that no other policy beats in both saving and loss, in order of increasing loss.

    >>> pareto_frontier(np.array([0.1, 0.5, 0.4, 0.5]), np.array([0.0, 0.1, 0.2, 0.3])).tolist()
    [0, 1]
    """
    order = np.lexsort((-saved, lost))
    best = np.maximum.accumulate(np.concatenate([[-np.inf], saved[order][:-1]]))
    return order[saved[order] > best]


def _round(value: float) -> float:
    """Round to one significant digit."""
    return float(f"{value:.0e}")


def _none_first(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else 0)
