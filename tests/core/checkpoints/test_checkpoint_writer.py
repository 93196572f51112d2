"""Checkpoints are written at once or by a thread; what could not be written is raised or reported."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.core.engine.parts import parts_for
from trainbus import CheckpointError, Decision, decision
from trainbus.checkpoints import read
from trainbus.checkpoints.async_writer import FailedSave, SaveJob
from trainbus.checkpoints.checkpoint_writer import CheckpointWriter, Written, plugins_with_failed_saves
from trainbus.checkpoints.snapshots import SnapshotStore
from trainbus.checkpoints.writer_group import WriterGroup
from trainbus.decision import Save
from trainbus.testing import LineSubject


class Slow(LineSubject):
    """A line that a thread writes once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_write = threading.Event()

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        copy = LineSubject()
        copy.restore(self.snapshot())

        def write(path: Path) -> object:
            self.may_write.wait(30)
            return copy.save(path, weights_only=weights_only)

        return write


class Uncopied(Slow):
    """A line whose state cannot be copied."""

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        raise CheckpointError("no memory")


def writer_for(subject: object) -> CheckpointWriter:
    _, failures, collector, _ = parts_for(subject)
    return CheckpointWriter(subject, SnapshotStore(), WriterGroup(subject), collector, failures)


def nothing(_: SaveJob) -> None: ...


def saves(asked: Decision) -> list[Save]:
    return [action for action in asked if isinstance(action, Save)]


def test_a_checkpoint_is_written_at_once() -> None:
    """With the state of the run in its manifest; it is reported once."""
    writer = writer_for(LineSubject())
    seen: list[SaveJob] = []
    writer.write(decision.save("a.npz", reason="good").signed("p"), background=False, after=seen.append)
    result = writer.collect(wait=False)

    (checkpoint,) = result.committed
    assert result == Written(committed=(checkpoint,))
    assert checkpoint == read(Path("a.npz"))
    assert (checkpoint.reason, checkpoint.entry.run_state["position"]["epochs"]) == ("good", 0)
    assert len(seen) == 1
    assert writer.collect(wait=True) == Written()


def test_a_thread_writes_the_state_of_the_time_of_the_decision() -> None:
    """It is not reported before it is written, unless somebody waits for it."""
    subject = Slow()
    writer = writer_for(subject)
    writer.write(decision.save("a.npz"), background=True, after=nothing)
    subject.slope += 5
    assert writer.collect(wait=False) == Written()
    subject.may_write.set()
    (checkpoint,) = writer.collect(wait=True).committed
    subject.load(checkpoint.path)

    assert subject.slope == 0


def test_an_abandoned_file_is_not_published() -> None:
    """The old file at its path stays."""
    subject = Slow()
    writer = writer_for(subject)
    writer.write(decision.save("a.npz"), background=True, after=nothing)
    writer.abandon()
    subject.may_write.set()
    writer.wait()

    assert not Path("a.npz").exists()


@pytest.mark.parametrize(
    ("subject", "asked", "possible"),
    [
        (LineSubject(), decision.save("a.npz"), False),
        (Slow(), decision.save("a.npz", background=True), True),
        (Slow(), decision.save("a.npz", background=True) | decision.save("b.npz"), False),
        (Slow(), decision.keep("slot"), True),
    ],
)
def test_files_are_written_in_the_background_if_subject_and_plugins_allow_it(
    subject: object, asked: Decision, possible: bool
) -> None:
    """One plugin that forbids it is enough."""
    assert writer_for(subject).writes_in_background(saves(asked)) == possible


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("policy", ["raise", "warn"])
def test_a_file_that_cannot_be_written_is_raised_or_reported(background: bool, policy: Any) -> None:
    """As the plugins that asked for it want it; they are named, and what is at its path stays."""
    Path("taken").touch()
    subject = Slow()
    subject.may_write.set()
    writer = writer_for(subject)
    ask = partial(decision.save, "taken/a.npz")
    writer.write(
        ask(on_error=policy).signed("p") | ask(on_error="warn").signed("q"), background=background, after=nothing
    )
    if policy == "raise":
        with pytest.raises(CheckpointError) as raised:
            writer.collect(wait=True)
        assert raised.value.__notes__ == ["asked for by p and q"]
        return
    result = writer.collect(wait=True)

    assert [each.path for each in result.failed] == [Path("taken/a.npz")]
    assert writer.requested_by(result.failed) == {"p", "q"}


def test_no_file_is_written_if_the_state_cannot_be_copied() -> None:
    """All files of the decision have failed, and what is called after the save gets them."""
    writer, seen = writer_for(Uncopied()), list[list[FailedSave]]()
    asked = decision.save("a.npz", on_error="warn") | decision.save("b.npz", on_error="warn")
    writer.write(asked, background=True, after=lambda job: seen.append(job.failed))
    result = writer.collect(wait=True)

    assert {each.path.name for each in result.failed} == {"a.npz", "b.npz"}
    assert [list(each) for each in seen] == [list(result.failed)]
    assert list(Path().iterdir()) == []


def test_the_plugins_of_failed_saves_are_those_that_asked_for_them() -> None:
    """Plugins with another path or another action are not included."""
    asked = decision.save("a").signed("p") | decision.save("b").signed("q") | decision.forget("a").signed("r")
    failed = [FailedSave(Path("a"), 0, CheckpointError("full"))]

    assert plugins_with_failed_saves(asked, failed) == {"p"}
    assert plugins_with_failed_saves(asked, []) == set()


class Halves(Slow):
    """A line that can give its weights, or its complete state, but not both."""

    def __init__(self, *, weights: bool) -> None:
        super().__init__()
        self.weights = weights
        self.may_write.set()

    def snapshot_writer(self, *, weights_only: bool) -> Callable[[Path], object]:
        if weights_only != self.weights:
            raise RuntimeError("no memory")
        return super().snapshot_writer(weights_only=weights_only)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("policy", ["raise", "warn"])
@pytest.mark.parametrize("names", [("a.npz", "b.npz"), ("b.npz", "a.npz")])
def test_a_file_without_its_state_does_not_keep_another_from_being_written(
    weights: bool, policy: Any, names: tuple[str, str]
) -> None:
    """The failure is raised or reported once the others are written."""
    writer, seen = writer_for(Halves(weights=weights)), list[SaveJob]()
    whole, part = names
    asked = decision.save(whole, on_error=policy) | decision.save(part, weights_only=True, on_error=policy)
    writer.write(asked, background=True, after=seen.append)
    written, lost = (part, whole) if weights else (whole, part)
    assert read(Path(written)).entry.weights_only == weights
    assert not Path(lost).exists()
    assert [each.path for each in seen[0].failed] == [Path(lost)]
    if policy == "raise":
        with pytest.raises(CheckpointError, match="the state cannot be saved: RuntimeError: no memory"):
            writer.collect(wait=False)
    else:
        result = writer.collect(wait=False)
        assert [each.path for each in result.committed] == [Path(written)]
        assert [each.path for each in result.failed] == [Path(lost)]
