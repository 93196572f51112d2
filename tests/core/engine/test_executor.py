"""A decision is executed on the subject and the disk, whichever plugins requested it."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import CheckpointError, Decision, MissingCapability, Run, decision, hookimpl
from trainbus.decision import join
from trainbus.engine.execution_result import ExecutionResult
from trainbus.plugins import ModelCheckpoint
from trainbus.storage.backend import existing
from trainbus.testing import LineSubject

from .parts import parts_for


class Answering:
    """A plugin that answers every epoch with the same decision."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    @hookimpl
    def on_epoch_end(self) -> object:
        return self.answer


class Listening:
    """A plugin that keeps the decided and committed actions."""

    def __init__(self) -> None:
        self.events: list[object] = []

    @hookimpl
    def on_decision(self, decision: Decision) -> object:
        self.events.append(decision)
        return "an answer that is ignored"

    @hookimpl
    def on_checkpoint(self, checkpoint: object) -> object:
        self.events.append(checkpoint)
        return "an answer that is ignored"


def one_epoch(subject: object, *callbacks: object) -> Run:
    with Run(subject, callbacks) as run:
        for _ in run.epochs(1):
            run.log(loss=1)
    return run


@given(st.lists(st.tuples(st.floats(0.1, 0.9), st.floats(0, 0.5)), min_size=1, max_size=4), st.randoms())
def test_the_lowest_new_rate_wins(scales: list[tuple[float, float]], random) -> None:
    """Requests to scale give the lowest of the rates that each alone would give, in any order."""
    wanted = [decision.scale_learning_rate(factor, floor=floor) for factor, floor in scales]
    alone = []
    for each in wanted:
        subject = LineSubject(0.4)
        one_epoch(subject, Answering(each))
        alone.append(subject.learning_rate)
    random.shuffle(wanted)
    subject = LineSubject(0.4)
    one_epoch(subject, *map(Answering, wanted))

    assert subject.learning_rate == min(alone)


def test_one_file_is_written_once_and_complete_if_any_plugin_asks_for_it() -> None:
    """Two saves of one path make one checkpoint, complete unless all want only the weights, with both reasons."""
    listening = Listening()
    weights = decision.save("a.npz", weights_only=True, reason="one")
    complete = decision.save("a.npz", reason="two")
    run = one_epoch(LineSubject(), listening, Answering(weights), Answering(complete))

    (saved,), checkpoint = run.state.checkpoints, listening.events[0]
    assert (checkpoint.path, checkpoint.entry.weights_only, checkpoint.epoch) == (Path("a.npz"), False, 0)
    assert checkpoint.reason == "one; two"
    assert checkpoint.entry.metrics["loss"] == 1
    assert saved == (checkpoint.path, checkpoint.epoch, checkpoint.step)


def test_a_decision_is_announced_after_it_was_executed_and_names_its_plugins() -> None:
    """Observers get one joined decision, each action signed by its plugin; their answers are ignored."""
    listening = Listening()
    answers = [decision.stop("a"), decision.stop("b")]
    one_epoch(None, listening, *map(Answering, answers))

    (announced,) = listening.events
    assert announced == join([answers[0].signed("Answering"), answers[1].signed("Answering-2")])


def test_forgetting_spares_what_the_same_decision_makes() -> None:
    """A file or slot that is saved or kept by the decision that forgets it stays; others go."""
    Path("old.npz").write_text("old")
    one_epoch(
        LineSubject(),
        Answering(decision.save("new.npz") | decision.forget("new.npz") | decision.forget("old.npz")),
        Answering(decision.keep("slot") | decision.forget("slot")),
    )

    assert Path("new.npz").exists()
    assert not Path("old.npz").exists()


def test_a_forgotten_slot_is_gone() -> None:
    """Restoring what was forgotten is an error, not some other state."""
    with Run(LineSubject()) as run:
        run.decide(decision.keep("slot"))
        run.decide(decision.forget("slot"))
        with pytest.raises(CheckpointError, match="slot"):
            run.decide(decision.restore("slot"))


@pytest.mark.parametrize(
    "asked", [decision.save("a.npz"), decision.keep("a"), decision.restore("a"), decision.scale_learning_rate(0.5)]
)
def test_what_the_subject_cannot_do_is_refused_by_name(asked: Decision) -> None:
    """A decision that needs a missing capability says who asked and what is missing."""
    with pytest.raises(MissingCapability, match=r"Answering asked for the action '\w+', but the run has no subject"):
        one_epoch(None, Answering(asked))


# --- an executor alone


def test_an_executor_needs_no_run() -> None:
    """Each action is done, on the subject or on the disk, and the result says what was done and written."""
    subject = LineSubject(0.4)
    executor = parts_for(subject).executor
    asked = (decision.save("a.npz", reason="good") | decision.keep("slot") | decision.scale_learning_rate(0.5)).signed(
        "p"
    )
    result = executor.execute(asked)

    assert result == ExecutionResult(asked, result.committed)
    (checkpoint,) = result.committed
    assert (checkpoint.path, checkpoint.reason, checkpoint.step) == (Path("a.npz"), "good", 0)
    assert subject.learning_rate == 0.2
    assert existing([Path("a.npz")])
    subject.slope += 3
    executor.execute(decision.restore("slot"))
    assert subject.slope == 0
    subject.slope += 3
    executor.execute(decision.restore("a.npz"))
    assert subject.slope == 0
    executor.execute(decision.forget("a.npz"))
    assert not existing([Path("a.npz")])


def test_a_decision_without_files_touches_no_file() -> None:
    """A stop is done by what reads it."""
    executor = parts_for().executor
    assert executor.execute(decision.stop("x")) == ExecutionResult(decision.stop("x"))
    assert list(Path().iterdir()) == []


def test_a_plugin_whose_file_was_not_written_deletes_nothing() -> None:
    """The deletions of other plugins are executed; the result leaves out the skipped ones."""
    state, failures, _, executor = parts_for(LineSubject())
    for name in ("mine.npz", "other.npz"):
        state.record(executor.execute(decision.save(name)), Path.exists)
    Path("taken").touch()
    lost = (decision.save("taken/a.npz", on_error="warn") | decision.forget("mine.npz")).signed("p")
    other = decision.forget("other.npz").signed("q")
    result = executor.execute(lost | other)
    state.record(result, Path.exists)

    assert result.done == other
    assert [(each.path, each.step) for each in result.failed] == [(Path("taken/a.npz"), 0)]
    assert [each.plugin for each in failures.all] == ["p"]
    assert list(state.files) == [Path("mine.npz")]
    assert [path.name for path in Path().glob("*.npz")] == ["mine.npz"]


def test_a_file_that_a_plugin_needs_raises_with_its_name() -> None:
    """The run cannot continue without it."""
    Path("taken").touch()
    executor = parts_for(LineSubject()).executor
    with pytest.raises(CheckpointError) as raised:
        executor.execute(decision.save("taken/a.npz").signed("p"))

    assert raised.value.__notes__ == ["asked for by p"]


def test_the_directories_of_callbacks_are_locked_until_the_lock_is_closed() -> None:
    """By the process that locks them; another one only notes them."""
    saver = ModelCheckpoint("run/m")
    first, second = (parts_for(LineSubject()) for _ in range(2))
    for each in (first, second):
        assert each.executor.note_directories([saver]) == (Path("run").absolute(),)
        assert each.executor.writer.directories == (Path("run").absolute(),)
    with ExitStack() as at_end:
        first.executor.lock_directories(at_end)
        with pytest.raises(CheckpointError, match="run"):
            second.executor.lock_directories(at_end)

    with ExitStack() as at_end:
        second.executor.lock_directories(at_end)
    assert parts_for().executor.note_directories([]) == ()
