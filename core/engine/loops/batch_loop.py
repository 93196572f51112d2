"""Iterate over batches, counting them and calling the hooks of batches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from ...decision import Decision
from ...errors import LoopError
from ..bus import Bus
from ..counters import UnobservedLoop
from ..run_state import RunState

T = TypeVar("T")

INTERLEAVED = (
    "a loop over run.batches() continues after another one has begun inside of it; iterate over several loaders at "
    "once as in run.batches(zip(a, b)), and over the batches of an inner loop without run.batches()"
)


def observed_batches(
    run: object,
    state: RunState,
    bus: Bus,
    loader: Iterable[T],
    first: int,
    accumulate: int | None,
    execute: Callable[[Decision], object],
    ends: Callable[[int, int | None], bool],
) -> Generator[T]:
    """Iterate over batches that plugins listen to.

    A batch is counted when a validation in its body begins, or else at the end of the body.

    Args:
        run: The run that hooks receive.
        state: Where batches and weight updates are counted.
        bus: The hooks.
        loader: The batches.
        first: The number of the first batch in its epoch, counted from 0.
        accumulate: Batches in one weight update; None if updates are counted elsewhere.
        execute: Called with each decision of the plugins.
        ends: Returns whether the loop ends after this number of batches; called only after a decision to stop.

    Raises:
        LoopError: Another loop has begun since the last batch.
    """
    begin, end = bus.on_batch_begin or _no_hook, bus.on_batch_end or _no_hook
    epoch, means, stops, counters = state.epoch, state.means, state.stop_actions, state.counters
    every_batch, batch = accumulate == 1, first
    counters.batch = max(first - 1, 0)  # a loop that is resumed behind its last batch has no other one
    later = counters.begin_loop()
    for item in loader:
        counters.batch = batch
        if (decision := begin(run, epoch, batch)) is not None:
            execute(decision)
        yield item
        if later:
            raise LoopError(INTERLEAVED)
        if counters.counted:
            counters.counted = False
        else:
            if every_batch or (accumulate and (batch + 1) % accumulate == 0):
                counters.steps += 1
            counters.trained_batches = batch + 1
        if (decision := end(run, epoch, batch, counters.steps, means)) is not None:
            execute(decision)
        batch += 1
        if stops and ends(batch, accumulate):
            return


def unobserved_batches(
    state: RunState, loader: Iterable[T], first: int, accumulate: int | None, ends: Callable[[int, int | None], bool]
) -> Generator[T]:
    """Iterate over batches that no plugin listens to; the arguments are those of ``observed_batches``."""
    counters, stops = state.counters, state.stop_actions
    loop, batch = UnobservedLoop(accumulate, first), first
    counters.loops.append(loop)
    later = counters.begin_loop()
    try:
        for item in loader:
            yield item
            if later:
                raise LoopError(INTERLEAVED)
            loop.batch = batch = batch + 1
            if stops and ends(batch, accumulate):
                break
    finally:  # also if the loop's body breaks
        counters.close(loop)
    counters.batch = max(batch - 1, 0)


def _no_hook(*_: object) -> None:
    """Do nothing; replaces a hook that no plugin implements."""
