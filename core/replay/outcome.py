"""What callbacks would have decided on one recorded run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from ..metrics.monitor import BestValue

__all__ = ["Action", "Decided", "Outcome"]

Action: TypeAlias = Literal["scale_learning_rate", "keep", "save", "restore", "forget", "stop"]
"""Named as the words of `trainbus.decision`, in the order in which a run carries them out."""


class Decided(NamedTuple):
    """One thing that a callback decides at the end of an epoch."""

    epoch: int
    """Counted from 0."""
    by: str
    """The callback, named as a run names it."""
    action: Action
    of: int
    """The epoch whose model is saved, kept, forgotten or restored; else the epoch itself."""
    exact: bool = True
    """False after a reduction of the learning rate that the recorded run did not make: training would have gone on
    otherwise, so that this is what would follow if the metric had stayed as it was recorded."""


@dataclass(frozen=True)
class Outcome:
    """What callbacks would have decided on one recorded run; epochs are counted from 0."""

    name: str
    """The run."""
    first_epoch: int
    last_epoch: int
    """The last that was recorded: beyond it nothing is known."""
    decisions: tuple[Decided, ...]
    """In the order of epochs, and within one in the order in which a run carries them out."""
    best_seen: BestValue | None
    """The best of all that was recorded."""
    best_at_stop: BestValue | None
    """The best up to the stop; where nothing stops, up to the last recorded epoch."""
    kept: tuple[int, ...] = ()
    """The epochs whose models the files of checkpoints hold at the stop."""
    seconds: float | None = None
    """From the end of the first recorded epoch to that of the last; None where nothing tells."""
    seconds_saved: float | None = None
    """Those after the stop."""

    @property
    def stop(self) -> Decided | None:
        """What ends the run, None where nothing does."""
        return next((each for each in self.decisions if each.action == "stop"), None)

    @property
    def censored(self) -> bool:
        """Whether nothing stops the run up to its last recorded epoch, so that where it would end is unknown."""
        return self.stop is None

    @property
    def epochs(self) -> int:
        """How many epochs were recorded, those between that left no trace counted."""
        return self.last_epoch - self.first_epoch + 1

    @property
    def epochs_saved(self) -> int:
        """Recorded epochs after the stop."""
        return self.last_epoch - self.stop.epoch if self.stop is not None else 0

    @property
    def lost(self) -> float | None:
        """How much worse the best at the stop is than the best that was seen; None where there is none to compare."""
        if self.best_seen is None or self.best_at_stop is None:
            return None
        return abs(self.best_seen.value - self.best_at_stop.value)

    @property
    def cuts(self) -> tuple[Decided, ...]:
        """Reductions of the learning rate."""
        return tuple(each for each in self.decisions if each.action == "scale_learning_rate")

    @property
    def hypothetical_from(self) -> int | None:
        """The epoch in which a reduction falls that the record does not show; what comes later is hypothetical."""
        made = [each.epoch for each in self.decisions if each.action == "scale_learning_rate"]
        later = next((each.epoch for each in self.decisions if not each.exact), None)
        return None if later is None else max(epoch for epoch in made if epoch < later)

    def as_data(self) -> dict[str, Any]:
        """As plain data for machines."""
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
            "quality_lost": self.lost,
            "checkpoints": list(self.kept),
            "decisions": [each._asdict() for each in self.decisions],
        }

    def as_row(self) -> dict[str, Any]:
        """As one line of a table for machines: the same without what has no single value."""
        data = self.as_data()
        for name in ("best_seen", "best_at_stop"):
            best = data.pop(name) or {"value": None, "epoch": None}
            data |= {name: best["value"], f"{name}_epoch": best["epoch"]}
        del data["decisions"]
        data["checkpoints"] = " ".join(map(str, data["checkpoints"]))
        return {**data, "first_cut": self.cuts[0].epoch if self.cuts else None, "cuts": len(self.cuts)}
