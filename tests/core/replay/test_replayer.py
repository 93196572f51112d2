"""Replay of a recorded run: its own settings give its decisions, other settings the decisions they would take."""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import SGDClassifier

from tests.core.storage.dying import MEMORY
from trainbus import Run, SettingsError, callbacks_from, journal
from trainbus.adapters.keras import KerasCallback
from trainbus.adapters.keras.subject import KerasSubject
from trainbus.adapters.sklearn import SklearnSubject, partial_fit
from trainbus.adapters.torch import TorchSubject
from trainbus.decision import Forget, Keep, Restore, Save, ScaleLearningRate, Stop
from trainbus.metrics.best_value import BestValue
from trainbus.plugins import (
    EarlyStopping,
    Journal,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TensorBoard,
)
from trainbus.replay import RunOutcome, SimulatedAction, read, replay
from trainbus.testing import EventRecorder, LineSubject

from .recorded import History, by_steps, deltas, finite, histories, recording, recording_of_run, value

ACTIONS = {
    Stop: "stop",
    Save: "save",
    Forget: "forget",
    Keep: "keep",
    Restore: "restore",
    ScaleLearningRate: "scale_learning_rate",
}


def decided(recorder: EventRecorder) -> tuple[list[tuple[int, str, str, int]], set[int]]:
    """Return the recorded decisions in the form of a replay, and the epochs whose models the files hold."""
    actions: list[tuple[int, str, str, int]] = []
    files: dict[str, int] = {}
    for epoch, decision in recorder.of("on_decision", "epoch", "decision"):
        for action in decision:
            of = epoch
            if isinstance(action, Save):
                files[action.path] = epoch
            if isinstance(action, Forget):
                of = files.pop(action.source)
            if isinstance(action, Restore):
                of = max(earlier for earlier, by, kind, _ in actions if kind == "keep" and by == action.by)
            actions.append((epoch, action.by, ACTIONS[type(action)], of))
    return actions, set(files.values())


def actions_of(outcome: RunOutcome) -> list[tuple[int, str, str, int]]:
    return sorted((each.epoch, each.by, each.action, each.of) for each in outcome.decisions)


class Brief:
    """A subject that saves nothing: here only the time of a save matters, not the content of the file."""

    def save(self, path: Path, *, weights_only: bool) -> None:
        path.touch()

    def snapshot_writer(self, *, weights_only: bool) -> Any:
        return Path.touch


class BriefKeras(Brief, KerasSubject): ...


class BriefTorch(Brief, TorchSubject): ...


class BriefSklearn(Brief, SklearnSubject): ...


def keras_subject() -> BriefKeras:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return BriefKeras(model)


def torch_subject() -> BriefTorch:
    model = torch.nn.Linear(1, 1)
    return BriefTorch(model, torch.optim.SGD(model.parameters(), lr=0.1))


def sklearn_subject() -> BriefSklearn:
    estimator = SGDClassifier(learning_rate="constant", eta0=0.1)
    return BriefSklearn(estimator.partial_fit([[0.0], [1.0]], [0, 1], classes=[0, 1]))


@pytest.fixture(
    scope="module", params=[keras_subject, torch_subject, sklearn_subject], ids=["Keras", "torch", "sklearn"]
)
def subject(request: pytest.FixtureRequest) -> Any:
    return request.param()


smoothings = st.sampled_from([None, None, "ema 0.5", "median 3"])
stoppers = st.builds(
    EarlyStopping,
    monitor=st.sampled_from(["val_loss", "val_accuracy"]),
    patience=st.integers(0, 4),
    min_delta=deltas,
    baseline=st.none() | finite,
    start_from_epoch=st.sampled_from([0, 0, 2]),
    restore_best_weights=st.booleans(),
    smoothing=smoothings,
    every=st.sampled_from(["epoch", "epoch", "2 epochs from 0"]),
)
reducers = st.builds(
    ReduceLROnPlateau,
    monitor=st.sampled_from(["val_loss", "val_accuracy"]),
    patience=st.integers(0, 3),
    min_delta=deltas,
    cooldown=st.integers(0, 3),
    factor=st.sampled_from([0.1, 0.5]),
    min_lr=st.sampled_from([0.0, 0.01, 0.1]),
    every=st.sampled_from(["epoch", "epoch", "2 epochs from 0"]),
)
savers = st.fixed_dictionaries(
    {
        "path": st.sampled_from(["m-{epoch}", "{epoch:02d}-{val_loss:.1f}", "m-{val_accuracy:.0f}"]),
        "monitor": st.sampled_from(["val_loss", "val_accuracy"]),
        "save_best_only": st.booleans(),
        "keep": st.none() | st.integers(1, 2),
        "keep_last": st.none() | st.integers(1, 2),
        "save_freq": st.sampled_from(["epoch", "2 epochs", "3 epochs from 0"]),
        "initial_value_threshold": st.none() | finite,
        "ties": st.sampled_from(["older", "older", "newer"]),
        "tie_breaker": st.booleans(),
    }
).map(lambda options: {**options, **compared(options)})


def compared(options: dict[str, Any]) -> dict[str, Any]:
    """Return what decides between equal values, if values are compared at all."""
    threshold = options["initial_value_threshold"] if options["save_best_only"] else None
    if not (options["save_best_only"] or options["keep"]):
        return {"ties": "older", "tie_breaker": None, "initial_value_threshold": None}
    other = {"val_loss": "val_accuracy", "val_accuracy": "val_loss"}[options["monitor"]]
    return {"tie_breaker": other if options.get("tie_breaker") else None, "initial_value_threshold": threshold}


def with_values(history: History) -> bool:
    return any(each is not None for each in history)


@settings(max_examples=settings().max_examples // 3)
@given(
    val_loss=histories.filter(with_values),
    val_accuracy=histories.filter(with_values),
    stopper=stoppers,
    reducer=reducers,
    saver=savers,
)
def test_a_run_replayed_under_its_own_settings_gives_its_decisions(
    subject: Any,
    val_loss: History,
    val_accuracy: History,
    stopper: EarlyStopping,
    reducer: ReduceLROnPlateau,
    saver: dict[str, Any],
) -> None:
    """Epoch, plugin and subject of every decision are the same in every framework, and all of them are exact."""
    (name,) = subject.learning_rates()
    subject.set_learning_rates({name: 0.1})
    recorder = EventRecorder("on_decision")
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = os.path.join(folder, saver["path"])  # noqa: PTH118 - a template
        checkpoint = ModelCheckpoint(path, **{key: value for key, value in saver.items() if key != "path"})
        callbacks = [stopper, checkpoint, reducer]
        run = Run(subject, [*callbacks, recorder], verbose=0)
        run.state.validation_freq = None  # any epoch may lack a metric
        run.begin()
        for epoch, pair in enumerate(zip_longest(val_loss, val_accuracy)):
            run.begin_epoch(epoch)
            values = zip(("val_loss", "val_accuracy"), pair, strict=True)
            run.end_epoch({key: value for key, value in values if value is not None})
            if run.stopped:
                break
        run.end()

        if not {"val_loss", "val_accuracy"} <= set(run.history):
            return  # it stopped before it had logged both
        outcome = replay([recording_of_run(run)], callbacks).outcomes[0]
        # a run that nothing stops up to its last recorded epoch may have continued: nothing is restored there
        actions, files = decided(recorder)
        expected = [each for each in actions if run.stopped or each[2] != "restore"]

        assert actions_of(outcome) == sorted(expected)
        assert (outcome.censored, outcome.stop is not None) == (not run.stopped, run.stopped)
        assert all(each.exact for each in outcome.decisions)
        assert set(outcome.kept) == files
        best = run.result.best.get(stopper.monitor)
        assert outcome.best_at_stop == best


validated = st.lists(st.tuples(value, value), min_size=1, max_size=12)


@given(
    validated,
    st.integers(1, 4),
    st.integers(0, 3),
    st.fixed_dictionaries(
        {
            "monitor": st.sampled_from(["val_loss", "val_accuracy", ["val_loss", "val_accuracy"]]),
            "patience": st.integers(0, 4),
            "min_delta": deltas,
            "min_steps": st.sampled_from([0, 0, 5, 17, 1000]),
            "restore_best_weights": st.booleans(),
            "smoothing": smoothings,
            "reset_on_lr_cut": st.booleans(),
            "every": st.sampled_from(["epoch", "validation", "2 validations"]),
        }
    ),
    st.fixed_dictionaries(
        {
            "monitor": st.sampled_from(["val_loss", "val_accuracy"]),
            "patience": st.integers(0, 3),
            "cooldown": st.integers(0, 2),
            "factor": st.just(0.5),
            "min_lr": st.sampled_from([0.0, 0.03]),
            "every": st.sampled_from(["epoch", "validation", "2 validations"]),
        }
    ),
    st.fixed_dictionaries(
        {
            "path": st.sampled_from(["m-{step}", "{step:03d}-{val_loss:.1f}", "m-{val_accuracy:.0f}"]),
            "monitor": st.sampled_from(["val_loss", "val_accuracy"]),
            "save_best_only": st.booleans(),
            "keep": st.none() | st.integers(1, 2),
            "keep_last": st.none() | st.integers(1, 2),
            "save_freq": st.sampled_from(["epoch", "validation", "2 validations", "3 validations"]),
            "initial_value_threshold": st.none() | finite,
        }
    ).map(lambda options: {**options, "initial_value_threshold": compared(options)["initial_value_threshold"]}),
    st.none() | st.integers(1, 40),
)
def test_the_journal_of_a_loop_by_steps_replayed_gives_its_decisions(
    history: list[tuple[float | None, float | None]],
    every: int,
    missing: int,
    stopper: dict[str, Any],
    reducer: dict[str, Any],
    saver: dict[str, Any],
    rows: int | None,
) -> None:
    """The same stops, saves, cuts, files and best values; also if the loader ends before or after a validation."""
    recorder = EventRecorder("on_decision")
    steps = max(len(history) * every - min(missing, every - 1), 1)
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = os.path.join(folder, saver["path"])  # noqa: PTH118 - a template
        checkpoint = ModelCheckpoint(path, **{key: each for key, each in saver.items() if key != "path"})
        callbacks = [EarlyStopping(**stopper), checkpoint, ReduceLROnPlateau(**reducer)]
        values = iter(history)
        with Run(LineSubject(), [*callbacks, recorder], verbose=0) as run:
            for _ in run.steps(range(3) if rows is None else iter(range(rows)), steps, validate_every=every):
                run.log(loss=1.0)
                if run.validation_due:
                    with run.validation():
                        run.log(dict(zip(("loss", "accuracy"), next(values), strict=True)))
        read_back = read(Path(folder, "journal.jsonl"))

    assert read_back.unit == "validation"
    assert read_back.steps is not None
    assert read_back.steps[-1] == run.step
    if not {"val_loss", "val_accuracy"} <= {name for name, each in read_back.metrics.items() if each.logged.any()}:
        return  # it stopped before it had logged both
    outcome = replay([read_back], callbacks).outcomes[0]
    actions, files = decided(recorder)
    assert actions_of(outcome) == sorted(each for each in actions if run.stopped or each[2] != "restore")
    assert outcome.censored is not run.stopped
    assert all(each.exact for each in outcome.decisions)
    assert set(outcome.kept) == files
    first = stopper["monitor"] if isinstance(stopper["monitor"], str) else stopper["monitor"][0]
    assert outcome.best_at_stop == run.result.best.get(first)


@given(
    st.lists(st.tuples(value, st.integers(0, 4)), min_size=1, max_size=12).filter(
        lambda rows: any(each is not None for each, _ in rows)
    ),
    st.integers(0, 30),
    st.integers(0, 4),
    st.integers(0, 3),
    st.sampled_from(["epoch", "epoch", "2 epochs", "validation"]),
)
def test_min_steps_holds_stops_back_as_live(
    rows: list[tuple[float | None, int]], min_steps: int, patience: int, min_epochs: int, every: str
) -> None:
    """In a loop over epochs of any lengths, from its journal."""
    minimums = {"min_steps": min_steps, "min_epochs": min_epochs}
    callback = EarlyStopping(patience=patience, every=every, restore_best_weights=True, **minimums)
    recorder = EventRecorder("on_decision")
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder, "journal.jsonl")
        with Run(LineSubject(), [callback, Journal(str(path)), recorder], verbose=0) as run:
            for epoch in run.epochs(len(rows)):
                loss, batches = rows[epoch]
                for _ in run.batches(range(batches)):
                    pass
                with run.validation():
                    run.log(loss=loss)
        read_back = read(path)

    if not any(each.logged.any() for name, each in read_back.metrics.items() if name == "val_loss"):
        return
    outcome = replay([read_back], callback).outcomes[0]
    actions, _ = decided(recorder)
    assert actions_of(outcome) == sorted(each for each in actions if run.stopped or each[2] != "restore")


def blobs() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 2)).astype("float32")
    return x, (x.sum(axis=1) + random.normal(size=60) > 0).astype("int64")


def trained_by_keras(callbacks: list[Any]) -> Run:
    keras.utils.set_random_seed(0)
    x, y = blobs()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, "softmax")])
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    callback = KerasCallback(callbacks)
    model.fit(x[:40], y[:40], validation_data=(x[40:], y[40:]), epochs=30, verbose=0, callbacks=[callback])
    return callback.run


def trained_by_torch(callbacks: list[Any]) -> Run:
    torch.manual_seed(0)
    x, y = map(torch.from_numpy, blobs())
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with Run(TorchSubject(model, optimizer), callbacks, verbose=0) as run:
        for _ in run.epochs(30):
            loss = torch.nn.functional.cross_entropy(model(x[:40]), y[:40])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with run.validation(), torch.no_grad():
                run.log(loss=torch.nn.functional.cross_entropy(model(x[40:]), y[40:]))
    return run


def trained_by_sklearn(callbacks: list[Any]) -> Run:
    x, y = blobs()
    estimator = SGDClassifier("log_loss", learning_rate="constant", eta0=0.5, random_state=0)
    held_out = (x[40:], y[40:])
    return partial_fit(estimator, x[:40], y[:40], epochs=30, validation_data=held_out, callbacks=callbacks)


def assert_equals_the_journal(path: str) -> None:
    """A journal records the same decisions as its replay under the settings in it."""
    (run_journal,) = journal.read(Path(path))
    listed = [each for each in run_journal.callbacks.values() if each.callback]
    callbacks = callbacks_from({"callback": each.callback, **each.settings} for each in listed)
    (outcome,) = replay([read(path)], callbacks).outcomes

    stopped = any(action.kind == "stop" for event in run_journal.decisions for action in event.actions)
    expected = [
        (event.epoch, action.by, action.kind)
        for event in run_journal.decisions
        for action in event.actions
        if stopped or action.kind != "restore"
    ]
    assert sorted((each.epoch, each.by, each.action) for each in outcome.decisions) == sorted(expected)


@pytest.mark.parametrize("train", [trained_by_keras, trained_by_torch, trained_by_sklearn])
def test_a_real_training_replayed_under_its_own_settings_gives_its_decisions(train: Any) -> None:
    """A real training with each framework gives the same stop, saves, cuts and restored epoch."""
    recorder = EventRecorder("on_decision")
    callbacks = [
        EarlyStopping(monitor="val_loss", patience=4, min_delta=1e-3, restore_best_weights=True),
        ModelCheckpoint("m-{epoch}", monitor="val_loss", keep=2, keep_last=1),
        ReduceLROnPlateau(monitor="val_loss", patience=1, min_delta=1e-2, factor=0.5),
    ]
    run = train([*callbacks, recorder])

    outcome = replay([recording_of_run(run)], callbacks).outcomes[0]
    assert_equals_the_journal("journal.jsonl")
    actions, _ = decided(recorder)
    assert any(kind == "scale_learning_rate" for _, _, kind, _ in actions)
    assert actions_of(outcome) == sorted(each for each in actions if run.stopped or each[2] != "restore")
    assert all(each.exact for each in outcome.decisions)


def test_epochs_saved_and_quality_lost() -> None:
    """Epochs and seconds after the stop are saved; the best after it is lost."""
    losses = [3.0, 2.0, 2.5, 2.6, 1.0, 1.5]
    result = replay([recording(losses, seconds=10.0)], EarlyStopping(patience=2))
    (outcome,) = result.outcomes

    assert outcome.stop == SimulatedAction(3, "EarlyStopping", "stop", 3)
    assert (outcome.epochs, outcome.epochs_saved, outcome.seconds, outcome.seconds_saved) == (6, 2, 50.0, 20.0)
    assert (outcome.best_seen, outcome.best_at_stop, outcome.quality_lost) == (
        BestValue(1.0, 4),
        BestValue(2.0, 1),
        1.0,
    )
    assert (result.epochs_saved, result.seconds_saved, result.quality_lost, result.censored) == (2, 20.0, (1.0, 1.0), 0)


def test_a_run_that_nothing_stops_is_censored() -> None:
    """A run that nothing stops up to its last recorded epoch saves nothing, and its stop is unknown."""
    (outcome,) = replay([recording([3.0, 2.0, 2.5])], EarlyStopping(patience=2)).outcomes

    assert (outcome.censored, outcome.stop, outcome.epochs_saved, outcome.quality_lost) == (True, None, 0, 0.0)


@given(histories.filter(with_values), st.integers(0, 4), deltas, st.integers(1, 20))
def test_more_epochs_change_no_exact_decision(history: History, patience: int, delta: float, cut: int) -> None:
    """Decisions on a truncated record are those on the complete one."""
    callbacks = [EarlyStopping(patience=patience, min_delta=delta), ModelCheckpoint("{epoch}", save_best_only=True)]
    short = history[:cut]
    if not with_values(short):
        return
    (early,) = replay([recording(short)], callbacks).outcomes
    (complete,) = replay([recording(history)], callbacks).outcomes

    assert [each for each in complete.decisions if each.epoch < len(short)] == list(early.decisions)


@pytest.mark.parametrize(
    ("runs", "callbacks", "sentence"),
    [
        ([], EarlyStopping(), "there are no runs"),
        ([recording([1.0])], [], "none of these callbacks can be replayed; give an EarlyStopping"),
        ([recording([1.0])], TensorBoard(), "none of these callbacks can be replayed"),
        ([recording([1.0])], object(), "is not a callback"),
        ([recording({"a": [1.0]})], EarlyStopping(), "no logged metric has a name with a known direction"),
        ([recording({"a": [1.0]})], EarlyStopping(monitor="a"), "write mode="),
        ([recording([None])], EarlyStopping(), "no run logs val_loss"),
    ],
)
def test_wrong_arguments_of_a_replay_are_refused(runs: Any, callbacks: Any, sentence: str) -> None:
    """Missing runs, deciding callbacks and metrics are refused."""
    with pytest.raises(SettingsError, match=sentence):
        replay(runs, callbacks)


COUNTS_EPOCHS: list[tuple[Any, str]] = [
    (EarlyStopping(min_epochs=3), "EarlyStopping: min_epochs=3: a loop by steps has no epochs; give min_steps"),
    (EarlyStopping(start_from_epoch=1), "EarlyStopping: start_from_epoch=1: .*; give min_steps"),
    (EarlyStopping(every="2 epochs"), "EarlyStopping: every='2 epochs': .*; give steps"),
    (ReduceLROnPlateau(every="5 epochs from 0"), "ReduceLROnPlateau: every=.*; give steps"),
    (ModelCheckpoint("m-{epoch}"), "ModelCheckpoint: filepath='m-{epoch}': .*; write {step} in place of {epoch}"),
    (ModelCheckpoint("m", save_freq="3 epochs"), "ModelCheckpoint: save_freq='3 epochs': .*; give steps"),
    (
        [EarlyStopping(), LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch))],
        "LearningRateScheduler: schedule: a loop by steps has no epochs",
    ),
    ({"callback": "EarlyStopping", "min_epochs": 2}, "EarlyStopping: min_epochs=2: a loop by steps has no epochs"),
]


@pytest.mark.parametrize(("callbacks", "problem"), COUNTS_EPOCHS)
def test_options_that_count_epochs_are_refused_of_a_loop_by_steps(callbacks: Any, problem: str) -> None:
    """In the words of a live run; in a mixed set with the runs that may be left out."""
    run = recording([3.0, 2.0, 2.5], "a")
    steps = replace(by_steps(run), name="b")
    with pytest.raises(SettingsError, match=f"^{problem}"):
        replay([steps], callbacks)
    with pytest.raises(SettingsError, match=f"^{problem}.*, or leave out b$"):
        replay([run, steps], callbacks)
    assert replay([run], callbacks).outcomes


def test_options_that_count_epochs_are_refused_of_every_library() -> None:
    """Keras's early stopping has no option in its place."""
    with pytest.raises(SettingsError, match=r"^EarlyStopping: start_from_epoch=2: a loop .*; leave it out$"):
        replay([by_steps(recording([1.0]))], EarlyStopping(start_from_epoch=2), by="keras")


@pytest.mark.parametrize(
    ("callback", "note"),
    [
        (ModelCheckpoint("m", save_freq=100), "save_freq=100 saves between validations, of which nothing is recorded"),
        (EarlyStopping(every="500 steps"), "every='500 steps' looks between validations, of which nothing is recorded"),
        (EarlyStopping(every="validation"), ""),
        (EarlyStopping(min_steps=3), ""),
    ],
)
def test_notes_on_a_loop_by_steps_speak_of_validations(callback: Any, note: str) -> None:
    """Each validation is recorded, with its step."""
    notes = "".join(replay([by_steps(recording([1.0, 2.0]))], callback).notes)
    assert note in notes if note else not notes
    assert "epoch" not in notes


def test_min_steps_is_ignored_only_where_steps_are_not_recorded() -> None:
    """A note names these runs."""
    runs = [recording([1.0] * 6, "a"), replace(by_steps(recording([1.0] * 6)), name="b", unit="epoch")]
    result = replay(runs, EarlyStopping(patience=2, min_steps=1200))
    assert [each.stop.epoch if each.stop else None for each in result.outcomes] == [2, 4]
    assert result.notes == ("EarlyStopping: min_steps=1200 is ignored in a, since steps are not recorded.",)
    assert replay(runs[:1], EarlyStopping(min_steps=5)).notes == (
        "EarlyStopping: min_steps=5 is ignored, since steps are not recorded.",
    )


def test_a_mixed_set_is_totalled_by_unit() -> None:
    """And a note says what a validation is compared with."""
    run = recording([3.0, 2.0, 2.5, 2.6, 1.0, 1.5], "a")
    result = replay(
        [run, replace(by_steps(run), name="b"), replace(by_steps(run), name="c")], EarlyStopping(patience=2)
    )
    total = result.as_data()["total"]
    assert (total["epochs"], total["epochs_saved"]) == (6, 2)
    assert (total["validations"], total["validations_saved"]) == (12, 4)
    assert (result.epochs, result.epochs_saved) == (18, 6)
    assert result.notes == ("b, c: loops by steps, of which each validation counts as much as an epoch of the others.",)
    assert "epochs" not in replay([by_steps(run)], EarlyStopping()).as_data()["total"]


def test_limitations_are_noted() -> None:
    """Notes name callbacks that decide nothing and saves inside epochs."""
    callbacks = [{"callback": "EarlyStopping"}, TensorBoard(), ModelCheckpoint("m", save_freq=100)]
    result = replay([recording([1.0, 2.0])], callbacks)

    assert "TensorBoard" in result.notes[0]
    assert "save_freq=100 saves inside epochs" in result.notes[1]


def test_two_callbacks_of_a_kind_are_named_as_in_a_run() -> None:
    """The first callback that stops ends the run, and the outcome names it."""
    callbacks = [EarlyStopping(patience=4), EarlyStopping(patience=2)]
    (outcome,) = replay([recording([1.0] * 6)], callbacks).outcomes

    assert [each.by for each in outcome.decisions] == ["EarlyStopping-2"]


def test_as_data_is_strict_json() -> None:
    """The data are JSON even if no value was finite."""
    result = replay([recording([math.nan, math.nan, math.nan])], EarlyStopping(patience=1))
    assert json.loads(json.dumps(result.as_data(), allow_nan=False))["runs"][0]["best_seen"] is None
