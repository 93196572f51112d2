"""Ranks exchange errors, proposed decisions, requests, results and metrics at a barrier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainbus import RankError, SettingsError, decision
from trainbus.decision import NOTHING
from trainbus.distributed.coordinator import Coordinator
from trainbus.distributed.rendezvous import RankMismatch
from trainbus.engine.execution_result import ExecutionResult
from trainbus.engine.run_state import RunState

from .threads import ThreadRanks, on_all


class Receiver:
    """A receiver that records the requests of other ranks, and may end the run."""

    def __init__(self) -> None:
        self.received: list[Mapping[str, str]] = []
        self.ends = False

    def receive(self, what: Mapping[str, str]) -> None:
        self.received.append(what)

    def check(self) -> None:
        if self.ends:
            raise KeyboardInterrupt


def coordinator_of(ranks: ThreadRanks) -> tuple[Coordinator, RunState, Receiver]:
    state, receiver = RunState(), Receiver()
    coordinator = Coordinator(ranks, state)
    coordinator.stop = receiver
    return coordinator, state, receiver


def test_the_value_of_rank_0_is_broadcast() -> None:
    """Or an error, on whatever rank it was raised."""

    def play(ranks: ThreadRanks) -> list[Any]:
        coordinator, _, _ = coordinator_of(ranks)
        value = coordinator.broadcast({"rank": ranks.rank}, None)
        error = ZeroDivisionError("no") if ranks.rank == 1 else None
        with pytest.raises((ZeroDivisionError, RankError)) as raised:
            coordinator.broadcast(None, error)
        return [value, str(raised.value), coordinator.shared_error is raised.value]

    assert on_all(2, play) == [[{"rank": 0}, "rank 1: ZeroDivisionError: no", True], [{"rank": 0}, "no", True]]


@given(st.lists(st.booleans(), min_size=1, max_size=4))
@settings(max_examples=10)
def test_what_loops_have_proposed_is_pending_on_all_ranks_once(proposes: list[bool]) -> None:
    """From the next barrier on, of whatever kind."""

    def play(ranks: ThreadRanks) -> list[Any]:
        coordinator, _, _ = coordinator_of(ranks)
        if proposes[ranks.rank]:
            coordinator.proposed = decision.keep(f"slot {ranks.rank}")
        before = coordinator.pending()
        coordinator.barrier("on_epoch_begin")
        return [before, coordinator.pending(), coordinator.pending(), coordinator.proposed]

    together = NOTHING
    for rank, each in enumerate(proposes):
        together |= decision.keep(f"slot {rank}") if each else NOTHING
    assert on_all(len(proposes), play) == [[NOTHING, together, NOTHING, NOTHING]] * len(proposes)


def test_a_request_to_one_rank_reaches_all_at_the_next_barrier() -> None:
    """Also those whose thread has not looked yet."""

    def play(ranks: ThreadRanks) -> list[Mapping[str, str]]:
        coordinator, state, receiver = coordinator_of(ranks)
        if ranks.rank == 1:
            state.requested = "SIGTERM"
        coordinator.barrier("on_epoch_begin")
        return receiver.received

    assert on_all(2, play) == [[{"request": "SIGTERM"}]] * 2


def test_a_request_without_an_exception_is_one_on_all_ranks() -> None:
    """Also if a barrier is faster than the thread that looks."""

    def play(ranks: ThreadRanks) -> list[Mapping[str, str]]:
        coordinator, state, receiver = coordinator_of(ranks)
        if ranks.rank == 1:
            state.requested, state.quiet = "the clock", True
        coordinator.barrier("on_epoch_begin")
        return receiver.received

    assert on_all(2, play) == [[{"request": "the clock", "quiet": "yes"}]] * 2


def test_what_rank_0_has_written_comes_with_the_end_of_an_epoch() -> None:
    """It needs no separate barrier."""
    result = ExecutionResult(decision.stop("written"))

    def play(ranks: ThreadRanks) -> list[Any]:
        coordinator, _, _ = coordinator_of(ranks)
        if ranks.rank == 0:
            coordinator.results = result
        coordinator.barrier("on_epoch_begin")
        before = coordinator.results
        coordinator.barrier("on_epoch_end")
        return [before, coordinator.results]

    assert on_all(2, play) == [[result, result], [ExecutionResult(), result]]


def test_ranks_at_different_epochs_all_raise() -> None:
    """The error says which rank is at which epoch; if the run was asked to end, it ends instead."""

    def play(ranks: ThreadRanks) -> list[str]:
        coordinator, state, receiver = coordinator_of(ranks)
        state.epoch = ranks.rank
        raised: list[str] = []
        for receiver.ends in (False, True):
            with pytest.raises((RankError, KeyboardInterrupt)) as caught:
                coordinator.barrier("on_epoch_begin")
            assert not isinstance(caught.value, RankMismatch)
            raised.append(f"{type(caught.value).__name__}: {caught.value}")
        return raised

    where = 'RankError: the ranks are not in the same state: rank 0: {"epoch": 0}; rank 1: {"epoch": 1}'
    assert on_all(2, play) == [[where, "KeyboardInterrupt: "]] * 2


def test_metrics_that_another_rank_lacks_are_reduced_too() -> None:
    """The ranks first agree on a layout; validation metrics that one rank had are known to all."""

    def play(ranks: ThreadRanks) -> list[Any]:
        coordinator, state, _ = coordinator_of(ranks)
        state.means.add("loss", float(ranks.rank), 1)
        if ranks.rank == 1:
            state.means.add("val_loss", 3.0, 2)
            state.validated = True
        means = coordinator.reduce("on_epoch_end")
        assert means is not None
        return [means.read(), state.validated]

    assert on_all(2, play) == [[{"loss": 0.5, "val_loss": 3.0}, True]] * 2


def test_a_metric_of_two_kinds_is_refused_on_all_ranks() -> None:
    """It could not be reduced."""

    def play(ranks: ThreadRanks) -> bool:
        coordinator, state, _ = coordinator_of(ranks)
        state.means.add("loss", 1.0, 1, "max" if ranks.rank else "mean")
        with pytest.raises(SettingsError, match="'loss' is not the same on all ranks") as raised:
            coordinator.reduce("on_epoch_end")
        return coordinator.shared_error is raised.value

    assert on_all(2, play) == [True, True]


def test_a_rank_without_a_batch_ends_the_batches_of_the_loop_on_all() -> None:
    """A rank that reaches the epoch's end waits; the others report no more batches of this loop."""

    def play(ranks: ThreadRanks) -> tuple[int, bool]:
        coordinator, state, _ = coordinator_of(ranks)
        state.loops, stated = 1, 0
        for _ in range(2 + 3 * ranks.rank):
            if not coordinator.out_of_batches:
                stated += coordinator.reduce("on_batch_end") is not None
        coordinator.barrier("on_epoch_end")
        over = coordinator.out_of_batches
        state.loops = 2
        assert not coordinator.out_of_batches
        return stated, over

    assert on_all(2, play) == [(2, False), (2, True)]


def test_a_rank_that_has_left_shares_nothing() -> None:
    """An error inside is its own."""

    def play(ranks: ThreadRanks) -> None:
        coordinator, _, _ = coordinator_of(ranks)
        coordinator.left = True
        if ranks.rank == 1:
            with pytest.raises(ZeroDivisionError), coordinator.shared():
                raise ZeroDivisionError

    on_all(2, play)
