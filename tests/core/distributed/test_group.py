"""A single process is a group that waits for no other."""

from pathlib import Path

import pytest

from tests.core.engine.parts import parts_for
from trainbus import UnreadableCheckpoint, decision
from trainbus.checkpoints import Checkpoint, ManifestEntry
from trainbus.decision import NOTHING
from trainbus.distributed.group import Solo
from trainbus.distributed.rank_group import RankGroup, group_for
from trainbus.engine.execution_result import ExecutionResult
from trainbus.engine.run_state import RunState
from trainbus.metrics.running_means import RunningMeans
from trainbus.storage.sharded_directory import EVERY_PART
from trainbus.testing import LineSubject

from .threads import Meeting, ThreadRanks


class Trained(LineSubject):
    """A line that these processes train."""

    def __init__(self, group: ThreadRanks | None) -> None:
        super().__init__()
        self.group = group

    def ranks(self) -> ThreadRanks | None:
        return self.group


def checkpoint_at(name: str) -> Checkpoint:
    return Checkpoint(path=Path(name), entry=ManifestEntry(digest="", size=0, epoch=0, step=0))


def test_a_subject_says_which_processes_train_it() -> None:
    """One process is ``Solo``, also if a framework runs several devices in one."""
    for subject in (None, LineSubject(), Trained(None)):
        assert isinstance(group_for(subject, RunState()), Solo)
    group = group_for(Trained(ThreadRanks(Meeting(3), 1)), RunState())

    assert isinstance(group, RankGroup)
    assert (group.rank, group.size, group.leads) == (1, 3, False)


def test_one_process_executes_its_own_decisions() -> None:
    """At once, and whatever ends it ends the run."""
    group, executor, error = Solo(), parts_for(LineSubject()).executor, ValueError("no")
    asked = decision.keep("slot")
    assert (group.rank, group.size, group.leads, group.may_stop()) == (0, 1, True, True)
    assert group.propose(asked) == asked
    assert group.pending() == NOTHING
    assert group.execute(asked, executor) == ExecutionResult(asked)
    assert group.agree(ExecutionResult(asked)) == ExecutionResult(asked)
    assert group.arrive(error, executor) is error
    assert group.final_decision(asked, error) == (asked, None)
    with pytest.raises(ValueError, match="no"):
        group.defer(error)
    with pytest.raises(ValueError, match="no"), group.shared():
        raise error


def test_one_process_reports_its_own_files_and_metrics() -> None:
    """The means are those that it logged; what it has written is reported at the end of an epoch or of the run."""
    group, executor, means = Solo(), parts_for(LineSubject()).executor, RunningMeans()
    assert group.end_epoch(means, executor) == (means, ExecutionResult())
    (checkpoint,) = group.execute(decision.save("a.npz"), executor).committed
    assert checkpoint.path == Path("a.npz")
    assert group.collect(executor) == ExecutionResult()
    group.close(executor)


def test_the_newest_checkpoint_that_can_be_read_is_loaded(caplog: pytest.LogCaptureFixture) -> None:
    """Those that cannot are skipped with a warning; all parts of each are verified."""
    names, loaded, shares = ["c", "b", "a"], list[str](), list[object]()

    def locate(share: object, without: object) -> Checkpoint | None:
        shares.append(share)
        left = [name for name in names if Path(name) not in without]  # type: ignore[operator]
        return checkpoint_at(left[0]) if left else None

    def load(checkpoint: Checkpoint) -> None:
        if checkpoint.path.name in broken:
            raise UnreadableCheckpoint("torn")
        loaded.append(checkpoint.path.name)

    for broken, found in (("", ["c"]), ("cb", ["a"]), ("cba", [])):
        loaded.clear()
        caplog.clear()
        Solo().restore(locate, load, "auto")
        assert loaded == found
        assert caplog.messages == [f"skipped: {name}: torn" for name in broken]
    assert set(shares) == {EVERY_PART}


def test_a_named_checkpoint_that_cannot_be_read_is_an_error() -> None:
    """An older one is not what the user asked for."""

    def load(_: Checkpoint) -> None:
        raise UnreadableCheckpoint("torn")

    with pytest.raises(UnreadableCheckpoint, match="torn"):
        Solo().restore(lambda *_: checkpoint_at("m.npz"), load, "m.npz")
