"""A signal, a stop file or another rank asks a run to end; it ends between two batches, and says how to continue."""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from trainbus.decision import NOTHING, REQUEST, Decision, Stop
from trainbus.distributed.group import Solo
from trainbus.engine.run_state import RunState
from trainbus.engine.stopping.stop_requests import StopRequests

SIGTERM = Stop(reason="SIGTERM asked for it", by=REQUEST)


class Together(Solo):
    """A process among others, which may stop when all have come to the same batch, and does no step for them."""

    def __init__(self) -> None:
        self.same_batch = False
        self.asked: list[Mapping[str, str]] = []

    def bind(self, name: str, step: Any) -> Any:
        return lambda *_: None

    def request_stop(self, what: Mapping[str, str]) -> None:
        self.asked.append(what)

    def may_stop(self) -> bool:
        return self.same_batch


@pytest.fixture
def listening() -> Iterator[tuple[StopRequests, RunState]]:
    """Requests of one process that listens to SIGTERM and to a stop file in "run"."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    Path("run").mkdir()
    state = RunState()
    requests = StopRequests("SIGTERM", state, Solo())
    requests.listen([Path("run")], lambda: True)
    yield requests, state
    requests.close_stop_file()
    requests.close()
    signal.signal(signal.SIGTERM, before)


def test_nothing_ends_a_run_that_nobody_asked_to_end() -> None:
    """Requests that do not listen yet, or no longer, have no effect."""
    state = RunState()
    requests = StopRequests(["SIGTERM"], state, Solo())
    requests.check()
    requests.check_stop_file()
    requests.exit(None, [])
    requests.close_stop_file()
    requests.close()

    assert (state.requested, state.interrupted, requests.decision()) == ("", False, NOTHING)


def test_a_signal_ends_the_run_at_the_next_check(listening: tuple[StopRequests, RunState]) -> None:
    """Once; the decision of the end is the request's."""
    requests, state = listening
    signal.raise_signal(signal.SIGTERM)
    assert (state.requested, state.interrupted, state.stop_actions) == ("SIGTERM", False, [SIGTERM])
    assert requests.decision() == NOTHING
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        requests.check()
    requests.check()

    assert requests.decision() == Decision(frozenset([SIGTERM]))


def test_a_stop_file_is_a_request_too(listening: tuple[StopRequests, RunState]) -> None:
    """The second request of a run changes nothing."""
    requests, state = listening
    Path("run/stop").touch()
    requests.check_stop_file()
    requests.request("SIGTERM")

    assert state.requested == "run/stop"
    assert [each.reason for each in state.stop_actions] == ["run/stop asked for it"]
    assert not Path("run/stop").exists()


def test_several_processes_end_at_the_same_batch() -> None:
    """All are asked; this one ends once it may."""
    state, group = RunState(), Together()
    requests = StopRequests(["SIGTERM"], state, group)
    requests.request("SIGTERM")
    requests.check()
    assert (group.asked, state.interrupted) == ([{"request": "SIGTERM"}], False)
    group.same_batch = True
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        requests.check()


def test_a_request_of_another_rank_is_recorded_once() -> None:
    """A signal asks this run to end as well; a stop of another loop is a decision of the loop."""
    state = RunState()
    requests = StopRequests(["SIGTERM"], state, Together())
    for _ in range(2):
        requests.receive({"stop": "reached the goal"})
        requests.receive({"request": "SIGTERM"})

    assert state.stop_actions == [Stop(reason="reached the goal", by="loop"), SIGTERM]
    assert state.requested == "SIGTERM"


def test_only_one_process_watches_for_a_stop_file_and_logs_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise each would remove the file before another sees it."""
    Path("run").mkdir()
    for group, watches in ((Together(), False), (Solo(), True)):
        state = RunState()
        requests = StopRequests([], state, group)
        requests.listen([Path("run")], lambda: True)
        Path("run/stop").touch()
        requests.check_stop_file()
        requests.close_stop_file()
        requests.close()
        assert bool(state.requested) == watches
        assert Path("run/stop").exists() != watches
        state.requested = "run/stop"
        caplog.clear()
        requests.exit(None, [OSError("no space")])
        assert (caplog.messages == ["run/stop: OSError: no space"]) == watches


def test_an_interrupted_run_logs_what_it_continues_from(
    listening: tuple[StopRequests, RunState], caplog: pytest.LogCaptureFixture
) -> None:
    """And what went wrong at its end; then the signal has its usual effect."""
    requests, state = listening
    came: list[int] = []
    requests.close()
    signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    requests = StopRequests(["SIGTERM"], state, Solo())
    requests.listen([], lambda: True)
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        requests.check()
    state.step = 15
    state.files.replace([Path("run/signal.npz")])
    requests.close()
    assert came == []
    requests.exit(None, [OSError("no space")])

    assert caplog.messages == [
        "SIGTERM: OSError: no space",
        "SIGTERM: the run ended in epoch 1 after 15 steps; resume='auto' continues from run/signal.npz",
    ]
    assert came == [signal.SIGTERM]


def test_requests_keep_no_run_alive() -> None:
    """A run that was lost listens to nothing."""
    state = RunState()
    requests = StopRequests(["SIGTERM"], state, Solo())
    requests.listen([], lambda: True)
    lost = weakref.ref(requests)
    del requests

    assert lost() is None
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.parametrize("signalled", [False, True])
def test_a_quiet_request_raises_nothing_unless_a_signal_comes_too(
    listening: tuple[StopRequests, RunState], signalled: bool
) -> None:
    requests, _ = listening
    requests.request("the clock", quiet=True)
    with pytest.raises(KeyboardInterrupt, match="the clock") as raised:
        requests.check()
    assert requests.ends_quietly(raised.value)
    assert not requests.ends_quietly(OSError())
    assert not requests.ends_quietly(None)
    if signalled:
        requests.receive({"request": "SIGTERM"})

    assert requests.ends_quietly(raised.value) != signalled


def test_a_quiet_request_is_a_quiet_one_on_every_rank() -> None:
    here, there = Together(), Together()
    asks, receives = StopRequests([], RunState(), here), StopRequests([], state := RunState(), there)
    asks.request("the clock", quiet=True)
    (message,) = here.asked
    receives.receive(message)

    assert state.requested == "the clock"
    assert there.asked == [message]
