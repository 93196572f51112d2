"""Several processes decide as one: rank 0's decision counts, every rank executes it, and all ranks raise its errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.engine.parts import Parts, parts_for
from trainbus import Decision, MissingMetric, RankError, Run, SettingsError, decision, hookimpl
from trainbus.decision import NOTHING
from trainbus.distributed.rank_group import RankGroup
from trainbus.engine.bus import Bus
from trainbus.engine.execution_result import ExecutionResult
from trainbus.failures import Failures
from trainbus.metrics.running_means import RunningMeans
from trainbus.plugins import EarlyStopping, ModelCheckpoint
from trainbus.testing import LineSubject

from .threads import ThreadRanks, on_all

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


class Trained(LineSubject):
    """A line that these processes train."""

    def __init__(self, ranks: ThreadRanks) -> None:
        super().__init__()
        self._ranks = ranks

    def ranks(self) -> ThreadRanks:
        return self._ranks


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
            with suppress(threading.BrokenBarrierError), group.end(RankError("the test is over"), parts.executor):
                pass


def ask(bus: Bus) -> Decision:
    assert bus.on_epoch_end is not None
    return bus.on_epoch_end(None, 0, {}) or NOTHING


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


class EndsBadly:
    """A plugin that raises on one rank when the training is over, or lists what one rank cannot do."""

    def __init__(self, error: Exception | None, answer: Decision | None) -> None:
        self.error, self.answer = error, answer

    @hookimpl
    def on_train_end(self) -> Decision | None:
        if self.error is not None:
            raise self.error
        return self.answer


@pytest.mark.parametrize("broken", [0, 1, 2])
@pytest.mark.parametrize("error", [ValueError("no"), OSError("full"), None])
def test_an_error_at_the_end_of_any_rank_saves_the_file_exception(broken: int, error: Exception | None) -> None:
    """Once, by rank 0, with the final model; of what a rank cannot execute as well."""

    def play(ranks: ThreadRanks) -> str:
        is_broken = ranks.rank == broken
        answer = decision.keep("start") if error is None else None
        model = Trained(ranks)
        if is_broken and error is None:
            model.snapshot = lambda: 1 / 0  # type: ignore[method-assign]
        bad = EndsBadly(error if is_broken else None, answer)
        errors = (ValueError, OSError, RankError, ZeroDivisionError)
        run = Run(model, [bad, ModelCheckpoint("m", save_on=("exception",))], verbose=0)
        with pytest.raises(errors) as raised, run:
            for epoch in run.epochs(2):
                model.slope += epoch
                run.log(loss=1.0)
        return type(raised.value).__name__

    raised = on_all(3, play)
    own = "ZeroDivisionError" if error is None else type(error).__name__
    assert raised == [own if rank == broken else "RankError" for rank in range(3)]
    assert np.load("exception.npz")["slope"] == 1


def test_an_error_of_a_step_is_raised_on_all() -> None:
    """Any rank may have raised it; without one each rank has the result of its own."""

    def play(group: RankGroup, _: Bus, __: Parts) -> str:
        def step(failing: int) -> int:
            if group.rank == failing:
                raise OSError("full")
            return group.rank

        bound = group.bind("check_plugins", step)
        assert bound(9) == group.rank
        with pytest.raises((OSError, RankError)) as raised:
            bound(1)
        return str(raised.value)

    assert on_group(3, play) == ["rank 1: OSError: full", "full", "rank 1: OSError: full"]


def test_some_steps_are_done_by_rank_0_alone() -> None:
    """All ranks raise the error of one that they wait for."""
    done: list[tuple[str, int]] = []

    def play(group: RankGroup, _: Bus, __: Parts) -> str:
        def step(name: str) -> None:
            done.append((name, group.rank))
            if name == "lock_directories":
                raise OSError("locked")

        group.bind("watch_stop_file", step)("watch_stop_file")
        with pytest.raises((OSError, RankError)) as raised:
            group.bind("lock_directories", step)("lock_directories")
        return str(raised.value)

    assert on_group(2, play) == ["locked", "rank 0: OSError: locked"]
    assert done == [("watch_stop_file", 0), ("lock_directories", 0)]


def test_rank_0_knows_what_is_left_to_do() -> None:
    """Every rank executes it."""

    def play(group: RankGroup, _: Bus, parts: Parts) -> list[Any]:
        def remaining() -> ExecutionResult:
            assert group.rank == 0
            return ExecutionResult(decision.keep("slot"))

        left = group.bind("remaining_actions", remaining)()
        return [left, group.execute(left.done, parts.executor, lambda _: None), list(parts.executor.snapshots)]

    kept = ExecutionResult(decision.keep("slot"))
    assert on_group(2, play) == [[kept, kept, ["slot"]]] * 2


def test_every_rank_executes_a_decision_and_rank_0_writes() -> None:
    """The result is the same on all, but for the run states of the checkpoints."""
    asked = decision.scale_learning_rate(0.5) | decision.save("m.npz")

    def play(group: RankGroup, bus: Bus, parts: Parts) -> tuple[float, ExecutionResult]:
        result = group.execute(ask(bus), parts.executor, lambda _: None)
        assert isinstance(parts.state.subject, LineSubject)
        return parts.state.subject.learning_rate, result

    (rate, result), *others = on_group(3, play, lambda _: Answers(asked))
    assert rate == 0.2
    assert [path.name for path in Path().glob("*.npz")] == ["m.npz"]
    assert len(result.committed[0].entry.run_state["other_ranks"]) == 2
    for other_rate, other in others:
        assert other_rate == rate
        assert other.to_json() == result.to_json()


def test_what_any_loop_decides_all_execute_when_they_meet() -> None:
    """It is proposed at once and executed once."""

    def play(group: RankGroup, bus: Bus, parts: Parts) -> list[object]:
        proposed = group.execute(decision.keep(f"slot {group.rank}"), parts.executor, lambda _: None)
        agreed = ask(bus)
        return [
            proposed,
            agreed,
            group.execute(agreed, parts.executor, lambda _: None),
            sorted(parts.executor.snapshots),
            ask(bus),
        ]

    both = decision.keep("slot 0") | decision.keep("slot 1")
    expected = [ExecutionResult(), both, ExecutionResult(both), ["slot 0", "slot 1"], NOTHING]
    assert on_group(2, play) == [expected] * 2


def test_metrics_are_those_of_all_ranks() -> None:
    """Plugins that decide get them on every rank, and the group gives them at the end of an epoch."""
    plugins = [Answers(), Answers()]

    def play(group: RankGroup, bus: Bus, parts: Parts) -> tuple[float, float, float]:
        means = parts.state.means
        means.add("loss", float(group.rank), 1)
        means.add("val_loss", float(group.rank), 1 + 2 * group.rank)
        assert bus.on_validation_end is not None
        bus.on_validation_end(None, 0, means.read_validation())
        written = ExecutionResult(decision.stop(f"rank {group.rank}"))
        reduced, result = group.bind("epoch_results", lambda: (means, written))()
        assert result == ExecutionResult(decision.stop("rank 0"))
        return plugins[group.rank].metrics["val_loss"], reduced["val_loss"], reduced["loss"]

    assert on_group(2, play, plugins.__getitem__) == [(0.75, 0.75, 0.5)] * 2


def test_a_file_that_rank_0_could_not_write_is_an_error_on_all_ranks() -> None:
    """With the metrics of the epoch."""

    def play(group: RankGroup, _: Bus, parts: Parts) -> str:
        def results() -> tuple[RunningMeans, ExecutionResult]:
            if group.rank == 0:
                raise OSError("full")
            return parts.state.means, ExecutionResult()

        with pytest.raises((OSError, RankError)) as raised:
            group.bind("epoch_results", results)()
        return str(raised.value)

    assert on_group(2, play) == ["full", "rank 0: OSError: full"]


def test_a_metric_that_one_rank_lacks_is_an_error_on_all() -> None:
    """Every rank reads the monitors at the end of the epoch, before the plugins."""

    def play(ranks: ThreadRanks) -> str:
        run = Run(Trained(ranks), [EarlyStopping(monitor="score", mode="max")], verbose=0, signals=())
        with pytest.raises((MissingMetric, RankError)) as raised, run:
            for _ in run.epochs(1):
                run.begin_validation()
                run.end_epoch({"loss": 1.0} if ranks.rank else {"score": 1.0})
        return str(raised.value)

    first, own = on_all(2, play)
    assert first.startswith("rank 1: MissingMetric: ")
    assert "'score'" in own


def test_each_validation_of_all_ranks_measures_anew() -> None:
    """A rank without a batch in the last one adds nothing of an earlier one; what rank 0 knows, all know."""

    def play(ranks: ThreadRanks) -> dict[str, list[Any]]:
        waits = EarlyStopping(monitor="fid", mode="min", patience=1)
        with Run(Trained(ranks), [waits], verbose=0, signals=()) as run:
            for epoch in run.epochs(3):
                for losses in ([10.0, 20.0], [2.0] if ranks.rank else []):
                    with run.validation():
                        for loss in losses:
                            run.log(loss=loss + ranks.rank)
                if ranks.rank == 0:
                    run.log(fid=None if epoch < 2 else 1.0)
        return run.history

    expected = {"learning_rate": [0.5] * 3, "val_loss": [3.0] * 3, "fid": [None, None, 1.0]}
    assert on_all(2, play) == [expected] * 2


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


def last(group: RankGroup) -> tuple[Decision, list[Exception]]:
    """Return what a group makes of this rank's last decision."""
    return group.bind("last_decision", lambda: (decision.stop(f"rank {group.rank}"), list[Exception]()))()


def test_a_rank_that_fails_alone_leaves_and_says_why() -> None:
    """It no longer waits for other ranks and executes nothing; the others find its error in the store."""
    stores: dict[str, str] = {}
    both_have_met = threading.Barrier(2)

    def play(group: RankGroup, _: Bus, parts: Parts) -> None:
        both_have_met.wait(30)
        if group.rank == 1:
            error = ValueError("bad batch")
            with group.end(error, parts.executor) as ended_by:
                assert ended_by is error
                assert last(group) == (NOTHING, [])
                assert group.bind("last_files", lambda: ExecutionResult(decision.stop("x")))() == ExecutionResult()
            stores.update(group._ranks.meeting.notes)  # type: ignore[attr-defined]

    on_group(2, play)
    assert stores == {"left/1": "ValueError: bad batch"}


def test_all_ranks_end_together() -> None:
    """Rank 0's decision of the end is executed by all, and files are waited for."""

    def play(group: RankGroup, _: Bus, parts: Parts) -> list[Any]:
        with group.end(None, parts.executor) as ended_by:
            final = last(group)
            written = ExecutionResult(decision.stop(f"written by {group.rank}"))
            return [ended_by, final, group.bind("last_files", lambda: written)()]

    written = ExecutionResult(decision.stop("written by 0"))
    assert on_group(2, play) == [[None, (decision.stop("rank 0"), []), written]] * 2


def test_a_state_that_no_checkpoint_can_store_is_refused_on_all_ranks() -> None:
    """Although one rank alone has it; no rank begins an epoch that the others would not join."""

    class Layer:
        def __init__(self, state: object) -> None:
            self.state = state

        @hookimpl
        def on_epoch_end(self) -> None: ...

        def state_dict(self) -> object:
            return {"weight": self.state}

        def load_state_dict(self, state: object) -> None: ...

    def play(ranks: ThreadRanks) -> str:
        run = Run(Trained(ranks), [Layer(object() if ranks.rank else 1)], verbose=0, signals=())
        with pytest.raises((SettingsError, RankError)) as raised:
            run.begin()
        return str(raised.value)

    others, own = on_all(2, play)
    assert "Layer: state_dict(): ['weight'] is of type object, which is not plain data" in own
    assert others.startswith("rank 1: SettingsError: Layer: state_dict()")
