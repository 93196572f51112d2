"""A validation in the body of a batch comes after its weight update: everything about it has the step after that."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import LoopError, Run, decision, hookimpl
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, TensorBoard, TerminateOnNaN
from trainbus.testing import LineSubject

from ...plugins.event_readers import scalars

X, Y = np.array([0.0, 1.0]), np.array([1.0, 3.0])


class Steps:
    """Notes the step, the batch and the trained batches at each event of validations."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int, int]] = []
        self.ends: list[tuple[int, int]] = []

    def note(self, name: str, run: Run) -> None:
        self.seen.append((name, run.step, run.batch, run.state.position.batches))

    @hookimpl
    def on_validation_begin(self, run: Run) -> None:
        self.note("begin", run)

    @hookimpl
    def on_validation_end(self, run: Run) -> None:
        self.note("end", run)


class BatchSteps(Steps):
    """Also notes each batch, so that the loop calls a hook for it."""

    @hookimpl
    def on_batch_end(self, batch: int, step: int) -> None:
        self.ends.append((batch, step))


def noting(batches: bool) -> Steps:
    return BatchSteps() if batches else Steps()


def validate(run: Run, value: float = 1.0) -> None:
    with run.validation():
        run.log(loss=value)


@pytest.mark.parametrize("batches", [False, True])
@pytest.mark.parametrize(("accumulate", "every"), [(1, 1), (1, 3), (2, 2), (2, 4), (3, 3), (4, 8), (2, 1)])
def test_it_has_the_step_of_the_loop_by_steps(batches: bool, accumulate: int, every: int) -> None:
    """Whether or not a plugin listens to batches; the batch stays the present one, and is counted once."""
    notes = noting(batches)
    with Run(LineSubject(), notes, verbose=0) as run:
        for _ in run.epochs(2):
            for number, _ in enumerate(run.batches(range(8), accumulate=accumulate), 1):
                before = run.step
                if number % every == 0:
                    validate(run)
                    assert run.step == before + (number % accumulate == 0)
                    assert run.batch == number - 1
        assert run.step == 8 // accumulate * 2
    at = [(epoch, number) for epoch in range(2) for number in range(every, 9, every)]
    expected = [(8 // accumulate * epoch + number // accumulate, number - 1, number) for epoch, number in at]
    assert notes.seen == [(name, *each) for each in expected for name in ("begin", "end")]
    if batches:
        assert notes.ends == [
            (batch, 8 // accumulate * epoch + (batch + 1) // accumulate) for epoch in range(2) for batch in range(8)
        ]
    if every % accumulate == 8 % every == 0:
        by_steps = noting(batches)
        with Run(LineSubject(), by_steps, verbose=0) as run:
            for _ in run.steps(range(8), 16 // accumulate, validate_every=every // accumulate, accumulate=accumulate):
                if run.validation_due:
                    validate(run)
        assert [each[1] for each in by_steps.seen] == [each[1] for each in notes.seen]


@pytest.mark.parametrize("batches", [False, True])
def test_a_loop_that_counts_its_steps_itself_has_its_own_step(batches: bool) -> None:
    """Only the batch is counted."""
    notes = noting(batches)
    with Run(LineSubject(), notes, verbose=0) as run:
        for _ in run.epochs(1):
            for number, _ in enumerate(run.batches(range(6), accumulate=None), 1):
                if number % 2 == 0:
                    run.step += 1
                    validate(run)
    assert notes.seen[1::2] == [("end", 1, 1, 2), ("end", 2, 3, 4), ("end", 3, 5, 6)]


@pytest.mark.parametrize("batches", [False, True])
def test_a_validation_outside_of_a_body_counts_nothing(batches: bool) -> None:
    """Before the loop over the batches, behind it, and behind one that was left."""
    notes = noting(batches)
    with Run(LineSubject(), notes, verbose=0) as run:
        for epoch in run.epochs(3):
            validate(run)
            for number in run.batches(range(4)):
                if epoch == 1 and number == 2:
                    break
            validate(run)
    assert [step for name, step, *_ in notes.seen if name == "end"] == [0, 4, 4, 6, 6, 10]


@pytest.mark.parametrize("batches", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_a_batch_is_counted_once(batches: bool, left: bool) -> None:
    """With two validations in its body, one in another, one that breaks off, and if the loop is left in it."""
    with Run(LineSubject(), noting(batches), verbose=0) as run:
        for epoch in run.epochs(2):
            for number, _ in enumerate(run.batches(range(4))):
                if number != 1:
                    continue
                validate(run)
                with suppress(ValueError), run.validation():
                    raise ValueError
                with pytest.raises(LoopError, match="inside another validation"), run.validation():
                    validate(run)
                assert run.step == (2 if left else 4) * epoch + 2
                if left:
                    break
    assert run.step == (4 if left else 8)


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 4), st.booleans())
def test_validations_change_no_count(validated: list[bool], accumulate: int, batches: bool) -> None:
    """At the end of each batch and of the run, whichever batches have one."""

    def ends(plan: list[bool]) -> list[tuple[int, int]]:
        found = list[tuple[int, int]]()
        with Run(LineSubject(), noting(batches), verbose=0) as run:
            for _ in run.epochs(2):
                for each in run.batches(plan, accumulate=accumulate):
                    if found:
                        found.append((run.step, run.batch))
                    if each:
                        validate(run)
                found.append((run.step, run.state.position.batches))
        return found

    assert ends(validated) == ends([False] * len(validated))


def train(run: Run, line: LineSubject, *, fail_at: int = 0, bad: int = 0, batches: int = 6, epochs: int = 2) -> Run:
    """Validate after each second batch; one validation raises an error or is not finite."""
    with run:
        for epoch in run.epochs(epochs):
            for number in run.batches(range(1, batches + 1)):
                run.log(loss=line.train(X, Y))
                if number % 2:
                    continue
                with run.validation():
                    step = epoch * batches + number
                    run.log(loss=math.nan if step == bad else 1.0 + abs(step - 4))
                    if step == fail_at:
                        raise OSError("no validation data")
    return run


def test_each_place_names_the_step_after_the_update() -> None:
    """The reasons, the names of files, the journal and the charts."""
    line = LineSubject()
    callbacks = [
        EarlyStopping(every="validation", patience=2, restore_best_weights=True),
        ModelCheckpoint("run/m-{step}", save_freq="validation"),
        Journal("run/journal.jsonl"),
        TensorBoard("logs", update_freq=1),
    ]
    run = train(Run(line, callbacks, verbose=0), line)
    assert run.step == 8
    reasons = [each.reason for _, done in run.state.decision_log for each in done if each.kind != "save"]
    assert reasons[-2:] == [
        "val_loss 5 did not improve on 1 (step 4) for the 2nd time",
        "best val_loss 1.00000 in step 4",
    ]
    assert sorted(int(path.stem[2:]) for path in Path("run").glob("m-*.npz")) == [2, 4, 6, 8]
    records = [json.loads(record) for record in Path("run/journal.jsonl").read_text().splitlines()]
    actions = [(each["step"], action["kind"]) for each in records for action in each.get("actions", ())]
    assert [step for step, kind in actions if kind in ("keep", "stop")] == [2, 4, 8]
    points = {step: value for (_, tag, step), value in scalars().items() if "vs_iterations" in tag}
    assert points == {2: 3.0, 4: 1.0, 6: 3.0, 8: 5.0}


@pytest.mark.parametrize("min_steps", [4, 6, 8])
def test_a_stop_is_held_back_until_so_many_updates_were_made(min_steps: int) -> None:
    """The validation after the last of them may stop the run."""
    line = LineSubject()
    stopping = EarlyStopping(every="validation", stopping_threshold=100.0, min_steps=min_steps)
    assert train(Run(line, stopping, verbose=0), line).step == min_steps


@pytest.mark.parametrize("bad", [2, 4, 6, 8, 12])
def test_the_file_for_inspection_has_that_step(bad: int) -> None:
    line = LineSubject()
    train(Run(line, TerminateOnNaN(save="nan-{step}-{batch}", every="epoch"), verbose=0), line, bad=bad)
    assert [path.name for path in Path().glob("nan*.npz")] == [f"nan-{bad}-{(bad - 1) % 6 + 1}.npz"]


@pytest.mark.parametrize(
    "fail_at", [2, 6, 8, *(pytest.param(each, marks=pytest.mark.exhaustive) for each in (4, 10, 12))]
)
@pytest.mark.parametrize("more", [[], [EarlyStopping(every="validation", patience=9)], [BatchSteps()]])
def test_a_run_that_ended_in_a_validation_trains_no_batch_again(fail_at: int, more: list[Any]) -> None:
    """The weights and the steps of the resumed run are those of one without the error."""
    whole = LineSubject()
    train(Run(whole, [], verbose=0), whole)
    saver, line, again = ModelCheckpoint("run/m-{epoch}", save_on=("exception",)), LineSubject(), LineSubject()
    with pytest.raises(OSError, match="no validation data"):
        train(Run(line, [saver, *more], verbose=0), line, fail_at=fail_at)
    run = train(Run(again, [saver, *more], verbose=0, resume="auto"), again)
    assert run.resumed is not None
    assert run.resumed.step == fail_at
    assert run.step == 12
    assert again.slope == whole.slope
    assert again.offset == whole.offset


@pytest.mark.parametrize(
    "at", [1, 4, 5, 8, *(pytest.param(each, marks=pytest.mark.exhaustive) for each in (2, 3, 6, 7, 9))]
)
def test_a_run_that_is_resumed_after_any_batch_decides_as_one_that_was_not(at: int) -> None:
    """The best step, the reasons and the history are the same."""

    def callbacks() -> list[Any]:
        stopping = EarlyStopping(every="validation", patience=3, restore_best_weights=True)
        return [ModelCheckpoint("run/m-{step}", save_freq=1, save_on=()), stopping]

    line = LineSubject()
    whole = train(Run(line, callbacks(), verbose=0), line)
    again = LineSubject()
    run = train(Run(again, callbacks(), verbose=0, resume=f"run/m-{at}.npz"), again)
    reasons = [
        [each.reason for _, done in one.state.decision_log for each in done if each.by == "EarlyStopping"]
        for one in (whole, run)
    ]
    assert reasons[0] == reasons[1]
    assert (run.step, run.history, again.slope) == (whole.step, whole.history, line.slope)


def test_a_save_of_the_loop_in_a_validation_is_continued_behind_its_batch() -> None:
    """The resumed run trains the next batch."""
    line, again = LineSubject(), LineSubject()
    saver = ModelCheckpoint("run/m", save_freq="9999 steps", save_on=())
    with Run(line, saver, verbose=0) as run:
        for _ in run.epochs(1):
            for number, _ in enumerate(run.batches(range(6)), 1):
                run.log(loss=line.train(X, Y))
                if number == 4:
                    with run.validation():
                        run.decide(decision.save("run/m.npz"))
    numbers = list[int]()
    with Run(again, saver, verbose=0, resume="run/m.npz") as resumed:
        for _ in resumed.epochs(1):
            for number in resumed.batches(range(6)):
                numbers.append(number)
                resumed.log(loss=again.train(X, Y))
    assert numbers == [4, 5]
    assert (resumed.step, again.slope) == (6, line.slope)
