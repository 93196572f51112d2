"""Several processes decide as one: rank 0's decision counts, every rank executes it, and all ranks raise its errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.engine.parts import Parts, parts_for
from trainbus import Decision, RankError, Run, SettingsError, UnreadableCheckpoint, decision, hookimpl
from trainbus.checkpoints import Checkpoint
from trainbus.decision import NOTHING
from trainbus.distributed.rank_group import RankGroup
from trainbus.engine.bus import Bus
from trainbus.engine.execution_result import ExecutionResult
from trainbus.failures import Failures
from trainbus.resume.locate import locate
from trainbus.testing import LineSubject

from .threads import Meeting, ThreadRanks, on_all

T = TypeVar("T")


class Answers:
    """A plugin that answers the ends of epochs with a given decision, and keeps the metrics that it receives."""

    def __init__(self, answer: object = None) -> None:
        self.answer = answer
        self.metrics: dict[str, Any] = {}

    @hookimpl
    def on_epoch_end(self) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @hookimpl
    def on_validation_end(self, metrics: Mapping[str, Any]) -> None:
        self.metrics = dict(metrics)


class Stop:
    """A receiver of requests to end the run."""

    def __init__(self) -> None:
        self.received: list[Mapping[str, str]] = []

    def receive(self, what: Mapping[str, str]) -> None:
        self.received.append(what)

    def check(self) -> None: ...


def on_group(
    size: int, play: Callable[[RankGroup, Bus, Parts], T], plugin: Callable[[int], object] = lambda _: Answers()
) -> list[T]:
    """Return the results of each rank's group, which has met once, with a bus, its plugin, and an executor."""
    began: list[tuple[RankGroup, Parts]] = []

    def one(ranks: ThreadRanks) -> T:
        parts = parts_for(LineSubject(0.4))
        group = RankGroup(ranks, parts.state)
        bus = Bus(Failures(), group.bind)
        bus.register([("p", plugin(ranks.rank))])
        group.begin({}, Stop())
        began.append((group, parts))
        parts.state.start_epoch(0)
        return play(group, bus, parts)

    try:
        return on_all(size, one)
    finally:
        for group, parts in began:
            group.close(parts.executor)


def ask(bus: Bus) -> Decision:
    assert bus.on_epoch_end is not None
    results = bus.on_epoch_end(None, 0, {})
    return NOTHING if results is None else bus.join("on_epoch_end", results)


@given(st.integers(1, 4))
@settings(max_examples=8)
def test_the_decision_of_rank_0_is_that_of_all_ranks(size: int) -> None:
    """The answers of other ranks' plugins have no effect."""
    decided = on_group(size, lambda _, bus, __: ask(bus), lambda rank: Answers(decision.stop(f"rank {rank}")))

    assert decided == [decision.stop("rank 0").signed("p")] * size


@pytest.mark.parametrize("broken", [0, 1])
def test_an_error_of_a_plugin_on_one_rank_is_raised_on_all(broken: int) -> None:
    """The rank itself raises the original error; the others raise a ``RankError`` that names the rank."""

    def play(_: RankGroup, bus: Bus, __: Parts) -> str:
        with pytest.raises((OSError, RankError)) as raised:
            ask(bus)
        return f"{type(raised.value).__name__}: {raised.value}"

    words = on_group(2, play, lambda rank: Answers(OSError("full") if rank == broken else None))
    assert words[broken] == "OSError: full"
    assert words[1 - broken] == f"RankError: rank {broken}: OSError: full"


def test_an_error_inside_what_is_shared_is_raised_on_all() -> None:
    """Any rank may have raised it."""

    def play(group: RankGroup, _: Bus, __: Parts) -> str:
        with pytest.raises((OSError, RankError)) as raised, group.shared():
            if group.rank == 1:
                raise OSError("full")
        return str(raised.value)

    assert on_group(3, play) == ["rank 1: OSError: full", "full", "rank 1: OSError: full"]


def test_every_rank_executes_a_decision_and_rank_0_writes() -> None:
    """The result is the same on all, but for the run states of the checkpoints."""

    def play(group: RankGroup, _: Bus, parts: Parts) -> tuple[float, ExecutionResult]:
        asked = (decision.scale_learning_rate(0.5) | decision.save("m.npz")).signed("p")
        result = group.execute(asked, parts.executor)
        assert isinstance(parts.state.subject, LineSubject)
        return parts.state.subject.learning_rate, result

    (rate, result), *others = on_group(3, play)
    assert rate == 0.2
    assert [path.name for path in Path().glob("*.npz")] == ["m.npz"]
    assert len(result.committed[0].entry.run_state["other_ranks"]) == 2
    for other_rate, other in others:
        assert other_rate == rate
        assert other.to_json() == result.to_json()


def test_what_any_loop_decides_all_execute_when_they_meet() -> None:
    """It is proposed at once and executed once."""

    def play(group: RankGroup, bus: Bus, _: Parts) -> list[Decision]:
        proposed = group.propose(decision.keep(f"slot {group.rank}"))
        return [proposed, ask(bus), group.pending()]

    both = decision.keep("slot 0") | decision.keep("slot 1")
    assert on_group(2, play) == [[NOTHING, both, NOTHING]] * 2


def test_metrics_are_those_of_all_ranks() -> None:
    """Plugins that decide get them on every rank, and the group gives them at the end of an epoch."""
    plugins = [Answers(), Answers()]

    def play(group: RankGroup, bus: Bus, parts: Parts) -> tuple[float, float, float]:
        means = parts.state.means
        means.add("loss", float(group.rank), 1)
        means.add("val_loss", float(group.rank), 1 + 2 * group.rank)
        assert bus.on_validation_end is not None
        bus.on_validation_end(None, 0, means.read("val_"))
        reduced, result = group.end_epoch(means, parts.executor)
        assert result == ExecutionResult()
        return plugins[group.rank].metrics["val_loss"], reduced["val_loss"], reduced["loss"]

    assert on_group(2, play, plugins.__getitem__) == [(0.75, 0.75, 0.5)] * 2


def test_an_error_of_the_metrics_is_raised_where_all_can_raise_it() -> None:
    """At the barrier of the epoch's end; at once if no plugin decides there."""

    def play(group: RankGroup, bus: Bus, _: Parts) -> str:
        if group.rank == 1:
            group.defer(ValueError("no loss"))
        with pytest.raises((ValueError, RankError)) as raised:
            ask(bus)
        return str(raised.value)

    assert on_group(2, play) == ["rank 1: ValueError: no loss", "no loss"]
    undecided = RankGroup(ThreadRanks(Meeting(2), 0), parts_for().state)
    with pytest.raises(ValueError, match="no loss"):
        undecided.defer(ValueError("no loss"))


def test_other_callbacks_on_a_rank_are_refused_on_all() -> None:
    """With the option that differs."""

    def play(ranks: ThreadRanks) -> str:
        group = RankGroup(ranks, parts_for().state)
        with pytest.raises(SettingsError) as raised:
            group.begin({"EarlyStopping": {"patience": 1 + ranks.rank}}, Stop())
        return str(raised.value)

    difference = "EarlyStopping has patience=1 on rank 0 and 2 on rank 1"
    same = "list the same callbacks on every rank; rank 0 alone writes files"
    assert on_all(2, play) == [f"{difference}; {same}"] * 2


@pytest.mark.parametrize("broken", [{0}, {1}, {0, 1}])
def test_a_checkpoint_that_one_rank_cannot_read_is_skipped_by_all(broken: set[int]) -> None:
    """The newest one that all have read is loaded."""
    for step, name in enumerate(("a.npz", "b.npz"), start=1):
        parts = parts_for(LineSubject())
        parts.state.step = step
        parts.executor.execute(decision.save(name))

    def play(group: RankGroup, _: Bus, __: Parts) -> list[str]:
        loaded: list[str] = []

        def load(checkpoint: Checkpoint) -> None:
            if group.rank in broken and checkpoint.path.name == "b.npz":
                raise UnreadableCheckpoint("torn")
            loaded.append(checkpoint.path.name)

        group.restore(lambda share, without: locate(".", [], share, without), load, ".")
        return loaded[-1:]

    assert on_group(2, play) == [["a.npz"]] * 2


def test_a_rank_that_fails_alone_leaves_and_says_why() -> None:
    """It no longer waits for other ranks and executes nothing; the others find its error in the store."""
    stores: dict[str, str] = {}
    both_have_met = threading.Barrier(2)

    def play(group: RankGroup, _: Bus, parts: Parts) -> None:
        both_have_met.wait(30)
        if group.rank == 1:
            error = ValueError("bad batch")
            assert group.arrive(error, parts.executor) is error
            assert group.final_decision(decision.stop("x"), None) == (None, None)
            assert group.collect(parts.executor) == ExecutionResult()
            stores.update(group._ranks.meeting.notes)  # type: ignore[attr-defined]

    on_group(2, play)
    assert stores == {"left/1": "ValueError: bad batch"}


def test_all_ranks_end_together() -> None:
    """Rank 0's decision of the end is executed by all, and files are waited for."""

    def play(group: RankGroup, _: Bus, parts: Parts) -> list[Any]:
        arrived = group.arrive(None, parts.executor)
        final = group.final_decision(decision.stop(f"rank {group.rank}"), None)
        return [arrived, final, group.collect(parts.executor)]

    assert on_group(2, play) == [[None, (decision.stop("rank 0"), None), ExecutionResult()]] * 2


def test_a_state_that_no_checkpoint_can_store_is_refused_on_all_ranks() -> None:
    """Although one rank alone has it; no rank begins an epoch that the others would not join."""

    class Subject(LineSubject):
        def __init__(self, ranks: ThreadRanks) -> None:
            super().__init__()
            self._ranks = ranks

        def ranks(self) -> ThreadRanks:
            return self._ranks

    class Layer:
        def __init__(self, state: object) -> None:
            self.state = state

        @hookimpl
        def on_epoch_end(self) -> None: ...

        def state_dict(self) -> object:
            return {"weight": self.state}

        def load_state_dict(self, state: object) -> None: ...

    def play(ranks: ThreadRanks) -> str:
        run = Run(Subject(ranks), [Layer(object() if ranks.rank else 1)], progress=False, signals=())
        with pytest.raises((SettingsError, RankError)) as raised:
            run.begin()
        return str(raised.value)

    others, own = on_all(2, play)
    assert "Layer: state_dict(): ['weight'] is of type object, which is not plain data" in own
    assert others.startswith("rank 1: SettingsError: Layer: state_dict()")
