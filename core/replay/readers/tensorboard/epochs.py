"""Which epoch a step of an event file belongs to: what tells, and what is to be guessed where nothing does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Steps", "counted", "guessed", "marked"]

_Integers = NDArray[np.int64]

_FEW = 20
"""A training has more batches an epoch than this, and validates more often than once in so many epochs."""


class Steps(NamedTuple):
    """Which epoch steps belong to."""

    ends: _Integers
    """Steps, rising, up to each of which and beyond the one before an epoch lasts."""
    epochs: _Integers
    """Their epochs."""
    note: str = ""
    """What was guessed, a sentence."""
    others: frozenset[str] = frozenset()
    """Names of series whose steps are something else."""

    def of(self, steps: _Integers) -> tuple[_Integers, NDArray[np.bool_]]:
        """The epoch of each step, and which of them are in an epoch at all: those after the last end are not."""
        inside = steps <= self.ends[-1]
        return self.epochs[np.searchsorted(self.ends, steps[inside])], inside


def marked(steps: _Integers, epochs: NDArray[np.float64], *, ended: bool) -> Steps:
    """By a series that has the epoch at some steps, as Lightning and Hugging Face write it.

    Args:
        steps: those steps.
        epochs: what it has there.
        ended: whether it counts the epochs that are over, with fractions, and not those before this one.

    >>> marked(np.array([9, 19, 29]), np.array([0.0, 0.0, 1.0]), ended=False).of(np.array([9, 15, 20]))[0].tolist()
    [0, 0, 1]
    >>> marked(np.array([5, 10]), np.array([0.5, 1.0]), ended=True).of(np.array([7]))[0].tolist()
    [0]
    """
    good = np.isfinite(epochs) & (np.abs(epochs) < 1 << 53)
    ends, first = np.unique(steps[good], return_index=True)
    numbers = epochs[good][first]
    return Steps(ends, (np.maximum(np.ceil(numbers) - 1, 0) if ended else np.floor(numbers)).astype(np.int64))


def counted(steps: _Integers, steps_per_epoch: int) -> Steps:
    """By the number of steps an epoch, where a person tells it.

    Args:
        steps: all that are there; they count from 1 if the last one ends an epoch so, or the first one
            is 1 and the last one ends none.
        steps_per_epoch: how many there are in one.

    >>> counted(np.array([0, 9, 10, 19]), 10).epochs.tolist(), counted(np.array([1, 10, 11, 20]), 10).epochs.tolist()
    ([0, 0, 1, 1], [0, 0, 1, 1])
    """
    ends = np.unique(steps)
    rest = ends[-1] % steps_per_epoch
    from_1 = ends[0] > 0 and (not rest or (ends[0] == 1 and rest != steps_per_epoch - 1))
    return Steps(ends, (ends - from_1) // steps_per_epoch)


def guessed(series: Mapping[str, _Integers]) -> Steps:
    """By the steps of all series: those of the validation, or else of the shortest one, end the epochs.

    >>> validated = {"loss": np.arange(400), "val_loss": np.array([99, 199, 299, 399])}
    >>> guessed(validated).of(np.array([0, 99, 100]))[0].tolist()
    [0, 0, 1]
    >>> guessed({"loss": np.arange(4)}).note
    'Steps are taken for epochs.'
    """
    taken = {name: np.unique(steps) for name, steps in series.items()}
    curves = {name: steps for name, steps in taken.items() if len(steps) > 1} or taken
    name = min(curves, key=lambda name: (not name.startswith("val_"), len(curves[name])))
    ends = curves[name]
    every = np.unique(np.concatenate(list(curves.values())))
    stride, finest = _stride(ends), _stride(every)
    if stride == 1:
        far = {other for other, steps in curves.items() if len(steps) > 2 * len(ends) and steps[-1] > 2 * ends[-1] + 1}
        every = np.unique(np.concatenate([steps for other, steps in taken.items() if other not in far]))
        return Steps(every, *_from_0(every, "Steps are taken for epochs."), frozenset(far))
    if len(every) == len(ends):
        note = f"There is a value every {stride:,} steps: each is taken for an epoch."
        return Steps(ends, np.arange(len(ends)), note)
    if finest == 1 and stride <= _FEW:
        every = np.unique(np.concatenate(list(taken.values())))
        return Steps(
            every, *_from_0(every, f"Steps are taken for epochs, and {name!r} is there every {stride} epochs.")
        )
    note = f"Each value of {name!r} is taken for the end of an epoch, {stride:,} steps after the one before."
    return Steps(ends, np.arange(len(ends)), note)


def _stride(steps: _Integers) -> int:
    return int(np.median(np.diff(steps))) if len(steps) > 1 else 1


def _from_0(steps: _Integers, note: str) -> tuple[_Integers, str]:
    if steps.size and steps[0] == 1:
        return steps - 1, f"{note} They are counted from 1 there."
    return steps, note
