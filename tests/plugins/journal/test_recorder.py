"""Every run's journal follows its schema and records what happened, however the run ends."""

import os
import shutil
import signal
import time
from collections.abc import Mapping
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Decision, Run, decision, hookimpl
from trainbus.journal import (
    CheckpointSaved,
    DecisionMade,
    EpochEnded,
    ExceptionRaised,
    FailureReported,
    RunResumed,
    RunStarted,
    StopRequested,
    read,
)
from trainbus.metrics.best_value import BestValue
from trainbus.plugins import EarlyStopping, Journal, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import LineSubject, scripted

from .runs import CUT, JOURNAL, KILLED, SAVED, STOP, events_of, read_one, train

scores = st.lists(st.sampled_from([nan, inf, -inf, 0.5, 0.25, 1.0, 2.0]), min_size=1, max_size=8)


@given(scores, st.booleans())
def test_every_journal_is_valid_and_equals_the_runs_own_record(
    tmp_path_factory: pytest.TempPathFactory, given_scores: list[float], raising: bool
) -> None:
    """Metrics, decisions with epoch, reason, plugin and values, and the end are those of the run itself."""
    path = tmp_path_factory.mktemp("journal") / "runs/a.jsonl"

    class Faulty:
        @hookimpl
        def on_train_end(self) -> None:
            if raising:
                raise ValueError("bad")

    try:
        history = [{"val_loss": each, "loss": -each} for each in given_scores]
        run, decided = scripted(history, [STOP, CUT, Journal(path), Faulty()], LineSubject())
    except ValueError:
        assert raising
        assert read_one(path).end is not None
        return
    found = read_one(path)

    assert repr([each.metrics for each in found.epochs]) == repr(
        [dict(metrics) for _, metrics in run.state.epoch_metrics]
    )
    assert [each.epoch for each in found.epochs] == run.history.epochs
    assert repr(
        [(each.epoch, [(a.kind, a.by, a.reason, a.values) for a in each.actions]) for each in found.decisions]
    ) == repr([(epoch, [(a.kind, a.by, a.reason, dict(a.values)) for a in each]) for epoch, each in decided])
    assert list(run.result.decisions) == decided
    assert found.end is not None
    assert (found.end.reason, found.end.epochs) == (run.result.reason, run.result.epochs)
    assert {name: BestValue(best.value, best.epoch) for name, best in found.end.best.items()} == run.result.best
    assert found.callbacks["EarlyStopping"].settings == {
        name: value for name, value in STOP.settings().items() if name != "callback"
    }


def test_the_values_of_a_stop_are_those_that_the_rule_compared() -> None:
    """A reader can follow a decision: value, best, its epoch, the wait and the patience."""
    train([3.0, 1.0, 1.5, 2.0], EarlyStopping(patience=2, min_delta=0.25), Journal("a.jsonl"))

    (stop,) = [action for each in read_one(Path("a.jsonl")).decisions for action in each.actions]

    assert stop.reason == "val_loss 2 did not improve on 1 (epoch 2) by more than 0.25 for the 2nd time"
    assert (stop.kind, stop.by, stop.rule) == ("stop", "EarlyStopping", "stopping_rule")
    assert stop.values == {
        "metric": "val_loss",
        "mode": "min",
        "value": 2.0,
        "best": 1.0,
        "best_epoch": 1,
        "wait": 2,
        "patience": 2,
        "min_delta": 0.25,
        "baseline": None,
        "start_from_epoch": 0,
        "smoothing": None,
    }


def test_a_cut_records_the_learning_rates_that_follow() -> None:
    """Factor and floor are the requested ones, the rates the results; the next epoch trains with them."""
    train([1.0, 1.0, 1.0], CUT, Journal("a.jsonl"))
    found = read_one(Path("a.jsonl"))

    assert [each.learning_rates for each in found.decisions] == [{"learning_rate": 0.25}, {"learning_rate": 0.125}]
    assert [each.metrics["learning_rate"] for each in found.epochs] == [0.5, 0.5, 0.25]
    assert found.decisions[0].actions[0].options == {"factor": 0.5, "floor": 0.1, "groups": [], "eps": 0.0}


class Sets:
    """A plugin that sets rates at the begin of each epoch."""

    def __init__(self, *rates: Any) -> None:
        self.rates = rates

    @hookimpl
    def on_epoch_begin(self, epoch: int) -> Any:
        return decision.set_learning_rate(self.rates[epoch], reason="planned")


def test_a_set_records_what_was_asked_for_and_the_rates_that_follow() -> None:
    """Of a mapping, every name; the cuts of the run are in the rates that follow."""
    rates = [0.25, {"learning_rate": 0.125}, 0.5]
    train([1.0, 1.0, 1.0], Sets(*rates), ReduceLROnPlateau(patience=1, factor=0.5), Journal("a.jsonl"))
    found = read_one(Path("a.jsonl"))

    sets = [each for each in found.decisions if each.actions[0].kind == "set_learning_rate"]
    assert [each.actions[0].options for each in sets] == [{"rate": rate} for rate in rates]
    assert [each.learning_rates for each in sets] == [{"learning_rate": rate} for rate in (0.25, 0.125, 0.25)]
    assert [each.metrics["learning_rate"] for each in found.epochs] == [0.25, 0.125, 0.25]


def test_successive_runs_share_a_file() -> None:
    """A second run adds to the journal of the first, and each is read by itself."""
    train([1.0, 2.0], SAVED)
    train([3.0], SAVED)

    assert [[each.metrics["val_loss"] for each in run.epochs] for run in read(JOURNAL)] == [[1.0, 2.0], [3.0]]


class Killer:
    """A plugin that ends the process at a given event, in a way that nothing can prevent."""

    critical = True

    def __init__(self, call: int) -> None:
        self.left = call

    def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    @hookimpl
    def on_checkpoint(self) -> None:
        self.count()

    @hookimpl
    def on_decision(self) -> None:
        self.count()

    @hookimpl
    def on_batch_end(self) -> None:
        self.count()

    @hookimpl
    def on_epoch_end(self) -> None:
        self.count()


def in_child(*calls: int | None, listed: tuple[object, ...] = (SAVED, STOP, CUT)) -> None:
    """Train in one process after another; each is killed at its event and resumed by the next."""
    for call in calls:
        child = os.fork()
        if child == 0:
            try:
                train(KILLED, *listed, *([] if call is None else [Killer(call)]), resume="auto")
            except BaseException:  # noqa: BLE001 - the exit code reports it
                os._exit(1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in ((0,) if call is None else (0, -signal.SIGKILL))


@pytest.mark.parametrize("every_batch", [pytest.param(False, marks=pytest.mark.exhaustive), True])
def test_the_journal_of_a_killed_and_resumed_run_equals_that_of_an_uninterrupted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_batch: bool
) -> None:
    """Each decision, file and metric is recorded once and in order, however often the run was killed."""
    saved = ModelCheckpoint("run/m-{step}", keep_last=2, save_freq=1) if every_batch else SAVED
    journals = []
    for number, calls in enumerate([(), (6,), (7,), (13, 5, 8), (18, 9)]):
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
        in_child(*calls, None, listed=(saved, STOP, CUT))
        journals.append(read_one())

    unbroken, *broken = journals
    assert any(each.void for each in broken)
    for each in broken:
        assert events_of(each) == events_of(unbroken)
    assert [type(each) for each in broken[-1].events].count(RunResumed) == 2


def test_the_header_has_the_hyperparameters_also_of_a_resumed_run(tmp_path: Path) -> None:
    """As plain data; the script of the resumed run gives them anew, or the checkpoint has them."""
    for epochs, given in ((1, {"lr": 0.1, "layers": (64, 8)}), (2, {"seed": 3})):
        callbacks = [Journal(JOURNAL), ModelCheckpoint("m", monitor="loss")]
        with Run(LineSubject(), callbacks=callbacks, hparams=given, resume="auto") as run:
            for epoch in run.epochs(epochs):
                run.log(loss=1.0 / (epoch + 1))
    begun, resumed = (each for each in read_one().events if isinstance(each, (RunStarted, RunResumed)))
    assert begun.hparams == {"lr": 0.1, "layers": [64, 8]}
    assert resumed.hparams == {"lr": 0.1, "layers": [64, 8], "seed": 3}


def test_a_run_resumed_with_another_journal_begins_a_new_record(tmp_path: Path) -> None:
    """The new journal begins with the resumption and its epoch."""
    train(KILLED[:3], SAVED)
    JOURNAL.unlink()
    train(KILLED[:5], SAVED, resume="auto")

    found = read_one()
    assert isinstance(found.introduction, RunResumed)
    assert (found.introduction.epochs, [each.epoch for each in found.epochs]) == (3, [3, 4])


def test_resuming_a_finished_run_adds_no_decision() -> None:
    """A resumed run that had ended executes its last decision again, and records it once."""
    train([1.0, 2.0, 2.0, 2.0, 2.0], SAVED, STOP)
    before = events_of(read_one())
    train([1.0, 2.0, 2.0, 2.0, 2.0], SAVED, STOP, resume="auto")

    assert events_of(read_one()) == before


def test_failures_and_exceptions_are_recorded() -> None:
    """An observer that raises, and the error of the loop with its traceback."""

    class Careless:
        critical = False

        @hookimpl
        def on_epoch_end(self) -> None:
            raise KeyError("nothing")

    with pytest.raises(ZeroDivisionError), Run(LineSubject(), [SAVED, Careless()]) as run:
        for _ in run.epochs(3):
            run.log(val_loss=1 / (1 - run.epoch))
    found = read_one()

    failure = next(each for each in found.events if isinstance(each, FailureReported))
    raised = next(each for each in found.events if isinstance(each, ExceptionRaised))
    assert (failure.plugin, failure.hook, failure.error) == ("Careless", "on_epoch_end", "KeyError: 'nothing'")
    assert raised.error == "ZeroDivisionError: division by zero"
    assert "1 / (1 - run.epoch)" in raised.traceback
    assert found.end is not None
    assert (found.end.outcome, found.end.reason) == ("failed", raised.error)


def test_an_epoch_in_which_a_plugin_raises_is_recorded_too() -> None:
    """The metrics are written before any plugin can raise because of them."""

    class Refusing:
        @hookimpl
        def on_epoch_end(self) -> None:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        train([4.0], Refusing(), Journal("a.jsonl"))

    assert [each.metrics["val_loss"] for each in read_one(Path("a.jsonl")).epochs] == [4.0]


def test_a_signal_and_its_checkpoint_are_recorded() -> None:
    """The signal, the stop that it requests, the file, and the interruption; a resumed run appends to the journal."""

    class Sender:
        @hookimpl
        def on_batch_end(self, epoch: int) -> None:
            if epoch == 1:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(KILLED[:4], SAVED, Sender())
    found = read_one()
    (sent,) = [each for each in found.events if isinstance(each, StopRequested)]

    assert (sent.name, sent.epoch) == ("SIGINT", 1)
    assert "run/signal.npz" in [str(Path(each.path)) for each in found.events if isinstance(each, CheckpointSaved)]
    assert found.end is not None
    assert found.end.outcome == "interrupted"
    assert not any(isinstance(each, ExceptionRaised) for each in found.events)

    train(KILLED[:4], SAVED, resume="auto")
    assert [each.epoch for each in read_one().epochs] == [0, 1, 2, 3]
    assert read_one().end is not None


def test_a_decision_of_a_third_party_plugin_has_its_rule_and_values(tmp_path: Path) -> None:
    """NumPy's numbers become JSON's, and a NaN stays one."""
    import numpy as np  # noqa: PLC0415

    class Stranger:
        @hookimpl
        def on_epoch_end(self, metrics: Mapping[str, Any]) -> Decision:
            return decision.stop("odd", rule="mine", values={"seen": np.float32(0.5), "n": np.int64(3), "bad": nan})

    train([1.0], Stranger(), Journal("a.jsonl"))
    (each,) = [event for event in read_one(Path("a.jsonl")).events if isinstance(event, DecisionMade)]

    assert (each.actions[0].rule, repr(each.actions[0].values)) == ("mine", "{'seen': 0.5, 'n': 3, 'bad': nan}")


def test_the_metrics_of_an_epoch_are_recorded_with_its_duration() -> None:
    """Seconds and wall time of each epoch are those of the run's clock, one after the other."""
    train([1.0, 2.0, 3.0], Journal("a.jsonl"))
    found = [event for event in read_one(Path("a.jsonl")).events if isinstance(event, EpochEnded)]

    assert all(each.seconds >= 0 for each in found)
    assert sum(each.seconds for each in found) <= found[-1].time - read_one(Path("a.jsonl")).events[0].time + 0.1
    assert [each.time for each in found] == sorted(each.time for each in found)


@pytest.mark.parametrize("last", [1, 3, 4])
def test_a_loop_that_was_left_has_not_finished(last: int) -> None:
    """Also if it was left in the last planned epoch."""
    with Run(callbacks=[Journal("a.jsonl")], verbose=0) as run:
        for epoch in run.epochs(5):
            run.log(loss=1.0)
            if epoch == last:
                break
    found = read_one(Path("a.jsonl"))

    assert len(found.epochs) == last + 1
    assert found.end is not None
    assert (found.end.outcome, found.end.reason) == ("stopped", f"the loop was left in epoch {last + 1}")


def test_the_end_has_the_seconds_of_all_processes_without_the_time_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the checkpoint from which each was resumed; what was trained after that is void, as its events are."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def run(resume: str | None, die_in: int | None, save_freq: Any, begin: float) -> None:
        now[0] = begin
        saver = ModelCheckpoint("run/m", save_freq=save_freq, background=False)
        with Run(LineSubject(), [saver, Journal()], resume=resume, verbose=0) as run:
            for epoch in run.epochs(4):
                for batch in run.batches(range(4)):
                    now[0] += 1.0
                    run.log(loss=1.0)
                    if epoch == die_in and batch == 2:
                        raise InterruptedError

    for save_freq in ("epoch", 1, "3 steps"):
        with pytest.raises(InterruptedError):
            run(None, 1, save_freq, 100.0)
        with pytest.raises(InterruptedError):
            run("auto", 2, save_freq, 9000.0)
        run("auto", None, save_freq, 5.0)
        end = read_one().end

        assert end is not None
        assert end.seconds == 16.0
        shutil.rmtree("run")


@pytest.mark.parametrize("again", ["auto", "run/m.npz"])
def test_a_run_that_is_resumed_when_it_is_over_has_the_same_seconds(again: str) -> None:
    """Nothing was trained, so nothing is written; and a file that is named trains on from its own seconds."""
    train([1.0, 2.0], ModelCheckpoint("run/m"), Journal())
    before = read_one().end
    train([1.0, 2.0], ModelCheckpoint("run/m"), Journal(), resume=again)

    assert read_one().end == before
