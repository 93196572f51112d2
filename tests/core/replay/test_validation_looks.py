"""Replay decides at each validation of a journal as the live callbacks do, also at several in an epoch."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
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
from trainbus.replay import Recording, read, replay, sweep
from trainbus.replay.libraries.settings import LIBRARIES
from trainbus.replay.report.report import Report
from trainbus.replay.report.text import sweep_text
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


def recorded(epochs: Plan) -> Recording:
    """Return what the journal of a run without other callbacks holds."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        trained(epochs)
        return read(Path("a.jsonl"))


def assert_swept_as_replayed(runs: list[Recording], **options: Any) -> None:
    """Assert that each policy of a sweep has the results of its replay, of which a run has none without a value."""
    axes: Any = {"patience": [0, 1, 3], "min_delta": [0, 0.5], "smoothing": [None, "median 3"]}
    found = sweep(runs, **axes, start_from_epoch=[0, 2], fixed=EarlyStopping(**options))
    assert sweep_text(Report(runs, None, found))
    for number, policy in enumerate(found.grid):
        callback = policy.callback(found.choice.monitor, found.choice.mode, LIBRARIES["trainbus"], found.fixed)
        for column, outcome in enumerate(replay(runs, callback).outcomes):
            own = (each[number, column] for each in (found.stopped, found.epochs_saved, found.seconds_saved))
            stop = -1 if outcome.stop is None else outcome.stop.epoch
            assert tuple(own) == (stop, outcome.epochs_saved, outcome.seconds_saved), policy
            lost = found.quality_lost[number, column]
            assert lost == (outcome.quality_lost if outcome.best_at_stop else np.inf if outcome.best_seen else 0)
            assert found.epochs[column] == outcome.epochs


monitors = st.sampled_from(
    [
        {"monitor": "val_loss"},
        {"monitor": "val_loss", "stopping_threshold": 0.7},
        {"monitor": "val_loss", "tie_breaker": "val_accuracy"},
        {"monitor": ("val_loss", "loss")},
        {"monitor": ("loss", "val_loss"), "stop_when": "all"},
        {"monitor": ("loss", "val_accuracy")},
    ]
)


@given(
    st.lists(plans | sparse_plans, min_size=1, max_size=2),
    looks,
    monitors,
    st.fixed_dictionaries(
        {"reset_on_lr_cut": st.booleans()},
        optional={
            "mode": st.sampled_from(["min", "max"]),
            "ties": st.just("newer"),
            "min_steps": st.integers(0, 9),
            "min_epochs": st.integers(0, 3),
            "check_finite": st.just(True),
            "min_delta_mode": st.just("rel"),
        },
    ),
)
@settings(max_examples=40)
def test_each_policy_of_a_sweep_has_the_results_of_its_replay(
    epochs: list[Plan], every: str, monitor: dict[str, Any], options: dict[str, Any]
) -> None:
    """Of the journals of runs with validations anywhere, whichever of them the rule looks at."""
    runs = [replace(recorded(each), name=str(number)) for number, each in enumerate(epochs)]
    assert_swept_as_replayed(runs, every=every, **monitor, **options)


each_second = [[(1, 0)] if number % 2 == 0 else [1] for number in range(10)]
constant = [[(1, 0)] for _ in range(10)]


@pytest.mark.parametrize(
    ("epochs", "every", "stop", "saved", "lost"),
    [
        (each_second, "2 epochs", 5, 4, 0),
        (each_second, "3 epochs from 0", 6, 3, 0),
        (each_second, "validation", 4, 5, 0),
        (each_second, "2 validations", -1, 0, 0),
        ([*each_second, *each_second, [1]], "2 validations", 10, 10, 0),
        (each_second, "epoch", 4, 5, 0),
        (constant, "2 epochs", 5, 4, 0),
        (constant, "3 epochs", 8, 1, 0),
        (constant, "30 epochs", -1, 0, 0),
        ([[(1, 0), (0.5, 0), (0.9, 0)], [(0.6, 0), (0.7, 0), (0.1, 0)], [(0.8, 0)] * 3], "validation", 1, 1, 0.4),
        ([[(1, 0), (0.9, 0), (0.9, 0)], [(0.9, 0)] * 3, [(0.9, 0), (0.2, 0), (0.9, 0)]], "validation", 1, 1, 0.7),
        ([[(1, 0), (0.2, 0), (0.9, 0)], [(0.9, 0)] * 3, [(0.9, 0), (0.5, 0), (0.9, 0)]], "validation", 1, 1, 0),
        ([[(1, 0), (0.2, 0), (0.9, 0)], [(0.9, 0)] * 3, [(0.9, 0), (0.5, 0), (0.8, 0)]], "epoch", -1, 0, 0),
        ([[(1, 0), (0.9, 0)], [(0.1, 0), (0.9, 0)], [(0.2, 0), (0.9, 0)], [(0.9, 0), (0.5, 0)]], "epoch", 2, 1, 0.4),
        ([[(1, 0), (2, 0)], [(0.1, 0), (2, 0)], [(1, 0), (2, 0)], [(0.9, 0), (0.5, 0)]], "2 validations", 2, 1, 0),
        ([[(3, 0)], [(2, 0)], [(0, 0)], [(2, 0)], [(3, 0)], [(2, 0)], [(2, 0)], [(-1, 0)]], "2 epochs", 5, 2, 1),
    ],
)
def test_what_a_policy_saves_and_loses(epochs: Any, every: str, stop: int, saved: int, lost: float) -> None:
    """The epoch of the look that stops the run, and the best up to it of all epochs, or of all validations."""
    run = recorded(plan(*epochs))
    fixed = EarlyStopping(every=every, patience=2, monitor="val_loss")
    found = sweep([run], min_delta=[0], smoothing=[None], start_from_epoch=[0], fixed=fixed)
    assert (found.stopped.item(), found.epochs_saved.item()) == (stop, saved)
    assert found.quality_lost.item() == pytest.approx(lost)
    assert_swept_as_replayed([run], every=every)


@pytest.mark.parametrize(
    ("epochs", "every", "at_stop", "seen"),
    [
        ([[(1, 0), (0.5, 0)], [(0.9, 0), (0.9, 0)], [(0.1, 0), (0.9, 0)]], "validation", 0.5, 0.1),
        ([[(1, 0), (0.5, 0), (0.9, 0)], [(0.9, 0), (0.4, 0)]], "validation", 0.5, 0.4),
        ([[(1, 0), (0.5, 0), (0.9, 0)], [(0.9, 0), (0.4, 0)]], "epoch", 0.4, 0.4),
        ([[(1, 0), (0.5, 0)], [(0.1, 0), (0.6, 0)], [(0.1, 0), (0.7, 0)], [(0.4, 0)] * 2], "epoch", 0.5, 0.4),
        ([[(1, 0), (0.5, 0)], [(0.1, 0), (0.6, 0)], [(0.1, 0), (0.7, 0)], [(0, 0)] * 2], "2 validations", 0.1, 0),
    ],
)
def test_the_best_of_several_early_stoppings_is_of_all_values_at_which_one_may_look(
    epochs: Any, every: str, at_stop: float, seen: float
) -> None:
    """In whatever order they are given; a value after the stop is none of those up to it."""
    run = recorded(plan(*epochs))
    callbacks = [EarlyStopping(every=every, patience=2), EarlyStopping(every="2 epochs", patience=9)]
    for order in (callbacks, callbacks[::-1], callbacks[:1]):
        (outcome,) = replay([run], order).outcomes
        assert outcome.best_at_stop is not None
        assert outcome.best_seen is not None
        assert (outcome.best_at_stop.value, outcome.best_seen.value) == (at_stop, seen)


def test_saves_at_several_validations_of_an_epoch_are_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note says so, and no save is guessed; with one at the end of each epoch there is no note."""
    monkeypatch.chdir(tmp_path)
    trained(plan([(1, 0), (1, 0)]))
    result = replay([read(Path("a.jsonl"))], [ModelCheckpoint("m-{epoch}", save_freq="validation")])
    assert result.notes[-1] == (
        "ModelCheckpoint: save_freq='validation' saves inside epochs, of which nothing is recorded."
    )
    assert not result.outcomes[0].decisions
