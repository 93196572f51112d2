"""A training without events is reported with its stacks, at once, and no other training is."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run, SettingsError, hookimpl, journal
from trainbus.cli.explain import explain
from trainbus.plugins import ModelCheckpoint, Watchdog
from trainbus.testing import LineSubject

JOURNAL = Path("run/journal.jsonl")


def hang() -> None:
    """Wait until the journal has the hang."""
    while not (JOURNAL.exists() and '"hang"' in JOURNAL.read_text()):
        threading.Event().wait(0.01)


def hangs() -> list[journal.HangReported]:
    return [each for each in journal.read(JOURNAL)[0].events if isinstance(each, journal.HangReported)]


def in_a_batch(run: Run) -> None:
    for _ in run.epochs(2):
        for batch in run.batches(range(3)):
            run.log(loss=1.0)
            if batch == 1 and run.epoch == 1:
                hang()


def in_the_loader(run: Run) -> None:
    def loader() -> Iterator[int]:
        yield from range(2)
        if run.epoch == 1:
            hang()

    for _ in run.epochs(2):
        for _ in run.batches(loader()):
            run.log(loss=1.0)


def in_a_validation(run: Run) -> None:
    for epoch in run.epochs(2):
        with run.validation():
            run.log(loss=1.0)
            if epoch == 1:
                hang()


def between_epochs(run: Run) -> None:
    for _ in run.epochs(2):
        run.log(loss=1.0)
    hang()


def in_a_thread_that_is_waited_for(run: Run) -> None:
    for _ in run.epochs(2):
        run.log(loss=1.0)
    thread = threading.Thread(target=hang)
    thread.start()
    thread.join()


class HangsInAHook:
    @hookimpl
    def on_epoch_end(self, epoch: int) -> None:
        if epoch == 1:
            hang()


def in_a_plugin(run: Run) -> None:
    for _ in run.epochs(2):
        run.log(loss=1.0)


@pytest.mark.parametrize(
    "loop",
    [in_a_batch, in_the_loader, in_a_validation, between_epochs, in_a_thread_that_is_waited_for, in_a_plugin],
    ids=lambda each: each.__name__,
)
def test_a_hang_is_in_the_journal_before_the_next_event(
    loop: Callable[[Run], None], capsys: pytest.CaptureFixture[str], logged: Callable[[], list[str]]
) -> None:
    """And on standard error, with the function that hangs; one report for each hang, and one line when it is over."""
    extra = [HangsInAHook()] if loop is in_a_plugin else []
    with Run(LineSubject(), [ModelCheckpoint("run/m"), Watchdog("0.15 seconds"), *extra], verbose=0) as run:
        loop(run)
    (found,) = hangs()

    assert found.reason.startswith("no event for 0.15 seconds since batch ")
    assert "in hang" in found.stacks
    assert f"Watchdog: {found.reason}\n{found.stacks}\n" in capsys.readouterr().err
    assert run.failures == []
    assert any(found.reason in line for line in explain(journal.read(JOURNAL)[0]).splitlines())
    assert "trainbus-watchdog" not in [each.name for each in threading.enumerate()]


def test_a_process_that_hangs_ends_itself_if_asked_to() -> None:
    """With the status for a failure that a new attempt may not have, although its main thread never wakes up."""
    script = (
        "import threading, trainbus\n"
        "from trainbus.plugins import ModelCheckpoint, Watchdog\n"
        "from trainbus.testing import LineSubject\n"
        "def stuck(): threading.Event().wait()\n"
        "with trainbus.Run(LineSubject(), [ModelCheckpoint('run/m'), Watchdog('0.3 seconds', end=True)]) as run:\n"
        "    for epoch in run.epochs(2):\n"
        "        run.log(val_loss=1.0)\n"
        "        if epoch: stuck()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)

    assert ended.returncode == 75
    assert "in stuck" in ended.stderr
    assert "Watchdog: the process ends with status 75" in ended.stderr
    assert len(hangs()) == 1
    run = Run(LineSubject(), [ModelCheckpoint("run/m"), Watchdog("1 hour")], resume="auto")
    run.begin()
    assert run.resumed is not None
    run.end()


class Clocks:
    """Clocks that a test sets, and a watch that reads them."""

    def __init__(self, patch: pytest.MonkeyPatch, limit: str = "100 seconds") -> None:
        self.now, self.wall = 1000.0, 5e8
        patch.setattr(time, "monotonic", lambda: self.now)
        patch.setattr(time, "time", lambda: self.wall)
        self.watch: Any = Watchdog(limit).plugin()
        self.watch.run = self.run = Run()
        self.watch.since = self.watch.looked = self.now
        self.watch.wall = self.wall
        self.reports: list[float] = []
        self.watch.report = lambda: self.reports.append(self.now)

    def pass_time(self, seconds: float, wall: float | None = None) -> None:
        self.now += seconds
        self.wall += seconds if wall is None else wall
        self.watch.look()


@given(st.lists(st.booleans(), max_size=60))
def test_it_reports_a_hang_once_the_limit_has_passed_since_the_last_event(events: list[bool]) -> None:
    """Once for each time without events, at the first look at which it is that long."""
    with pytest.MonkeyPatch.context() as patch:
        clocks = Clocks(patch)
        clocks.pass_time(0)
        last, reported, expected = clocks.now, False, []
        for event in events:
            clocks.run.state.counters.steps += event
            clocks.pass_time(10)
            if event:
                last, reported = clocks.now, False
            elif clocks.now - last >= 100 and not reported:
                reported = True
                expected.append(clocks.now)

    assert clocks.reports == expected


@pytest.mark.parametrize(
    ("monotonic", "wall"),
    [(3600, 3600), (0, 3600), (10, 86_400), (500, 500), (99_999, 0), (130, 130)],
)
def test_a_process_that_was_stopped_does_not_hang(
    monotonic: float, wall: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suspended laptop, SIGSTOP, or a clock that was set: the time without events starts again."""
    clocks = Clocks(monkeypatch)
    clocks.pass_time(10)
    for _ in range(3):
        clocks.pass_time(monotonic, wall)
        for _ in range(9):
            clocks.pass_time(10)
    assert clocks.reports == []

    clocks.pass_time(10)
    assert clocks.reports == [clocks.now]


def test_a_process_in_a_debugger_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    scope: dict[str, Any] = {"__name__": "pdb", "clocks": clocks}
    exec("def pause():\n    for _ in range(50):\n        clocks.pass_time(10)", scope)
    scope["pause"]()

    assert clocks.reports == []


@pytest.mark.parametrize("event", ["step", "log", "epoch", "decision", "file", "validation", "batch"])
def test_each_of_these_is_an_event(event: str) -> None:
    with Run() as run:
        run.begin_epoch(0)
        run.log(loss=1.0)
        watch: Any = run.plugins.get("Watchdog") or Watchdog("1 hour").plugin()
        watch.run = run
        before = watch.where()
        assert watch.where() == before
        events: dict[str, Callable[[], object]] = {
            "step": lambda: setattr(run, "step", 1),
            "log": lambda: run.log(loss=1.0),
            "epoch": lambda: run.begin_epoch(1),
            "decision": lambda: run.stop("enough"),
            "file": lambda: run.state.files.log.append((Path("m"), True)),
            "validation": lambda: setattr(run.state, "validating", True),
            "batch": lambda: run.count_batches(3),
        }
        events[event]()
        assert watch.where() != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "limit is required"),
        ({"limit": 600}, 'as in "600 seconds"'),
        ({"limit": "10 min"}, "write 'minutes'"),
        ({"timeout": 5, "limit": "1 hour"}, r"timeout: unknown option; write the time first, as in Watchdog\("),
        ({"limit": "1 hour", "end": "yes"}, "end='yes': give True or False"),
        ({"limit": timedelta(0)}, "above 0"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Watchdog(**options)
