"""A loop by steps: the batches of one interval, from a validation to the next."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Generic, TypeVar

from ...decision import Decision
from ...errors import LoopError
from .batch_loop import INTERLEAVED

if TYPE_CHECKING:
    from ..bus import Bus
    from ..run_state import RunState

T = TypeVar("T")

_WITHOUT_STEP = 10_000
"""Batches after which a loop that counts its weight updates itself must have counted one."""


class StepLoop(Generic[T]):
    """The batches of one interval.

    The validation of an interval is inside of the body of its last batch, after the weight update. So the batch is
    counted when the validation begins, or else at the end of the body.

    Args:
        run: The run that hooks receive.
        state: Where batches and weight updates are counted.
        bus: The hooks.
        accumulate: Batches in one weight update; None if updates are counted elsewhere.
        is_last: Returns whether the batch that was drawn last is the last one of the interval.
    """

    def __init__(
        self, run: object, state: RunState, bus: Bus, accumulate: int | None, is_last: Callable[[], bool]
    ) -> None:
        self._run, self._state, self._bus = run, state, bus
        self._accumulate, self.is_last = accumulate, is_last
        self._open = False
        """Whether the batch that was drawn last is not counted yet."""
        self._batch = 0

    def batches(
        self,
        batches: Iterable[T],
        first: int,
        execute: Callable[[Decision], object],
        ends: Callable[[int, int | None], bool],
    ) -> Generator[T]:
        """Iterate over the batches.

        Args:
            batches: The batches.
            first: The number of the first one in the interval, counted from 0.
            execute: Called with each decision of the plugins.
            ends: Returns whether the loop ends after this number of batches; called only after a decision to stop.

        Raises:
            LoopError: Another loop has begun since the last batch.
        """
        run, state, counters = self._run, self._state, self._state.counters
        begin, end, stops = self._bus.on_batch_begin, self._bus.on_batch_end, self._state.stop_actions
        counters.batch = first
        later, begun = counters.begin_loop(), counters.steps
        for number, item in enumerate(batches, first):
            counters.batch = self._batch = number
            if begin is not None and (decision := begin(run, state.epoch, number)) is not None:
                execute(decision)
            self._open = True
            yield item
            if later:
                raise LoopError(INTERLEAVED)
            self.count()
            if end is not None:
                decision = end(run, state.epoch, number, counters.steps, state.means)
                if decision is not None:
                    execute(decision)
            if stops and ends(number + 1, self._accumulate):
                return
            if self._accumulate is None:
                if self.is_last():
                    return
                if number - first == _WITHOUT_STEP and counters.steps == begun:
                    raise LoopError(
                        f"{_WITHOUT_STEP:,} batches of run.steps(..., accumulate=None) have not changed run.step: set "
                        "it after each weight update, or give the batches in one weight update as accumulate="
                    )

    def count(self) -> None:
        """Count the batch that was drawn last, once."""
        if self._open:
            self._open, counters, done = False, self._state.counters, self._batch + 1
            if self._accumulate is not None and done % self._accumulate == 0:
                counters.steps += 1
            counters.trained_batches = done
