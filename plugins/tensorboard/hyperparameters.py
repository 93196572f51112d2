"""The page of hyperparameters: the settings of a run, and the metrics of its final weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from trainbus import Decision, Run
from trainbus.decision import Restore
from trainbus.metrics.scalars import to_scalars

from .writer import summaries
from .writer.event_writer import Summary


class HyperparameterPage:
    """Writes the hyperparameters of one run.

    Args:
        hparams: The hyperparameters.
        put: Queues an event for the writing thread: its step, what makes it from the material, the material.
        scalars: Writes values by tag at a step.
    """

    def __init__(
        self,
        hparams: Mapping[str, str | float | bool],
        put: Callable[[int, Callable[[Any], Summary], Any], object],
        scalars: Callable[[int, Mapping[str, float]], object],
    ) -> None:
        self._hparams, self._put, self._scalars = hparams, put, scalars
        self.declared = False
        """Whether the columns of the page are written; TensorBoard shows the first ones in the file."""
        self._restored_epoch: int | None = None
        """The epoch whose weights the run has restored at its end."""

    def begin(self) -> None:
        """Write the hyperparameters."""
        self._put(0, summaries.hparams, self._hparams)

    def declare(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the columns of the page, once."""
        if not self.declared:
            self.declared = True
            self._put(step, partial(summaries.hparams_metrics, self._hparams), [f"hparam/{name}" for name in metrics])

    def note_restored(self, run: Run, decision: Decision) -> None:
        """Store the epoch whose weights a decision at the end of the run restores."""
        sources = [action.source for action in decision if isinstance(action, Restore)]
        for epoch, earlier in run.state.decision_log if sources else ():
            if any(sources[-1] in (getattr(each, "slot", None), getattr(each, "path", None)) for each in earlier):
                self._restored_epoch = epoch

    def end(self, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of the final weights: those of the epoch that was restored.

        Args:
            run: The run, which has ended.
            step: The step of the last epoch.
            metrics: The last value of each metric.
        """
        self.declare(step, metrics)
        final = dict(metrics)
        for epoch, logged in run.state.epoch_metrics if self._restored_epoch is not None else ():
            if epoch <= (self._restored_epoch or 0):
                final |= to_scalars(logged)
        self._scalars(step, {f"hparam/{name}": value for name, value in final.items()})
        failed = isinstance(run.error, Exception)
        self._put(step, lambda success: summaries.hparams_end(success=success), not failed)
