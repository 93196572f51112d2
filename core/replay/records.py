"""Recorded runs, and the decisions that callbacks would have made in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainbus import BestValue


class Series(NamedTuple):
    """One metric of one run, with an element for each epoch of its ``Recording``."""

    values: NDArray[np.float64]
    """The logged values; NaN for an epoch without a value, and for a logged NaN."""
    logged: NDArray[np.bool_]
    """Which epochs logged a value: a rule steps on a logged NaN, but not on an epoch without a value."""


@dataclass(frozen=True)
class Recording:
    """One recorded run, in the same form for every file format.

    >>> values = np.array([0.5, 0.25])
    >>> Recording("a", np.arange(2), {"loss": Series(values, np.isfinite(values))}).duration is None
    True
    """

    name: str
    """The name that distinguishes the run: its path relative to the path given to ``read``."""
    epochs: NDArray[np.int64]
    """The recorded epochs, counted from 0, unique and rising."""
    metrics: Mapping[str, Series]
    """Metrics by the name under which trainbus would log them, such as "val_loss"."""
    times: NDArray[np.float64] | None = None
    """The end of each epoch in seconds, on any clock; None if unknown."""
    format: str = ""
    """The format to display, such as "Keras event files" or "Lightning CSV"."""
    notes: tuple[str, ...] = field(default=())
    """What the reader left out or guessed, one sentence each."""

    @property
    def duration(self) -> float | None:
        """The seconds between the ends of the first and the last epoch; None if unknown."""
        return None if self.times is None or not self.times.size else float(self.times[-1] - self.times[0])


Action: TypeAlias = Literal["scale_learning_rate", "keep", "save", "restore", "forget", "stop"]
"""The actions of ``trainbus.decision``, in the order in which a run executes them."""


class SimulatedAction(NamedTuple):
    """One action that a callback would have decided at the end of an epoch."""

    epoch: int
    """Counted from 0."""
    by: str
    """The name of the callback in the run."""
    action: Action
    of: int
    """The epoch whose model is saved, kept, forgotten or restored; otherwise the same as ``epoch``."""
    exact: bool = True
    """False after a learning rate cut that the recorded run did not make. Training would have continued differently,
    so the action assumes that the metric had stayed as recorded."""


@dataclass(frozen=True)
class RunOutcome:
    """What callbacks would have decided on one recorded run. Epochs count from 0."""

    name: str
    """The name of the run."""
    first_epoch: int
    last_epoch: int
    """The last recorded epoch; nothing is known after it."""
    decisions: tuple[SimulatedAction, ...]
    """The actions, ordered by epoch; within an epoch, in the order in which a run executes them."""
    best_seen: BestValue | None
    """The best of all recorded values."""
    best_at_stop: BestValue | None
    """The best value up to the stop, or up to the last recorded epoch if nothing stops the run."""
    kept: tuple[int, ...] = ()
    """The epochs whose models the checkpoint files hold at the stop."""
    seconds: float | None = None
    """The seconds between the ends of the first and the last recorded epoch; None if unknown."""
    seconds_saved: float | None = None
    """The part of ``seconds`` after the stop."""

    @property
    def stop(self) -> SimulatedAction | None:
        """The action that stops the run; None if nothing does."""
        return next((each for each in self.decisions if each.action == "stop"), None)

    @property
    def censored(self) -> bool:
        """Whether nothing stops the run up to its last recorded epoch, so that its end is unknown."""
        return self.stop is None

    @property
    def epochs(self) -> int:
        """The number of epochs from the first to the last recorded one."""
        return self.last_epoch - self.first_epoch + 1

    @property
    def epochs_saved(self) -> int:
        """The number of recorded epochs after the stop."""
        return self.last_epoch - self.stop.epoch if self.stop is not None else 0

    @property
    def quality_lost(self) -> float | None:
        """The difference between the best seen and the best at the stop; None if one of them does not exist."""
        if self.best_seen is None or self.best_at_stop is None:
            return None
        return abs(self.best_seen.value - self.best_at_stop.value)

    @property
    def cuts(self) -> tuple[SimulatedAction, ...]:
        """The cuts of the learning rate."""
        return tuple(each for each in self.decisions if each.action == "scale_learning_rate")

    @property
    def hypothetical_from(self) -> int | None:
        """The epoch of the first cut that the record does not show; later actions are hypothetical."""
        later = next((each.epoch for each in self.decisions if not each.exact), None)
        return None if later is None else max(cut.epoch for cut in self.cuts if cut.epoch < later)

    def as_data(self) -> dict[str, Any]:
        """Return the outcome as plain data for machines."""
        return {
            "run": self.name,
            "first_epoch": self.first_epoch,
            "last_epoch": self.last_epoch,
            "stopped_epoch": self.stop.epoch if self.stop else None,
            "stopped_by": self.stop.by if self.stop else None,
            "censored": self.censored,
            "hypothetical_from": self.hypothetical_from,
            "epochs_saved": self.epochs_saved,
            "seconds": self.seconds,
            "seconds_saved": self.seconds_saved,
            "best_seen": self.best_seen._asdict() if self.best_seen else None,
            "best_at_stop": self.best_at_stop._asdict() if self.best_at_stop else None,
            "quality_lost": self.quality_lost,
            "checkpoints": list(self.kept),
            "decisions": [each._asdict() for each in self.decisions],
        }

    def as_row(self) -> dict[str, Any]:
        """Return the single-valued part of ``as_data`` as one row of a table."""
        data = self.as_data()
        for name in ("best_seen", "best_at_stop"):
            best = data.pop(name) or {"value": None, "epoch": None}
            data |= {name: best["value"], f"{name}_epoch": best["epoch"]}
        del data["decisions"]
        data["checkpoints"] = " ".join(map(str, data["checkpoints"]))
        return {**data, "first_cut": self.cuts[0].epoch if self.cuts else None, "cuts": len(self.cuts)}
