"""When something is due: every so many batches, or at multiples of a count."""

from __future__ import annotations

from typing import NamedTuple

from .numbers import Number, where


class Intervals(NamedTuple):
    """State of saving at every n-th batch: batches waited, and the last batch seen in its epoch."""

    waited: Number = 0
    batch: Number = -1


def interval_rule(state: Intervals, batch: Number, every: Number) -> tuple[Intervals, Number]:
    """Act when ``every`` batches have passed since the last time, counted across epochs.

    Batches that a loop does not report (with Keras's ``steps_per_execution``) count as well.

    Args:
        state: The state after the previous reported batch.
        batch: The batch that has ended, counted from 0 in its epoch.
        every: The number of batches.

    Source: keras 3.15.1, ``ModelCheckpoint._should_save_on_batch``.

    >>> interval_rule(Intervals(waited=2, batch=3), batch=0, every=3)
    (Intervals(waited=0, batch=0), True)
    """
    waited = state.waited + where(batch <= state.batch, batch + 1, batch - state.batch)
    due = waited >= every
    return Intervals(where(due, 0, waited), batch), due


def crossing_rule(before: Number, count: Number, every: Number) -> tuple[Number, Number]:
    """Act when the count reaches or passes a multiple of ``every``, once even if it passes several.

    The state is the count itself, so that a resumed run acts at the same counts as an uninterrupted one.

    Args:
        before: The count at the previous call.
        count: The present count.
        every: The number whose multiples count.

    >>> crossing_rule(499, 501, every=500), crossing_rule(501, 501, every=500)
    ((501, True), (501, False))
    """
    return count, count // every > before // every
