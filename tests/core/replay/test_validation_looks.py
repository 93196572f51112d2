"""Replay decides at each validation of a journal as the live callbacks do, also at several in an epoch."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.storage.dying import MEMORY, in_child
from tests.plugins.comparison.loops import Plan, plan, plans, sparse_plans, validated
from trainbus import Decision, Run, hookimpl
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, ReduceLROnPlateau
from trainbus.replay import read, replay, sweep
from trainbus.testing import LineSubject

from .recorded import recording


class Made(NamedTuple):
    """What a callback decided, and when."""

    epoch: int
    look: int | None
    step: int | None
    action: str


class Witness:
    """Notes after which validation of its epoch each decision was executed."""

    def __init__(self) -> None:
        self.looks, self.ended = 0, False
        self.made: list[Made] = []

    @hookimpl
    def on_epoch_begin(self) -> None:
        self.looks, self.ended = 0, False

    @hookimpl
    def on_validation_end(self) -> None:
        self.looks += 1

    @hookimpl
    def on_epoch_end(self) -> None:
        self.ended = True

    @hookimpl
    def on_decision(self, run: Run, decision: Decision) -> None:
        at = (None, None) if self.ended else (self.looks - 1, run.step)
        self.made += [Made(run.epoch, *at, each.kind) for each in decision]

    def state_dict(self) -> dict[str, Any]:
        return {"looks": self.looks, "made": [list(each) for each in self.made]}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.looks, self.made = saved["looks"], [Made(*each) for each in saved["made"]]


def trained(
    epochs: Plan, *callbacks: Any, each_batch: Callable[[Run], object] = lambda _: None, **options: Any
) -> list[Made]:
    """Train in a loop over epochs with a journal; return what was decided up to the first stop."""
    witness = Witness()
    with Run(LineSubject(1.0), [*callbacks, Journal("a.jsonl"), witness], verbose=0, **options) as run:
        for epoch in run.epochs(len(epochs), validation_freq=validated(epochs)):
            for number in run.batches(range(len(epochs[epoch]))):
                batch = epochs[epoch][number]
                each_batch(run)
                run.subject.train(np.array([1.0]), np.array([3.0]))
                run.log(loss=batch.loss)
                if batch.validation is not None:
                    with run.validation():
                        run.log(loss=batch.validation[0], accuracy=batch.validation[1])
    return until_stop(witness.made)


def until_stop(made: list[Made]) -> list[Made]:
    end = next(((each.epoch, each.look) for each in made if each.action == "stop"), None)
    wanted = ("keep", "scale_learning_rate", "stop")
    before = made if end is None else [each for each in made if (each.epoch, each.look or 0) <= (end[0], end[1] or 0)]
    return sorted((each for each in before if each.action in wanted), key=repr)


def replayed(*callbacks: Any, exact: bool = True) -> list[Made]:
    (outcome,) = replay([read(Path("a.jsonl"))], callbacks).outcomes
    assert not exact or all(each.exact for each in outcome.decisions)
    return until_stop([Made(each.epoch, each.look, each.step, each.action) for each in outcome.decisions])


looks = st.sampled_from(
    ["validation", "validation", "2 validations", "3 validations", "epoch", "2 epochs", "3 epochs", "2 epochs from 0"]
)
comparison: dict[str, st.SearchStrategy[Any]] = {
    "patience": st.integers(0, 4),
    "min_delta": st.sampled_from([0.0, 0.5]),
    "mode": st.sampled_from(["min", "max"]),
    "cumulative_delta": st.booleans(),
    "ties": st.sampled_from(["older", "newer"]),
    "tie_breaker": st.none() | st.just("val_accuracy"),
    "every": looks,
}
stoppers = st.fixed_dictionaries(
    {
        **comparison,
        "min_steps": st.integers(0, 12),
        "min_epochs": st.integers(0, 3),
        "start_from_epoch": st.integers(0, 2),
        "reset_on_lr_cut": st.booleans(),
        "restore_best_weights": st.booleans(),
        "smoothing": st.none() | st.sampled_from(["ema 0.5", "median 3"]),
    }
).map(lambda options: EarlyStopping(**options))
reducers = st.fixed_dictionaries(
    {**comparison, "cooldown": st.integers(0, 2), "min_lr": st.sampled_from([0.0, 0.03])}
).map(lambda options: ReduceLROnPlateau(factor=0.5, **options))


@given(plans | sparse_plans, stoppers, st.none() | reducers)
def test_the_journal_of_a_run_replayed_gives_its_decisions(
    epochs: Plan, stopper: EarlyStopping, reducer: ReduceLROnPlateau | None
) -> None:
    """The same epoch, validation and step of each cut, of each best value and of the stop, and all are exact."""
    callbacks = [stopper, *([reducer] if reducer else [])]
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert trained(epochs, *callbacks) == replayed(*callbacks)


@given(plans, stoppers.filter(lambda each: not each.reset_on_lr_cut))
def test_the_journal_of_another_run_replayed_gives_the_stop_of_a_live_one(epochs: Plan, stopper: EarlyStopping) -> None:
    """One that was recorded without the callback: epoch, validation, step, and the best value up to the stop."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        live = trained(epochs, stopper)
        best = replay([read(Path("a.jsonl"))], stopper).outcomes[0].best_at_stop
        Path("a.jsonl").unlink()
        trained(epochs)
        assert [each for each in replayed(stopper, exact=False) if each.action == "stop"] == [
            each for each in live if each.action == "stop"
        ]
        (outcome,) = replay([read(Path("a.jsonl"))], stopper).outcomes
        assert outcome.best_at_stop == best
        assert outcome.stop is None or outcome.stop.exact


def killing(run: Run, epoch: int, batch: int) -> None:
    if (run.epoch, run.state.batch) == (epoch, batch):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("save_freq", [1, 2, "3 steps"])
@pytest.mark.parametrize("places", [[(0, 3)], [(1, 2)], [(0, 2), (1, 3)], [(1, 1), (1, 3)]])
def test_a_run_killed_inside_an_epoch_and_resumed_is_replayed_as_one(
    save_freq: Any, places: list[tuple[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal has two parts, and the values of the epoch come from two processes."""
    epochs = plan(
        [(3.0, 0), (2.0, 0), (2.5, 0), (1.0, 0)], [1, (1.5, 0), (1.6, 0), (0.9, 0)], [(1.0, 0), (2.0, 0), (3.0, 0)]
    )
    callbacks = [EarlyStopping(every="validation", patience=3), ReduceLROnPlateau(every="validation", patience=2)]
    savers = [ModelCheckpoint("run/m-{step}", save_freq=save_freq, background=False)]
    monkeypatch.chdir(tmp_path)
    unbroken = trained(epochs, *callbacks)
    Path("a.jsonl").unlink()
    for number, place in enumerate(places):
        resume: Any = "auto" if number else None

        def until_killed(place: tuple[int, int] = place, resume: Any = resume) -> None:
            trained(epochs, *callbacks, *savers, each_batch=lambda run: killing(run, *place), resume=resume)

        assert in_child(until_killed) == -signal.SIGKILL
    assert trained(epochs, *callbacks, *savers, resume="auto") == unbroken
    assert replayed(*callbacks) == unbroken
    assert unbroken[-1] == Made(2, 2, 11, "stop")


@pytest.mark.parametrize(
    "values",
    [
        [[3.0, 2.0], [2.5, 2.5]],
        [[float("nan"), 1.0, float("inf")], [1.0, 1.0]],
        [[1.0], [1.0, 1.0, 1.0]],
        [[], [1.0, 2.0], [], [3.0]],
        [[2.0, 2.0, 2.0, 2.0, 2.0]],
        [[0.5, 0.4], [0.45, 0.41, 0.41], [0.3]],
    ],
)
def test_a_loop_of_ones_own_that_reports_its_validations(
    values: list[list[float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``begin_validation`` and ``end_validation``, whose metrics are given as a mapping."""
    monkeypatch.chdir(tmp_path)
    callback, witness = EarlyStopping(every="validation", patience=2, restore_best_weights=True), Witness()
    with Run(LineSubject(1.0), [callback, Journal("a.jsonl"), witness], verbose=0) as run:
        run.state.validation_freq = None
        for epoch, each in enumerate(values):
            run.begin_epoch(epoch)
            for batch, value in enumerate(each):
                run.begin_batch(batch)
                run.end_batch(batch, steps=1)
                run.begin_validation()
                run.end_validation({"val_loss": value})
                if run.stopped:
                    break
            run.end_epoch({"val_loss": each[-1]} if each else {"loss": 1.0})
            if run.stopped:
                break
    assert replayed(callback) == until_stop(witness.made)


@pytest.mark.parametrize(
    ("epochs", "lines"),
    [
        (plan([1, 1], [1, 1]), [False, False]),
        (plan([(1, 0), (1, 0)], [1, 1]), [True, False]),
        (plan([(1, 0), 1], [1, 1]), [True, False]),
    ],
)
def test_a_journal_has_only_validations_that_its_epochs_lack(
    epochs: Plan, lines: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several in an epoch, or one before its end; a validation after the last batch adds nothing to a line."""
    monkeypatch.chdir(tmp_path)
    with Run(callbacks=Journal("a.jsonl"), verbose=0) as run:
        for epoch in run.epochs(len(epochs)):
            for number in run.batches(range(len(epochs[epoch]))):
                run.log(loss=1.0)
                if epochs[epoch][number].validation:
                    with run.validation():
                        run.log(loss=2.0)
            if not any(each.validation for each in epochs[epoch]):
                with run.validation():
                    run.log(loss=2.0)
    events = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    assert ["validations" in each for each in events if each["event"] == "epoch"] == lines


@pytest.mark.parametrize("callback", [EarlyStopping(every="validation"), ReduceLROnPlateau(every="validation")])
def test_a_record_that_may_lack_validations_is_not_exact(callback: Any) -> None:
    """A note says what is counted, and each action is marked."""
    result = replay([recording([1.0, 2.0, 3.0, 4.0] * 5)], callback)
    (outcome,) = result.outcomes
    assert outcome.decisions
    assert not any(each.exact for each in outcome.decisions)
    assert outcome.hypothetical_from is None
    assert result.notes[-1].endswith("every='validation' counts each recorded value as one validation.")


def test_other_actions_than_those_at_unknown_validations_are_exact() -> None:
    """And a cut that is not recorded makes later ones hypothetical, as before."""
    run = recording([1.0, 2.0, 3.0, 4.0, 5.0])
    (outcome,) = replay([run], [EarlyStopping(patience=2), ReduceLROnPlateau(every="validation", patience=9)]).outcomes
    assert outcome.stop is not None
    assert outcome.stop.exact


@given(plans, st.integers(0, 3))
@settings(max_examples=20)
def test_a_sweep_finds_the_stops_of_a_replay(epochs: Plan, patience: int) -> None:
    """And loses what the values up to the stop lose, of all validations."""
    callback = EarlyStopping(every="validation", mode="min", patience=patience)
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        trained(epochs)
        run = read(Path("a.jsonl"))
    (outcome,) = replay([run], callback).outcomes
    found = sweep([run], min_delta=[0.0], smoothing=[None], start_from_epoch=[0], fixed=callback)
    assert found.stopped.tolist() == [[-1 if outcome.stop is None else outcome.stop.epoch]]
    assert found.notes == ()
    if outcome.stop is not None:
        assert run.validations is not None
        place = (run.validations.epochs[found.stops[0, 0]], run.validations.looks[found.stops[0, 0]])
        assert place == (outcome.stop.epoch, outcome.stop.look)


def test_saves_at_several_validations_of_an_epoch_are_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note says so, and no save is guessed; with one at the end of each epoch there is no note."""
    monkeypatch.chdir(tmp_path)
    trained(plan([(1, 0), (1, 0)]))
    result = replay([read(Path("a.jsonl"))], [ModelCheckpoint("m-{epoch}", save_freq="validation")])
    assert result.notes == (
        "ModelCheckpoint: save_freq='validation' saves inside epochs, of which nothing is recorded.",
    )
    assert not result.outcomes[0].decisions
