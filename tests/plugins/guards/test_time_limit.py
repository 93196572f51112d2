"""A time limit ends a run between two batches, saves it, and a resumed run trains as one that was never ended."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run, SettingsError, callbacks_from, hookimpl
from trainbus.plugins import ModelCheckpoint, TimeLimit
from trainbus.settings.durations import seconds_in
from trainbus.testing import LineSubject

from ..trainings import TRAININGS

FUTURE = datetime.now(UTC) + timedelta(days=1)


class TimeIsUp:
    """Lets the time of the limit be up at the end of the batch with this step."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def on_batch_end(self, run: Run, step: int) -> None:
        if step == self.step:
            timer: Any = run.plugins["TimeLimit"]
            timer.used = timer.seconds
            timer.look()


def training(run: Run, epochs: int = 3, batches: int = 4) -> Run:
    with run:
        for _ in run.epochs(epochs):
            for batch in run.batches(range(batches)):
                run.log(loss=float(batch))
    return run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r'until=None: give a time: TimeLimit\("10 minutes"\)'),
        ({"limit": None}, r"until=None: give a time"),
        ({"limit": "1 hour", "until": FUTURE}, r"until=.*limit='1 hour' is given too; give one"),
        ({"until": FUTURE, "over_resumes": True}, r"over_resumes=True: until= .*; leave over_resumes out"),
        ({"limit": 600}, r'limit=600: give the number with its unit, as in "600 seconds"'),
        ({"limit": "10 minuts"}, r"limit='10 minuts': unknown unit 'minuts'; did you mean 'minutes'"),
        ({"limit": "00:12:00:00"}, r'as in "12 hours"'),
        ({"limit": timedelta(0)}, r"give a time above 0"),
        (
            {"duration": "1 hour", "limit": "1 hour"},
            r"duration: unknown option; write the time first, as in TimeLimit\(",
        ),
        ({"limit": "1 hour", "margin": "10 minutes"}, r"margin: unknown option; write TimeLimit.slurm\(margin="),
        ({"until": "tomorrow"}, r"until='tomorrow'"),
    ],
)
def test_options_that_contradict_or_say_no_time_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TimeLimit(**options)


@pytest.mark.parametrize("limit", ["2 hours", timedelta(hours=2), timedelta(minutes=120)])
def test_a_limit_is_text_or_a_timedelta(limit: str | timedelta) -> None:
    callback = TimeLimit(limit)  # type: ignore[arg-type]
    assert callback == TimeLimit("2 hours") == callbacks_from([json.loads(json.dumps(callback.settings()))])[0]


def test_a_run_ends_when_its_time_is_up_without_an_exception(logged: Callable[[], list[str]]) -> None:
    """In an endless loop over batches; the line says what a resume continues from, or that nothing was saved."""
    run = Run(LineSubject(), TimeLimit("0.05 seconds"))
    with run:
        for _ in run.epochs():
            for _ in run.batches(itertools.count()):
                run.log(loss=1.0)

    assert run.result.reason == "TimeLimit('0.05 seconds') asked for it"
    assert (run.error, run.state.interrupted, list(run.history)) == (None, True, [])
    assert logged() == [
        f"TimeLimit('0.05 seconds'): the run ended in epoch 1 after {run.step} steps; nothing was saved"
    ]
    assert "trainbus-time-limit" not in [each.name for each in threading.enumerate()]


def test_a_run_without_batches_ends_after_its_epoch() -> None:
    with Run(callbacks=TimeLimit("0.01 seconds")) as run:
        for _ in run.epochs():
            while not run.state.requested:
                threading.Event().wait(0.001)
            run.log(loss=1.0)

    assert run.history == {"loss": [1.0]}


def test_a_time_that_is_not_up_changes_nothing() -> None:
    run = training(Run(LineSubject(), [TimeLimit("1 hour"), TimeLimit(until=FUTURE)]))

    assert (run.result.reason, run.step) == ("all epochs done", 12)


@pytest.mark.parametrize("framework", TRAININGS)
def test_a_resumed_run_trains_as_one_that_was_never_ended(framework: str) -> None:
    """On every framework the run ends in the middle of an epoch, with the file "signal", and continues there."""
    train = TRAININGS[framework]
    whole = train([ModelCheckpoint("whole/m")])
    step = whole.step // 2 + 1
    first = train([ModelCheckpoint("run/m"), TimeLimit("1 hour"), TimeIsUp(step)])
    assert (first.step, first.error, first.state.interrupted) == (step, None, True)
    assert [Path(str(each)).stem for each in first.state.files][-1] == "signal"
    again = train([ModelCheckpoint("run/m"), TimeLimit("1 hour"), TimeIsUp(-1)], resume="auto")

    assert again.resumed is not None
    assert again.resumed.step == step
    assert again.step == whole.step
    assert again.history["loss"] == whole.history["loss"]
    assert not list(Path("run").glob("signal*"))


@pytest.mark.parametrize("counts", [True, False])
def test_the_time_before_a_resume_counts_where_asked(counts: bool, logged: Callable[[], list[str]]) -> None:
    callbacks = [ModelCheckpoint("run/m"), TimeLimit("1 hour", over_resumes=counts)]
    training(Run(LineSubject(), [*callbacks, TimeIsUp(6)]))
    run = training(Run(LineSubject(), [*callbacks, TimeIsUp(-1)], resume="auto"))

    assert run.step in ((6, 7) if counts else (12,))
    assert (
        any("is used up: the run ends after at most one batch; give more time" in each for each in logged()) == counts
    )


def test_a_finished_run_stays_finished_though_its_time_is_used_up() -> None:
    callbacks = [ModelCheckpoint("run/m"), TimeLimit("0.2 seconds", over_resumes=True)]
    training(Run(LineSubject(), callbacks))
    used = json.loads('{"used": 5.0}')
    run = Run(LineSubject(), callbacks, resume="auto")
    plugin: Any = run.plugins["TimeLimit"]
    with run:
        plugin.load_state_dict(used)
        assert list(run.epochs(3)) == []

    assert not run.state.interrupted


@pytest.mark.parametrize("ago", [timedelta(seconds=1), timedelta(hours=3), timedelta(days=4000)])
def test_a_time_that_has_passed_is_refused_before_the_training(ago: timedelta) -> None:
    limit = TimeLimit(until=datetime.now(UTC) - ago)
    with pytest.raises(SettingsError, match=r"until='.*' was .* ago, before the training; give a later time"):
        training(Run(LineSubject(), limit))


def test_a_limit_whose_end_no_file_keeps_is_reported_before_the_training(logged: Callable[[], list[str]]) -> None:
    training(Run(LineSubject(), [ModelCheckpoint("run/m", save_on="end"), TimeLimit("1 hour")]))

    assert logged() == [
        'TimeLimit: nothing is saved when the time is up; let ModelCheckpoint(save_on=...) include "signal"'
    ]


@given(st.integers(60, 10**6), st.integers(1, 10**9))
def test_slurm_ends_a_margin_before_the_job(margin: int, end: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_JOB_END_TIME", str(end))
        limit = TimeLimit.slurm(timedelta(seconds=margin))

    assert limit.until is not None
    assert limit.until.timestamp() == end - margin


@pytest.mark.parametrize(
    ("value", "margin", "message"),
    [
        (None, "10 minutes", "SLURM_JOB_END_TIME is not set, so this is no job of Slurm .*; give the time itself"),
        ("", "10 minutes", "SLURM_JOB_END_TIME is '', not a time in seconds; give the time itself"),
        ("Unknown", "10 minutes", "SLURM_JOB_END_TIME is 'Unknown', not a time in seconds"),
        ("2026-01-01", "10 minutes", "SLURM_JOB_END_TIME is '2026-01-01', not a time in seconds"),
        ("9" * 30, "10 minutes", "SLURM_JOB_END_TIME is '9+', not a time in seconds"),
        ("2000000000", "10 minuts", "margin='10 minuts': unknown unit 'minuts'"),
        ("2000000000", 10, 'margin=10: give the number with its unit, as in "10 seconds"'),
    ],
)
def test_slurm_refuses_what_says_no_time(
    value: str | None, margin: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    if value is not None:
        monkeypatch.setenv("SLURM_JOB_END_TIME", value)
    with pytest.raises(SettingsError, match=message):
        TimeLimit.slurm(margin)


def test_another_limit_of_a_resumed_job_is_no_difference_but_another_length_is() -> None:
    later = TimeLimit(until=FUTURE + timedelta(days=1))
    assert TimeLimit(until=FUTURE).effective_settings() == later.effective_settings()
    assert TimeLimit("60 minutes").effective_settings() == TimeLimit("1 hour").effective_settings()
    assert TimeLimit("2 hours").effective_settings() != TimeLimit("1 hour").effective_settings()


@pytest.mark.parametrize("saved", [None, {}, {"used": -1.0}, {"used": float("nan")}, {"used": "1"}, [1.0]])
def test_a_forged_state_is_refused(saved: object) -> None:
    plugin: Any = TimeLimit("1 hour").plugin()
    with pytest.raises(ValueError, match=r"input|field"):
        plugin.check_state_dict(saved)


@pytest.mark.parametrize("text", ["00:12:00:00", "01:06:00:30", "00:00:00:01"])
def test_a_limit_that_lightning_takes_is_refused_with_its_equal(text: str) -> None:
    """Lightning's Timer reads DD:HH:MM:SS; the message gives the same time in words."""
    timer = pytest.importorskip("lightning.pytorch.callbacks").Timer(duration=text)
    with pytest.raises(SettingsError) as refused:
        TimeLimit(text)

    assert seconds_in(str(refused.value).split('"')[1]) == timer.time_remaining()


def test_a_time_of_day_follows_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set, or a machine that was suspended, changes what is left; a length of time it does not."""
    until, length = TimeLimit(until=FUTURE).plugin(), TimeLimit("1 hour").plugin()
    now = time.time()
    with Run() as run:
        for plugin in (until, length):
            plugin.on_train_begin(run)  # type: ignore[attr-defined]
        monkeypatch.setattr(time, "time", lambda: now + 2 * 86_400)

        assert until.left() < 0  # type: ignore[attr-defined]
        assert 0 < length.left() <= 3600  # type: ignore[attr-defined]
