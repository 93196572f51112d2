"""The state of a run without a checkpoint, and the run that continues from it."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainbus import LoopError, Run, SettingsError
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import LineSubject

EPOCHS, BATCHES = 6, 2
X = np.array([0.0, 1.0])


def rules(*more: Any) -> list[Any]:
    monitor: dict[str, Any] = {"monitor": "val_score", "mode": "min"}
    return [
        EarlyStopping(**monitor, patience=2, restore_best_weights=True),
        ReduceLROnPlateau(**monitor, patience=0, factor=0.5, cooldown=1),
        *more,
    ]


class Training:
    """A loop of its own that can be left after any number of events, with the state that it then has."""

    def __init__(self, scores: list[float], *callbacks: Any, **options: Any) -> None:
        self.scores = scores
        self.run = Run(LineSubject(0.1), rules(*callbacks), verbose=0, **options)

    def take(self, other: Training) -> None:
        """Restore the subject, as a framework does."""
        line = other.run.subject
        self.run.subject.restore(line.snapshot())
        self.run.subject.learning_rate = line.learning_rate

    def train(self, events: int = 10**9) -> Training:
        """Train until so many events have been."""
        run = self.run
        if run.state.phase == "new":
            run.begin(keeps_state=True)
        left = iter(range(events))
        for epoch in range(run.resumer.first_epoch(), EPOCHS):
            if run.stopped and not run.resumer.mid_epoch:
                break
            run.begin_epoch(epoch)
            skipped = run.resumer.batches_to_skip
            if skipped:
                run.resumer.batches_skipped()
            for batch in range(skipped, BATCHES):
                if next(left, None) is None:
                    return self
                run.begin_batch(batch)
                run.log(loss=run.subject.train(X, 2 * X))
                run.end_batch(batch)
            if next(left, None) is None:
                return self
            run.end_epoch({"val_score": self.scores[epoch]})
        return self


def drop(training: Training) -> Training:
    """Forget a run that would have been killed, without a line about it."""
    training.run._dropped.detach()  # type: ignore[union-attr]
    return training


@given(st.lists(st.integers(0, 4).map(float), min_size=EPOCHS, max_size=EPOCHS), st.integers(0, 16))
def test_a_run_that_continues_from_it_decides_as_the_unbroken_one(scores: list[float], events: int) -> None:
    """Wherever it was taken; through JSON, and with the best weights."""
    unbroken = Training(scores).train()
    unbroken.run.end()
    killed = drop(Training(scores).train(events))
    state = killed.run.state_dict()
    snapshots = state.pop("snapshots")
    resumed = Training(scores, resume={**json.loads(json.dumps(state)), "snapshots": snapshots})
    resumed.take(killed)
    resumed.train().run.end()

    assert resumed.run.history == unbroken.run.history
    assert resumed.run.state.decision_log == unbroken.run.state.decision_log
    assert resumed.run.result.reason == unbroken.run.result.reason
    assert resumed.run.subject.learning_rates() == unbroken.run.subject.learning_rates()
    np.testing.assert_equal(resumed.run.subject.snapshot(), unbroken.run.subject.snapshot())
    assert resumed.run.run_id == killed.run.run_id


@given(st.integers(0, 14))
@settings(max_examples=15)
def test_it_has_the_files_of_the_run(events: int) -> None:
    """The resumed run keeps and deletes them as the unbroken one."""
    scores = [5.0, 4.0, 3.0, 3.5, 2.0, 1.0]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        Training(scores, ModelCheckpoint(f"{one}/m-{{epoch}}", keep_last=2)).train().run.end()
        killed = Training(scores, ModelCheckpoint(f"{other}/m-{{epoch}}", keep_last=2)).train(events)
        state = killed.run.state_dict()
        killed.run.end(KeyboardInterrupt())
        resumed = Training(scores, ModelCheckpoint(f"{other}/m-{{epoch}}", keep_last=2), resume=state)
        resumed.train().run.end()
        names, expected = (sorted(path.name for path in Path(each).glob("m-*")) for each in (other, one))
        assert names == expected
        assert [path.name for path in resumed.run.state.files] == expected


def test_lost_snapshots_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """A framework that keeps JSON only has no room for them."""
    killed = drop(Training([1.0] * EPOCHS).train(3))
    state = killed.run.state_dict()
    assert list(state["snapshots"]) == ["best val_score"]
    resumed = Training([1.0] * EPOCHS, resume={**state, "snapshots": {}})
    with caplog.at_level(logging.WARNING):
        resumed.run.begin()
    resumed.run.end()
    assert "the given state: the snapshot 'best val_score' is lost: the state was given without its snapshots" in (
        caplog.messages
    )


def test_a_finished_run_stays_finished() -> None:
    """Its stop is part of its state."""
    stopped = Training([1.0] * EPOCHS).train()
    state = stopped.run.state_dict()
    stopped.run.end()
    assert stopped.run.result.reason
    resumed = Training([1.0] * EPOCHS, resume=state).train()
    resumed.run.end()
    assert resumed.run.history == stopped.run.history
    assert resumed.run.result.reason == stopped.run.result.reason


def test_after_the_end_there_is_still_a_state() -> None:
    """A user may save the framework's checkpoint after the training."""
    ended = Training([1.0] * EPOCHS).train()
    ended.run.end()
    resumed = Training([1.0] * EPOCHS, resume=ended.run.state_dict()).train()
    resumed.run.end()
    assert resumed.run.history == ended.run.history


def test_before_the_run_there_is_none() -> None:
    with pytest.raises(LoopError, match=r"call state_dict\(\) after begin\(\)"):
        Run().state_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainbus": 2}, "in the format 2, and this version of trainbus reads 1"),
        ({"entry": None}, "is a damaged state"),
        ({"entry": {"epoch": "x"}}, "is a damaged state"),
        ({"snapshots": 3}, "is a damaged state"),
    ],
)
def test_a_damaged_state_is_refused(change: dict[str, Any], message: str) -> None:
    state = drop(Training([1.0] * EPOCHS).train(3)).run.state_dict()
    with pytest.raises(SettingsError, match=message):
        Run(resume={**state, **change})


@pytest.mark.parametrize("given", [{}, {"model": 1}, {"epoch": 3, "state": {}}], ids=str)
def test_another_mapping_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"give what run.state_dict\(\) returned"):
        Run(resume=given)


def test_changed_settings_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """As for a checkpoint."""
    state = drop(Training([1.0] * EPOCHS).train(3)).run.state_dict()
    with (
        caplog.at_level(logging.WARNING),
        Run(LineSubject(0.1), [EarlyStopping(monitor="val_score", mode="min", patience=7)], resume=state, verbose=0),
    ):
        pass
    assert any("patience" in each for each in caplog.messages), caplog.messages


@pytest.mark.parametrize("by_steps", [False, True])
def test_inside_of_a_batch_there_is_none(by_steps: bool) -> None:
    """What is left of the batch, such as its hook, would be lost in the resumed run."""
    with Run(verbose=0) as run:
        epochs = [0] if by_steps else run.epochs(1)
        for _ in epochs:
            for _ in run.steps(range(3), 3, validate_every=3) if by_steps else run.batches(range(3)):
                run.log(loss=1.0)
                with pytest.raises(LoopError, match="inside of a batch"):
                    run.state_dict()
        assert run.state_dict()["entry"]["step"] == 3
