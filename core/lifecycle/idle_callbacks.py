"""Reports callbacks and options that can never act in what the loop will train, before it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..callback import Callback
from ..callback.planned_training import PlannedTraining
from ..capabilities import HasLearningRate, has
from ..engine.plan import StepPlan
from ..engine.run_state import RunState


class IdleCallbacks:
    """Reports each such callback once, in one line.

    Args:
        callbacks: Name to callback.
        state: Has the plan of the loop.
        report: Logs a line on rank 0.
    """

    def __init__(self, callbacks: Mapping[str, Callback], state: RunState, report: Callable[[str], object]) -> None:
        self._callbacks, self._state, self._report = dict(callbacks), state, report
        self._first: int | None = None
        self._with_batches = False

    def begin_epoch(self, epoch: int) -> None:
        """Report before the first epoch what its plan shows, and options without an effect."""
        if self._first is None:
            self._first = epoch
            for name, callback in self._callbacks.items():
                if unused := callback.unused_options():
                    self._report(f"{name}: {unused}")
            self._check(accumulate=1)

    def begin_batches(self, accumulate: int | None) -> None:
        """Report before the first batch what the number of batches shows.

        Args:
            accumulate: Batches in one weight update; None if the loop counts updates itself.
        """
        if not self._with_batches:
            self._with_batches = True
            self._check(accumulate)

    def _check(self, accumulate: int | None) -> None:
        planned = self._planned(accumulate)
        if planned is None:
            return
        for name, callback in list(self._callbacks.items()):
            reason = callback.idle_reason(planned)
            if reason:
                self._state.idle.append(self._callbacks.pop(name))
                self._report(f"{name}: {reason}")

    def _planned(self, accumulate: int | None) -> PlannedTraining | None:
        """Return what the loop will train; None if that is unknown."""
        state, first = self._state, self._first or 0
        plan, subject, batches = state.plan, state.subject, state.planned_batches
        if plan.total is None:
            return None
        rates: Mapping[str, float] = subject.learning_rates() if has(subject, HasLearningRate) else {}
        planned = PlannedTraining(range(first, max(plan.total, first + 1)), learning_rates=rates)
        planned = planned._replace(resumed=state.resumed is not None)
        if isinstance(plan, StepPlan):
            intervals = range(first, first + max(plan.validations_left(state.step) or 0, 1))
            return planned._replace(epochs=intervals, unit="validation", steps=range(state.step, plan.total))
        if batches is None:
            return planned
        count = batches * len(planned.epochs)
        steps = None if accumulate is None else range(state.step, state.step + count // accumulate)
        return planned._replace(steps=steps, batches=count)
