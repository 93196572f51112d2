"""The time limits of Lightning and Ignite end after the same batch, driven through the same random clock."""

from __future__ import annotations

import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run, SettingsError
from trainbus.plugins import TimeLimit
from trainbus.settings.durations import seconds_in

LIMIT = 30
BATCHES = st.lists(st.integers(0, 25), min_size=1, max_size=8)
"""Seconds that each batch takes."""


def ours(batches: list[int], patch: pytest.MonkeyPatch, used: list[float] | None = None) -> int | None:
    """Return the batch after which our limit has passed.

    Args:
        batches: The seconds that each batch takes.
        patch: What replaces the clock.
        used: The seconds that the run had taken before its resume; replaced by those at the end of the last batch.
    """
    now = [1000.0]
    patch.setattr(time, "monotonic", lambda: now[0])
    timer: Any = TimeLimit(f"{LIMIT} seconds", over_resumes=used is not None).plugin()
    asked: list[str] = []
    with Run() as run:
        timer.on_train_begin(run)
        if used:
            timer.load_state_dict({"used": used.pop()})
        timer.run = SimpleNamespace(interrupt=asked.append)
        last = None
        for number, seconds in enumerate(batches):
            now[0] += seconds
            if timer.look() is None:
                assert asked == ["TimeLimit('30 seconds')"]
                last = number
                break
        if used is not None:
            used.append(timer.state_dict()["used"])
    return last


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


@given(st.lists(BATCHES, min_size=2, max_size=4))
def test_lightning_over_resumes(runs: list[list[int]]) -> None:
    """The time of earlier runs counts; Lightning trains no batch if all of it is used, this library at most one."""
    timer_module = pytest.importorskip("lightning.pytorch.callbacks.timer")
    used: list[float] = [0.0]
    state: dict[str, Any] | None = None
    with pytest.MonkeyPatch.context() as patch:
        for batches in runs:
            expected = ours(batches, patch, used)
            now = [1000.0]
            patch.setattr(time, "monotonic", lambda now=now: now[0])
            timer = timer_module.Timer(duration={"seconds": LIMIT}, verbose=False)
            trainer: Any = SimpleNamespace(should_stop=False, strategy=SimpleNamespace(broadcast=lambda value: value))
            if state is not None:
                timer.load_state_dict(state)
            timer.on_fit_start(trainer)
            over = trainer.should_stop
            timer.on_train_start(trainer, None)
            stopped = None
            for number, seconds in enumerate(batches):
                now[0] += seconds
                timer.on_train_batch_end(trainer)
                if trainer.should_stop:
                    stopped = number
                    break
            state = timer.state_dict()

            assert expected == stopped
            if over:
                assert expected == 0
            assert used == [state["time_elapsed"]["train"]]


@pytest.mark.parametrize(
    ("duration", "limit"),
    [
        ("00:00:00:22", "22 seconds"),
        ("12:34:56:65", "13 days 10 hours 57 minutes 5 seconds"),
        ({"weeks": 52, "days": 1}, "52 weeks 1 day"),
        ({"hours": 1.5}, "1.5 hours"),
        ({"minutes": 10}, "10 minutes"),
        ({"weeks": 52, "milliseconds": 1}, "364 days 0.001 seconds"),
    ],
)
def test_the_durations_of_lightning(duration: Any, limit: str) -> None:
    """Its table, in words; a ``timedelta`` is the same in both, and text with colons is answered with its words."""
    timer_module = pytest.importorskip("lightning.pytorch.callbacks.timer")
    seconds = timer_module.Timer(duration).time_remaining()

    assert TimeLimit(timedelta(seconds=seconds)) == TimeLimit(timedelta(seconds=seconds_in(limit)))
    if isinstance(duration, str):
        with pytest.raises(SettingsError) as caught:
            TimeLimit(duration)
        assert seconds_in(str(caught.value).split('"')[1]) == seconds


@pytest.mark.parametrize("duration", [timedelta(0), "00:00:00:00", "0 seconds"])
def test_no_time_at_all(duration: Any) -> None:
    """Lightning then trains no batch; here such a limit is refused."""
    with pytest.raises(SettingsError):
        TimeLimit(duration)
