"""The mapping from the steps of event files to epochs: read from a series, computed, or guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...axis import Unit

_Integers = NDArray[np.int64]

_LONGEST_VALIDATION_INTERVAL = 20
"""An epoch is assumed to have more batches than this, and validation to be at most that many epochs apart."""


class EpochMap(NamedTuple):
    """A map from steps to epochs, or to the rows of a run that counts something else."""

    ends: _Integers
    """The last step of each range of steps, ascending; a range begins after the end of the previous one."""
    epochs: _Integers
    """The epoch of each range."""
    note: str = ""
    """What was guessed, as a sentence."""
    others: frozenset[str] = frozenset()
    """The names of series with steps of another kind."""
    unit: Unit = "epoch"
    """What the ranges are, if not epochs; their steps are then the ends."""

    def map(self, steps: _Integers) -> tuple[_Integers, NDArray[np.bool_]]:
        """Return the epochs of all steps up to the last end, and a mask of these steps."""
        inside = steps <= self.ends[-1]
        return self.epochs[np.searchsorted(self.ends, steps[inside])], inside


def epochs_from_series(steps: _Integers, epochs: NDArray[np.float64], *, completed: bool) -> EpochMap:
    """Read the epochs from a series of epochs, which Lightning and Hugging Face write.

    Args:
        steps: The steps of the series.
        epochs: Its values.
        completed: Whether values count completed epochs, with fractions, and not the epochs before the current one.

    >>> epochs_from_series(np.array([9, 19, 29]), np.array([0, 0, 1.0]), completed=False).map(np.array([9, 15, 20]))[0]
    array([0, 0, 1])
    >>> epochs_from_series(np.array([5, 10]), np.array([0.5, 1.0]), completed=True).map(np.array([7]))[0]
    array([0])
    """
    good = np.isfinite(epochs) & (np.abs(epochs) < 1 << 53)
    ends, first = np.unique(steps[good], return_index=True)
    numbers = epochs[good][first]
    return EpochMap(ends, (np.maximum(np.ceil(numbers) - 1, 0) if completed else np.floor(numbers)).astype(np.int64))


def evaluations_in_epochs(epoch_map: EpochMap, held_out: Iterable[_Integers]) -> EpochMap:
    """Return a map to evaluations if an epoch has several of them, otherwise the same map.

    Args:
        epoch_map: The map to epochs.
        held_out: The steps of each metric of held-out data.

    >>> epochs = EpochMap(np.array([10, 20]), np.array([0, 1]))
    >>> evaluations_in_epochs(epochs, [np.array([5, 10, 15, 20])]).unit
    'evaluation'
    """
    given = [np.unique(steps) for steps in held_out]
    mapped = [(steps, np.unique(epoch_map.map(steps)[0])) for steps in given]
    if all(len(epochs) == int((steps <= epoch_map.ends[-1]).sum()) for steps, epochs in mapped):
        return epoch_map
    ends = np.unique(np.concatenate(given))
    return EpochMap(ends, np.arange(len(ends)), unit="evaluation")


def epochs_from_length(steps: _Integers, steps_per_epoch: int) -> EpochMap:
    """Compute the epochs from a known number of steps per epoch.

    Args:
        steps: All steps of the run. They count from 1 if the last step then ends an epoch, or if the first step is 1
            and the last one does not end an epoch in either count.
        steps_per_epoch: The number of steps in an epoch.

    >>> epochs_from_length(np.array([0, 9, 10, 19]), 10).epochs
    array([0, 0, 1, 1])
    >>> epochs_from_length(np.array([1, 10, 11, 20]), 10).epochs
    array([0, 0, 1, 1])
    """
    ends = np.unique(steps)
    rest = ends[-1] % steps_per_epoch
    from_1 = ends[0] > 0 and (not rest or (ends[0] == 1 and rest != steps_per_epoch - 1))
    return EpochMap(ends, (ends - from_1) // steps_per_epoch)


def guess_epochs(series: Mapping[str, _Integers]) -> EpochMap:
    """Guess the epochs from the steps of all series.

    Epochs end at the steps of a validation series or, without one, of the shortest series.

    >>> validated = {"loss": np.arange(400), "val_loss": np.array([99, 199, 299, 399])}
    >>> guess_epochs(validated).map(np.array([0, 99, 100]))[0].tolist()
    [0, 0, 1]
    >>> guess_epochs({"loss": np.arange(4)}).note
    'Steps are read as epochs.'
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
        return EpochMap(every, *_from_0(every, "Steps are read as epochs."), frozenset(far))
    if len(every) == len(ends):
        note = f"Records come every {stride:,} steps: patience counts records that have the metric."
        return EpochMap(ends, np.arange(len(ends)), note, unit="step")
    if finest == 1 and stride <= _LONGEST_VALIDATION_INTERVAL:
        every = np.unique(np.concatenate(list(taken.values())))
        note = f"Steps are read as epochs, and {name!r} has a value every {stride} epochs."
        return EpochMap(every, *_from_0(every, note))
    note = f"Each value of {name!r} is read as the end of an epoch, {stride:,} steps after the one before."
    return EpochMap(ends, np.arange(len(ends)), note)


def _stride(steps: _Integers) -> int:
    return int(np.median(np.diff(steps))) if len(steps) > 1 else 1


def _from_0(steps: _Integers, note: str) -> tuple[_Integers, str]:
    if steps.size and steps[0] == 1:
        return steps - 1, f"{note} They are counted from 1 in the file."
    return steps, note
