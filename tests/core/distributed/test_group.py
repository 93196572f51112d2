"""A single process is a group that waits for no other."""

from pathlib import Path

from tests.core.engine.parts import parts_for
from trainbus import decision
from trainbus.distributed.group import Solo
from trainbus.distributed.rank_group import RankGroup, group_for
from trainbus.engine.execution_result import ExecutionResult
from trainbus.engine.run_state import RunState
from trainbus.testing import LineSubject

from .threads import Meeting, ThreadRanks


class Trained(LineSubject):
    """A line that these processes train."""

    def __init__(self, group: ThreadRanks | None) -> None:
        super().__init__()
        self.group = group

    def ranks(self) -> ThreadRanks | None:
        return self.group


def test_a_subject_says_which_processes_train_it() -> None:
    """One process is ``Solo``, also if a framework runs several devices in one."""
    for subject in (None, LineSubject(), Trained(None)):
        assert isinstance(group_for(subject, RunState()), Solo)
    group = group_for(Trained(ThreadRanks(Meeting(3), 1)), RunState())

    assert isinstance(group, RankGroup)
    assert (group.rank, group.size) == (1, 3)


def test_one_process_executes_its_own_decisions() -> None:
    """At once, and whatever ends it ends the run."""
    group, executor, error = Solo(), parts_for(LineSubject()).executor, ValueError("no")
    asked = decision.keep("slot")
    assert (group.rank, group.size, group.may_stop()) == (0, 1, True)
    assert group.execute(asked, executor, lambda _: None) == ExecutionResult(asked)
    (checkpoint,) = group.execute(decision.save("a.npz"), executor, lambda _: None).committed
    assert checkpoint.path == Path("a.npz")
    for each in (error, None):
        with group.end(each, executor) as ended_by:
            assert ended_by is each


def test_one_process_does_each_step_itself() -> None:
    """It calls every plugin, and a step costs nothing but its own call."""

    class Observes:
        critical = False

    assert Solo().calls(Observes())
    assert Solo().bind("on_batch_end", print) is print


def test_rank_0_calls_the_plugins_that_only_observe() -> None:
    """The others call those that decide."""

    class Plugin:
        def __init__(self, *, critical: bool) -> None:
            self.critical = critical

    for rank in range(2):
        group = group_for(Trained(ThreadRanks(Meeting(2), rank)), RunState())
        assert group.calls(Plugin(critical=True))
        assert group.calls(Plugin(critical=False)) == (rank == 0)


def test_what_became_of_earlier_files_is_recorded_before_the_next_decision_is_stored() -> None:
    """So that the checkpoints of a decision know that, and a resumed run reports it once."""
    events: list[str] = []

    class Told(LineSubject):
        def save(self, path: Path, *, weights_only: bool) -> str:
            events.append("save")
            return super().save(path, weights_only=weights_only)

    parts = parts_for(Told())
    parts.executor.writer.write(decision.save("a.npz"), background=False, after=lambda _: None)

    def record(result: ExecutionResult) -> None:
        events.extend(each.path.name for each in result.committed)

    result = Solo().execute(decision.save("b.npz"), parts.executor, record)
    assert events == ["save", "a.npz", "save"]
    assert [each.path.name for each in result.committed] == ["b.npz"]
