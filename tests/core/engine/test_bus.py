"""The laws of carrying decisions out."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import CheckpointError, Decision, LoopError, MissingCapability, Run, decision
from trainbus.decision import join
from trainbus.testing import EventRecorder, LineSubject


def answering(answer: object) -> EventRecorder:
    """Answers every epoch with the same."""
    return EventRecorder("on_epoch_end", answer=lambda _: answer)  # type: ignore[arg-type,return-value]


def observing() -> EventRecorder:
    """Records what was decided and committed; its answers are ignored."""
    ignored: Any = "an answer that is ignored"
    return EventRecorder("on_decision", "on_checkpoint", answer=lambda _: ignored)


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
        one_epoch(subject, answering(each))
        alone.append(subject.learning_rate)
    random.shuffle(wanted)
    subject = LineSubject(0.4)
    one_epoch(subject, *map(answering, wanted))

    assert subject.learning_rate == min(alone)


def test_one_file_is_written_once_and_whole_if_anyone_wants_it_whole() -> None:
    """Two saves of one path make one checkpoint, whole unless all want only the weights, with both reasons."""
    recorder = observing()
    weights = decision.save("a.npz", weights_only=True, reason="one")
    whole = decision.save("a.npz", reason="two")
    run = one_epoch(LineSubject(), recorder, answering(weights), answering(whole))

    (checkpoint,) = run.checkpoints
    assert (checkpoint.path, checkpoint.content.weights_only, checkpoint.epoch) == (Path("a.npz"), False, 0)
    assert checkpoint.reason == "one; two"
    assert checkpoint.content.metrics["loss"] == 1
    assert recorder.names[0] == "on_checkpoint"
    assert recorder.of("on_checkpoint", "checkpoint") == [checkpoint]


def test_the_decision_is_told_after_it_was_carried_out_and_names_its_askers() -> None:
    """Observers hear one joined decision, each action signed by its plugin; their answers are ignored."""
    recorder = observing()
    answers = [decision.stop("a"), decision.stop("b")]
    one_epoch(None, recorder, *map(answering, answers))

    (joined,) = recorder.of("on_decision", "decision")
    assert joined == join([answers[0].signed("EventRecorder-2"), answers[1].signed("EventRecorder-3")])


def test_forgetting_spares_what_the_same_decision_makes() -> None:
    """A file or slot that is saved or kept by the decision that forgets it stays; others go."""
    Path("old.npz").write_text("old")
    one_epoch(
        LineSubject(),
        answering(decision.save("new.npz") | decision.forget("new.npz") | decision.forget("old.npz")),
        answering(decision.keep("slot") | decision.forget("slot")),
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
    with pytest.raises(MissingCapability, match=r"EventRecorder asked for .* but the run has no subject"):
        one_epoch(None, answering(asked))


def test_an_answer_that_is_no_decision_is_refused() -> None:
    """Anything but a Decision or None is an error that names the plugin and the hook."""
    with pytest.raises(LoopError, match="EventRecorder answered on_epoch_end with 'stop'"):
        one_epoch(None, answering("stop"))
