"""What each kind of callback decides on recorded runs, as decisions in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from ..callback import MonitoredCallback
from ..rules import Smoothing
from .curves import Curves
from .library_settings import Library
from .outcome import Action, Decided
from .rates import Rates
from .saves import Saved
from .simulation import cuts, stopped

__all__ = ["add_cuts", "add_stops", "in_order", "save_decisions"]

_ORDER: Final = get_args(Action)


def add_stops(
    name: str, callback: MonitoredCallback, curves: Curves, whose: Library, decided: list[list[Decided]]
) -> NDArray[np.int64]:
    """Add what early stopping decides; the epoch in which it stops each run, beyond all epochs where it does not."""
    options = callback.model_dump()
    text, restores = options.get("smoothing"), bool(options.get("restore_best_weights"))
    smooth = curves.smoothed(Smoothing.parse(text) if text else None)
    columns, improved = stopped(smooth, whose.stops, options, improvements=True)
    rows = np.arange(len(columns))
    epochs = np.where(columns < 0, np.iinfo(np.int64).max, curves.epochs[rows, columns])
    for row, column in enumerate(columns.tolist()):
        if column >= 0:
            epoch = int(epochs[row])
            decided[row].append(Decided(epoch, name, "stop", epoch))
        if restores and improved is not None:
            kept = curves.epochs[row, np.flatnonzero(improved[:, row])].tolist()
            decided[row] += [Decided(epoch, name, "keep", epoch) for epoch in kept]
            if column >= 0 and kept:
                decided[row].append(Decided(int(epochs[row]), name, "restore", kept[-1]))
    return epochs


def add_cuts(
    name: str,
    callback: MonitoredCallback,
    curves: Curves,
    whose: Library,
    rates: Rates,
    decided: list[list[Decided]],
) -> None:
    """Add the reductions of the learning rate, and mark what comes after one that the record does not show."""
    found = cuts(curves, whose.plateaus, callback.model_dump(), rates)
    for row, column in np.argwhere(found.cut).tolist():
        epoch = int(curves.epochs[row, column])
        decided[row].append(Decided(epoch, name, "scale_learning_rate", epoch, bool(found.recorded[row, column])))


def save_decisions(name: str, saved: Sequence[Saved]) -> Iterator[Decided]:
    """What a checkpoint saves, and what it forgets for it."""
    for epoch, forgotten in saved:
        yield Decided(epoch, name, "save", epoch)
        yield from (Decided(epoch, name, "forget", old) for old in forgotten)


def in_order(decided: Sequence[Decided], stop: int) -> tuple[Decided, ...]:
    """What is decided up to the stop, in order; exact as long as no reduction went before that was not recorded."""
    # the first reduction itself is exact, and so is all that the same epoch brings
    unshown = [each.epoch for each in decided if each.action == "scale_learning_rate" and not each.exact]
    limit = min(unshown, default=stop)
    ranked = sorted(decided, key=lambda each: (each.epoch, _ORDER.index(each.action), each.by, each.of))
    return tuple(each._replace(exact=each.epoch <= limit) for each in ranked if each.epoch <= stop)
