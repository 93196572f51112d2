"""Tests of when models are saved."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainbus import Decision, LoopError, Run, SettingsError, TrainbusError, decision, hookimpl
from trainbus.checkpoints import read
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint
from trainbus.replay import read as read_run
from trainbus.replay import replay
from trainbus.testing import LineSubject, scripted

from .saved_files import on_disk, saved


def test_the_file_holds_the_weights_of_its_epoch() -> None:
    """The loaded subject equals the subject at the end of the epoch."""
    with Run(LineSubject(), ModelCheckpoint("m-{epoch}")) as run:
        for epoch in run.epochs(3):
            run.subject.slope = np.array(float(epoch))
            run.log(loss=1)

    back = LineSubject()
    for epoch in range(3):
        back.load(Path(f"m-{epoch + 1}.npz"))
        assert back.slope == epoch


def test_weights_only_leaves_out_the_rest() -> None:
    """The file of save_weights_only has the weights and nothing else."""
    saved([{"loss": 1}], filepath="w", save_weights_only=True)
    saved([{"loss": 1}], filepath="a")

    assert set(np.load("w.npz")) == {"slope", "offset"}
    assert set(np.load("a.npz")) == {"slope", "offset", "learning_rate"}


def test_the_last_model_is_saved_at_every_event_that_the_best_leaves_out_too() -> None:
    """With save_last the file "last", next to the best one, holds the latest epoch."""
    history = [{"val_loss": value} for value in (2, 1, 3)]
    run, _ = scripted(history, ModelCheckpoint("d/best", save_best_only=True, save_last=True), LineSubject())

    newest = {checkpoint.path.stem: checkpoint.epoch for checkpoint in run.state.checkpoints}
    assert newest == {"best": 1, "last": 2}
    assert on_disk("d") == {"best", "last"}


def train_until(error: BaseException | None, *callbacks: Any) -> Run:
    """A run of three epochs, the third of which ends with the error."""
    run = Run(LineSubject(), list(callbacks))
    with run:
        for epoch in run.epochs(3):
            run.subject.slope = np.array(float(epoch))
            run.log(val_loss=1)
            if error is not None and epoch == 2:
                raise error
    return run


@pytest.mark.parametrize("error", [ValueError("spoilt"), KeyboardInterrupt(), None])
def test_the_end_of_the_training_decides_the_name_of_its_file(error: BaseException | None) -> None:
    """An exception or an interrupt saves to "exception", any other end to "end"; the best file is unchanged."""
    callback = ModelCheckpoint("best", save_best_only=True, save_on=("end", "exception"))
    if error is None:
        train_until(None, callback)
    else:
        with pytest.raises(type(error)):
            train_until(error, callback)

    ending = "end" if error is None else "exception"
    assert on_disk() == {"best", ending}
    assert np.load(f"{ending}.npz")["slope"] == 2
    assert np.load("best.npz")["slope"] == 0


class EndsBadly:
    """A plugin that raises, or answers what is no decision, when the training is over."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    @hookimpl
    def on_train_end(self) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class EndsBadlyLast(EndsBadly):
    @hookimpl(trylast=True)
    def on_train_end(self) -> object:
        return super().on_train_end()


class EndsBadlyUnnoticed(EndsBadly):
    critical = False


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("k"), OSError("disk"), AssertionError("wrong")])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("save_freq", ["epoch", "1 step"])
def test_an_error_of_a_plugin_at_the_end_saves_the_file_exception(
    error: Exception, first: bool, save_freq: str
) -> None:
    """Wherever the plugin is listed; the training itself has ended, so the file "end" is saved as well."""
    saver = ModelCheckpoint("best", save_best_only=True, save_freq=save_freq, save_on=("end", "exception"))
    listed = [EndsBadly(error), saver] if first else [saver, EndsBadly(error)]

    with pytest.raises(type(error)):
        train_until(None, *listed)

    assert on_disk() >= {"end", "exception"}
    assert np.load("exception.npz")["slope"] == np.load("end.npz")["slope"] == 2
    assert read(Path("exception.npz")).entry.reason == f"{type(error).__name__} ended the training"


@pytest.mark.parametrize(
    "impossible",
    [
        decision.restore("nowhere"),
        decision.restore("missing.npz"),
        decision.save("taken/m.npz"),
        decision.save("m.npz") | decision.restore("nowhere"),
        decision.restore("damaged.npz"),
        decision.scale_learning_rate(0.5) | decision.restore("nowhere"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_last_decision_that_cannot_be_executed_saves_the_file_exception(impossible: Decision, first: bool) -> None:
    """With the final model, whatever the decision, and wherever its plugin is listed; the error is raised."""
    Path("taken").touch()
    Path("damaged.npz").write_bytes(b"no model")
    saver = ModelCheckpoint("m-{epoch}", save_on=("exception",))
    with pytest.raises((TrainbusError, OSError)):
        train_until(None, *([EndsBadly(impossible), saver] if first else [saver, EndsBadly(impossible)]))

    assert {each.name for each in Path().glob("*.npz")} >= {"m-1.npz", "m-2.npz", "m-3.npz", "exception.npz"}
    assert np.load("exception.npz")["slope"] == 2
    assert "ended the training" in read(Path("exception.npz")).entry.reason


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("k"), OSError("disk")])
def test_a_plugin_that_is_called_last_at_the_end_saves_the_file_exception_too(error: Exception) -> None:
    """Even after the checkpoint's own hook, and while the best weights are to be restored."""
    stopping = EarlyStopping(patience=5, restore_best_weights=True)
    plugins = [stopping, ModelCheckpoint("m", save_on=("exception",)), EndsBadlyLast(error)]
    with pytest.raises(type(error)):
        train_until(None, *plugins)

    assert np.load("exception.npz")["slope"] == 2


def test_an_answer_that_is_no_decision_at_the_end_saves_the_file_exception() -> None:
    with pytest.raises(LoopError, match="return a Decision or None"):
        train_until(None, ModelCheckpoint("m", save_on=("exception",)), EndsBadly("stop"))

    assert on_disk() == {"m", "exception"}


def test_an_observer_that_fails_at_the_end_is_no_exception() -> None:
    train_until(None, ModelCheckpoint("m", save_on=("exception", "end")), EndsBadlyUnnoticed(ValueError("no")))

    assert on_disk() == {"m", "end"}


def test_an_early_stop_is_an_end() -> None:
    """A run that a decision has stopped saves to "end", if that was requested."""
    stopping = EarlyStopping(patience=1)
    train_until(None, ModelCheckpoint("m", save_on=("end",)), stopping)
    with pytest.raises(ValueError, match="spoilt"):
        train_until(ValueError("spoilt"), ModelCheckpoint("m", save_on=("end",)))

    assert on_disk() == {"m", "end"}


def test_a_training_that_never_began_saves_nothing() -> None:
    """If a plugin raises in on_train_begin, no file is saved."""

    class Refuses:
        @hookimpl
        def on_train_begin(self) -> None:
            raise SettingsError("not like this")

    with pytest.raises(SettingsError, match="not like this"):
        train_until(None, Refuses(), ModelCheckpoint("m", save_on=("exception",)))

    assert on_disk() == set()


VALUES = [1.0, 2.0, 1.5, 1.2, 1.8, 0.5]


@pytest.mark.covering(1)
@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"keep": 1}, {"5"}),
        ({"keep": 2}, {"3", "5"}),
        ({"keep": 3}, {"3", "4", "5"}),
        ({"keep": 1, "keep_last": 2}, {"5", "6"}),
        ({"keep": 2, "keep_last": 1}, {"3", "5", "6"}),
        ({"keep_last": 2}, {"5", "6"}),
        ({"keep": 2, "save_last": True}, {"3", "5", "last"}),
        ({"keep": 2, "save_weights_only": True}, {"3", "5"}),
        ({"keep": 2, "background": False}, {"3", "5"}),
        ({"keep": 2, "save_freq": "1 steps"}, {"3", "5"}),
    ],
)
@pytest.mark.parametrize("place", ["new/{epoch}", "old/new/{epoch}"])
def test_only_files_in_the_directory_count_after_a_resume_into_another_one(
    place: str, options: dict[str, Any], kept: set[str]
) -> None:
    """The checkpoint that the run has resumed from is not one of them, though it is the best; the old ones stay."""

    def train(filepath: str, epochs: int, **source: Any) -> None:
        callback = ModelCheckpoint(filepath, **{"monitor": "score", "mode": "max", **options})
        with Run(LineSubject(), callback, **source) as run:
            for epoch in run.epochs(epochs):
                for _ in run.batches("a"):
                    run.log(score=VALUES[epoch])

    train("old/{epoch}", 2)
    before = on_disk("old")
    train(place, 6, resume="old/2.npz")
    assert on_disk(Path(place).parent) == kept
    assert on_disk("old") == before


@pytest.mark.covering(1)
@pytest.mark.parametrize("freq", ["epoch", "1 steps", 1, "2 steps"])
@pytest.mark.parametrize("background", [False, None])
@pytest.mark.parametrize("options", [{"keep": 1}, {"keep": 2}, {"keep_last": 2}, {"keep": 1, "keep_last": 1}])
def test_a_file_that_a_kill_has_prevented_is_written_again_and_counts(
    options: dict[str, Any], background: bool | None, freq: str | int
) -> None:
    """After a kill between two files of one moment, the resumed run keeps the files that the unbroken run keeps."""

    def train(folder: str, epochs: int, **source: Any) -> None:
        every = {"save_freq": freq, "save_last": True, "background": background, **options}
        callback = ModelCheckpoint(f"{folder}/{{step}}", monitor="score", mode="max", **every)
        with Run(LineSubject(), callback, **source) as run:
            for epoch in run.epochs(epochs):
                for batch in run.batches(range(3)):
                    run.log(score=VALUES[epoch] + batch)  # each is better than those before it in the epoch

    train("whole", 4)
    train("killed", 2)
    for name in ("6.npz", "trainbus.6.npz.json"):
        (Path("killed") / name).unlink()
    train("killed", 4, resume="auto")

    assert on_disk("killed") == on_disk("whole")


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({"save_best_only": True}, [3, 5, 7, 9]),
        ({"keep": 9}, [3, 5, 7, 9]),
        ({"keep_last": 9}, [2, 4, 6, 8, 10]),
        ({"keep": 9, "keep_last": 9}, [2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"save_best_only": True, "save_freq": "3 epochs"}, [3, 7, 9]),
        ({"save_best_only": True, "save_freq": "4 epochs from 0"}, [1, 5, 9]),
    ],
)
@pytest.mark.parametrize("broken", [None, 2, 4, 6])
def test_a_save_by_epochs_that_needs_the_metric_waits_for_its_next_value(
    options: dict[str, Any], epochs: list[int], broken: int | None
) -> None:
    """Every second epoch has a validation, and the saves fall on the others; live, after a resume, and in replay."""

    def train(resume: str | None = None, die_at: int | None = None) -> None:
        callbacks = [
            ModelCheckpoint("run/m-{epoch}", **{"save_freq": "2 epochs", "background": False, **options}),
            ModelCheckpoint("all/a-{epoch}", background=False),
            Journal("journal.jsonl"),
        ]
        with Run(LineSubject(), callbacks, verbose=0, resume=resume) as run:
            for epoch in run.epochs(10, validation_freq=[1, 3, 5, 7, 9]):
                if epoch == die_at:
                    raise KeyError
                run.log(loss=1.0)
                if epoch % 2 == 0:
                    with run.validation():
                        run.log(loss=1 / (epoch + 1))

    if broken is not None:
        with pytest.raises(KeyError):
            train(die_at=broken)
    train("auto" if broken is not None else None)
    assert sorted(int(path.stem[2:]) for path in Path("run").glob("m-*.npz")) == epochs
    saver = ModelCheckpoint("run/m-{epoch}", **{"save_freq": "2 epochs", **options})
    (outcome,) = replay([read_run("journal.jsonl")], saver).outcomes
    assert [epoch + 1 for epoch in outcome.kept] == epochs
