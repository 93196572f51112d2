"""A run restores its checkpoint and its loops continue where it was interrupted; without one, nothing is restored."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainbus import CheckpointError, SettingsError, UnreadableCheckpoint, decision
from trainbus.decision import NOTHING, Decision
from trainbus.distributed.group import Solo
from trainbus.engine.execution_result import ExecutionResult
from trainbus.engine.finished_run import FinishedRun
from trainbus.engine.plan import EpochPlan
from trainbus.engine.resumer import Resumer
from trainbus.resume.end_record import EndRecords
from trainbus.resume.locate import locate
from trainbus.resume.resumption import Resumption
from trainbus.resume.state import Position
from trainbus.testing import LineSubject

from .parts import Parts, parts_for


def resumer_for(parts: Parts, source: Any = None, **options: Any) -> Resumer:
    state, failures, collector, executor = parts
    resumption = partial(Resumption, plugins={"Saver": object()}, callbacks={})
    find, group = partial(locate, callbacks=[]), Solo()
    bind = group.bind
    snapshots = executor.snapshots

    def execute(asked: Decision, record: Callable[[ExecutionResult], object]) -> ExecutionResult:
        return group.execute(asked, executor, record)

    end = FinishedRun(EndRecords(), lambda _: [], lambda *_: None, bind)
    return Resumer(source, find, resumption, state, snapshots, collector, failures, bind, execute, end, **options)


def saved(epochs: int, batches: int = 0) -> Path:
    """Save a run of one loop an epoch that has come so far."""
    parts = parts_for(LineSubject())
    parts.collector.enabled = True
    for epoch in range(epochs):
        parts.state.start_epoch(epoch)
        parts.state.step += 4
        parts.state.finish_epoch({"loss": float(epoch)})
    if batches:
        np.random.seed(8)  # noqa: NPY002 - loaders draw from the global one
        parts.state.start_epoch(epochs)
        parts.collector.enter_epoch()
        resumer_for(parts).begin_loop(np.random.permutation(6))  # noqa: NPY002
        parts.state.counters.trained_batches = batches
        parts.state.means.add("loss", 5.0)
        parts.state.step += batches
    parts.executor.execute(decision.save("m.npz"))
    return Path("m.npz")


def resumed(source: Any, **options: Any) -> tuple[Parts, Resumer]:
    parts = parts_for(LineSubject())
    resumer = resumer_for(parts, source, **options)
    resumer.restore()
    return parts, resumer


def test_a_run_without_a_source_starts_from_the_beginning() -> None:
    """Each loop iterates over its loader itself."""
    parts, resumer = resumed(None)
    parts.state.plan = EpochPlan(9)
    loaders = [range(3), range(2)]

    assert parts.state.resumed is None
    assert (resumer.mid_epoch, resumer.batches_to_skip, resumer.first_epoch(2)) == (False, 0, 2)
    assert resumer.finish_last_decision(lambda _: None) == ExecutionResult()
    resumer.finish()
    parts.state.start_epoch(0)
    for number, loader in enumerate(loaders, start=1):
        assert resumer.begin_loop(loader) == (loader, 0)
        assert parts.state.loops == number
    resumer.batches_skipped()


@pytest.mark.parametrize(("initial", "epochs", "first"), [(0, 5, 3), (4, 5, 4), (0, 3, 3), (0, 2, 3)])
def test_a_run_continues_with_the_epoch_after_those_that_ended(
    initial: int, epochs: int, first: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Or later if the loop begins later; if all are done, a warning says how to train on."""
    parts, resumer = resumed(saved(3))
    assert resumer.finish_last_decision(lambda _: None).done == decision.save("m.npz")
    resumer.finish()

    assert parts.state.position == Position(epochs=3)
    assert (parts.state.epoch, parts.state.step, parts.state.metrics) == (2, 12, {"loss": 2.0})
    parts.state.plan = EpochPlan(epochs)
    assert resumer.first_epoch(initial) == first
    assert (f"all {epochs} epochs are done" in caplog.text) == (epochs <= 3)
    assert resumer.begin_loop("ab") == ("ab", 0)


def test_an_interrupted_loop_continues_after_the_batches_that_it_trained_on() -> None:
    """With the order that it had drawn; the next loop is a loop as any other."""
    parts, resumer = resumed(saved(2, batches=2))
    resumer.finish_last_decision(lambda _: None)
    resumer.finish()
    assert (resumer.mid_epoch, resumer.batches_to_skip, resumer.first_epoch()) == (True, 2, 2)
    parts.state.start_epoch(2)
    resumer.reenter_epoch()
    assert parts.state.means["loss"] == 5.0
    expected = np.random.permutation(6)  # noqa: NPY002 - the generator is restored to what it was before the loop
    batches, first = resumer.begin_loop(list(expected))

    assert first == 2
    assert list(batches) == list(expected)[2:]
    assert not resumer.mid_epoch
    assert resumer.begin_loop("ab") == ("ab", 0)


def test_an_adapter_may_skip_the_batches_itself() -> None:
    """It says when it has, and the run is where it was interrupted."""
    _, resumer = resumed(saved(0, batches=3))
    assert resumer.batches_to_skip == 3
    resumer.batches_skipped()

    assert (resumer.batches_to_skip, resumer.mid_epoch) == (0, False)


def test_a_missing_or_damaged_checkpoint_is_refused_before_anything_changes() -> None:
    """A run that has restored nothing is as before."""
    parts = parts_for(LineSubject())
    with pytest.raises(SettingsError, match="no such file"):
        resumer_for(parts, "m.npz").restore()
    path = saved(1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged"):
        resumer_for(parts, "m.npz").restore()

    assert parts.state.resumed is None
    assert parts.state.decision_log == []
    assert parts.state.position == Position(epochs=0)


def test_what_was_left_of_the_last_decision_is_done() -> None:
    """A file that it deletes is deleted, and a file that it did not write is written, with the same decision."""
    saved(1)
    parts = parts_for(LineSubject())
    asked = (decision.save("a.npz") | decision.save("b.npz") | decision.forget("m.npz")).signed("Saver")
    parts.state.epochs_finished = parts.state.epochs_started = 1
    parts.executor.execute(asked)
    Path("b.npz").unlink()
    Path("trainbus.b.npz.json").unlink()
    saved(1)

    again, resumer = resumed("a.npz")
    result = resumer.finish_last_decision(lambda _: None)
    assert result.done == asked
    assert [each.path.name for each in result.committed] == ["a.npz", "b.npz"]
    assert sorted(each.name for each in Path().glob("*.npz")) == ["a.npz", "b.npz"]
    assert again.state.decision_log == [], "the caller records the result"
    assert resumer.finish_last_decision(lambda _: None).done != NOTHING


class Torn(LineSubject):
    """A line that cannot read some files."""

    torn: tuple[str, ...] = ()

    def load(self, path: Path) -> None:
        if path.name in self.torn:
            raise UnreadableCheckpoint("torn")
        super().load(path)


@pytest.mark.parametrize(("torn", "found"), [((), "c.npz"), (("c.npz", "b.npz"), "a.npz")])
def test_the_newest_checkpoint_that_can_be_read_is_loaded(
    torn: tuple[str, ...], found: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that cannot are skipped with a warning."""
    parts = parts_for(Torn())
    for name in ("a.npz", "b.npz", "c.npz"):
        parts.state.step += 1
        parts.executor.execute(decision.save(name))
    again = parts_for(subject := Torn())
    subject.torn = torn
    resumer_for(again, ".").restore()

    assert again.state.resumed is not None
    assert again.state.resumed.path.name == found
    assert caplog.messages == [f"skipped: {name}: torn" for name in torn]


@pytest.mark.parametrize("source", ["m.npz", "."])
def test_a_checkpoint_that_cannot_be_read_is_an_error(source: str) -> None:
    """An older one is not what the user asked for; a directory must have one that can be read."""
    parts = parts_for(subject := Torn())
    parts.executor.execute(decision.save("m.npz"))
    subject.torn = ("m.npz",)

    with pytest.raises(UnreadableCheckpoint if source == "m.npz" else SettingsError):
        resumer_for(parts, source).restore()
    assert parts.state.resumed is None
