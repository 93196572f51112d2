"""How a run ended."""

from __future__ import annotations

from dataclasses import dataclass

from .decision import Decision
from .failures import Failure
from .metrics.monitor import BestValue
from .storage.paths import Location

__all__ = ["Result"]


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended."""

    epochs: int
    """Number of epochs that were trained to their end."""
    stopped: bool
    """Whether a decision ended the training before its last epoch."""
    reason: str
    """Why the training ended, in words."""
    best: dict[str, BestValue]
    """Per monitored metric its best value and the epoch, counted from 0, that reached it."""
    checkpoints: tuple[Location, ...]
    """The files that were written and not forgotten since, each once, in the order of their last writing."""
    learning_rates: dict[str, list[float | None]]
    """Per learning rate its value in each epoch."""
    failures: tuple[Failure, ...] = ()
    """What went wrong without ending the run."""
    decisions: tuple[tuple[int, Decision], ...] = ()
    """Each decision that was carried out, with its epoch, counted from 0: actions with reason, plugin, rule, values."""

    def __str__(self) -> str:
        lines = [f"{self.epochs} epoch{'s' * (self.epochs != 1)}: {self.reason}"]
        lines += [f"best {name}: {best.value:.5g} in epoch {best.epoch + 1}" for name, best in self.best.items()]
        lines += [f"checkpoint: {path}" for path in self.checkpoints]
        for name, rates in self.learning_rates.items():
            changes = [rate for i, rate in enumerate(rates) if rate is not None and (i == 0 or rate != rates[i - 1])]
            lines.append(f"{name.replace('_', ' ')}: {' -> '.join(f'{rate:.3g}' for rate in changes)}")
        lines += [f"failed: {failure}" for failure in self.failures]
        return "\n".join(lines)
