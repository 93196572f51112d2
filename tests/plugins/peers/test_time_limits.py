"""The time limits of Lightning and Ignite end after the same batch, driven through the same random clock."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run
from trainbus.plugins import TimeLimit

LIMIT = 30
BATCHES = st.lists(st.integers(0, 25), min_size=1, max_size=8)
"""Seconds that each batch takes."""


def ours(batches: list[int], patch: pytest.MonkeyPatch) -> int | None:
    """Return the batch after which our limit has passed."""
    now = [1000.0]
    patch.setattr(time, "monotonic", lambda: now[0])
    timer: Any = TimeLimit(f"{LIMIT} seconds").plugin()
    asked: list[str] = []
    with Run() as run:
        timer.on_train_begin(run)
        timer.run = SimpleNamespace(interrupt=asked.append)
        for number, seconds in enumerate(batches):
            now[0] += seconds
            if timer.look() is None:
                assert asked == ["TimeLimit('30 seconds')"]
                return number
    return None


@given(BATCHES)
def test_lightning(batches: list[int]) -> None:
    timer_module = pytest.importorskip("lightning.pytorch.callbacks.timer")
    with pytest.MonkeyPatch.context() as patch:
        expected = ours(batches, patch)
        now = [1000.0]
        patch.setattr(time, "monotonic", lambda: now[0])
        timer = timer_module.Timer(duration={"seconds": LIMIT}, verbose=False)
        trainer: Any = SimpleNamespace(should_stop=False, strategy=SimpleNamespace(broadcast=lambda value: value))
        timer.on_train_start(trainer, None)
        stopped = None
        for number, seconds in enumerate(batches):
            now[0] += seconds
            timer.on_train_batch_end(trainer)
            if trainer.should_stop:
                stopped = number
                break

    assert stopped == expected


@given(BATCHES)
def test_ignite(batches: list[int]) -> None:
    """Ignite ends after the limit has passed, not when it is reached."""
    engine_module = pytest.importorskip("ignite.engine")
    handler_module = pytest.importorskip("ignite.handlers.time_limit")
    with pytest.MonkeyPatch.context() as patch:
        expected = ours(batches, patch)
        now = [1000.0]
        patch.setattr(time, "time", lambda: now[0])
        limit = handler_module.TimeLimit(limit_sec=LIMIT)
        ended: list[int] = []
        engine: Any = SimpleNamespace(terminate=lambda: ended.append(1))
        assert engine_module.Engine is not None
        stopped = None
        for number, seconds in enumerate(batches):
            now[0] += seconds
            limit(engine)
            if ended:
                stopped = number
                break
    reached = sum(batches[: (expected or 0) + 1]) == LIMIT

    assert stopped == expected or reached
