"""The result of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .checkpoints.run_files import RunFiles
from .decision import Decision, Stop
from .failures import Failure
from .metrics.best_value import BestValue
from .metrics.history import History
from .storage.paths import Location
from .terminal import plural, shortened


class RunData(Protocol):
    """The part of ``RunState`` that a result tells."""

    earlier_epochs: int
    epoch_metrics: list[tuple[int, Mapping[str, Any]]]
    decision_log: list[tuple[int, Decision]]
    stop_actions: list[Stop]
    files: RunFiles

    @property
    def step(self) -> int:
        """Weight updates of the run."""
        ...

    @property
    def reason(self) -> str:
        """Why the training ended, in words."""
        ...


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run.

    ``str(result)`` is a summary in a few lines.

    >>> from trainbus import Run
    >>> with Run() as run:
    ...     for epoch in run.epochs(2):
    ...         run.log(loss=1.0)
    >>> run.result.epochs, run.result.stopped
    (2, False)
    """

    epochs: int
    """Number of finished epochs; in a loop by steps, of validations."""
    stopped: bool
    """Whether a decision ended the training."""
    reason: str
    """Why the training ended, in words."""
    best: dict[str, BestValue]
    """Name of each monitored metric to its best value and the epoch, counted from 0, that reached it.

    Each epoch has one value: of several validations in an epoch the last, also if a callback looks at all of them.
    """
    checkpoints: tuple[Location, ...]
    """The files that were written and not deleted since, in the order in which they were last written."""
    learning_rates: dict[str, list[float | None]]
    """Name of each learning rate to its value in each epoch."""
    failures: tuple[Failure, ...] = ()
    """The failures that did not end the run."""
    decisions: tuple[tuple[int, Decision], ...] = ()
    """Each decision that was executed, with its epoch, counted from 0."""
    steps: int = 0
    """Number of weight updates."""
    by_steps: bool = False
    """Whether the loop was one by steps, which has no epochs."""

    @classmethod
    def of(cls, state: RunData, best: dict[str, BestValue], failures: Sequence[Failure]) -> Result:
        """Return how a run ended, or how far it is.

        Args:
            state: The data of the run.
            best: Name of each monitored metric to its best value.
            failures: The failures that did not end the run.
        """
        history = History(state.epoch_metrics)
        return cls(
            epochs=state.earlier_epochs + len(state.epoch_metrics),
            stopped=bool(state.stop_actions),
            reason=state.reason,
            best=best,
            checkpoints=tuple(map(state.files.start.shown, state.files)),
            learning_rates={name: each for name, each in history.items() if name.split("/")[0] == "learning_rate"},
            failures=tuple(failures),
            decisions=tuple(state.decision_log),
            steps=state.step,
            by_steps=history.by_steps,
        )

    def __str__(self) -> str:
        many = "s" * (self.epochs != 1)
        done = f"{plural(self.steps, 'step')}, {self.epochs} validation" if self.by_steps else f"{self.epochs} epoch"
        lines = [f"{done}{many}: {self.reason}"]
        lines += [f"best {name}: {best.value:.5g} {best.where}" for name, best in self.best.items()]
        lines += shortened([f"checkpoint: {path}" for path in self.checkpoints])
        for name, rates in self.learning_rates.items():
            changes = [rate for i, rate in enumerate(rates) if rate is not None and (i == 0 or rate != rates[i - 1])]
            lines.append(f"{name.replace('_', ' ')}: {' -> '.join(shortened([f'{rate:.3g}' for rate in changes]))}")
        lines += [f"failed: {failure}" for failure in self.failures]
        return "\n".join(lines)
