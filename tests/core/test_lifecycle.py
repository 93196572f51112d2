"""The life of a run needs no ``Run``: whatever object it is called with is what the hooks receive."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import ReferenceType, ref

import pytest

from trainbus import (
    Callback,
    CheckpointError,
    Decision,
    LoopError,
    MissingMetric,
    Run,
    SettingsError,
    decision,
    hookimpl,
)
from trainbus.engine.execution_result import ExecutionResult
from trainbus.lifecycle import Lifecycle
from trainbus.metrics.monitor import BestValue
from trainbus.parts import assemble
from trainbus.plugins import ModelCheckpoint
from trainbus.result import Result
from trainbus.testing import LineSubject


def result_of(life: Lifecycle) -> Result:
    return Result.of(life.state, life.monitors.best(), life.failures.all)


class Witness:
    """A plugin that logs each event with the run, and answers the end of an epoch."""

    def __init__(self, answer: Decision | None = None) -> None:
        self.answer = answer
        self.log: list[tuple[object, ...]] = []

    @hookimpl
    def on_train_begin(self, run: object) -> None:
        self.log.append(("begin", run))

    @hookimpl
    def on_epoch_begin(self, run: object, epoch: int) -> None:
        self.log.append(("epoch begin", run, epoch))

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: object, epoch: int, metrics: Mapping[str, Any]) -> Decision | None:
        self.log.append(("epoch end", run, epoch, dict(metrics)))
        return self.answer

    @hookimpl
    def on_decision(self, run: object, decision: Decision) -> None:
        self.log.append(("decision", run, decision))

    @hookimpl
    def on_exception(self, run: object, error: BaseException) -> None:
        self.log.append(("exception", run, error))

    @hookimpl
    def on_train_end(self, run: object) -> None:
        self.log.append(("end", run))


class Locks(Callback):
    """A callback that writes into the directory "run"."""

    def plugin(self) -> object:
        return Witness()

    def locked_directories(self) -> tuple[str, ...]:
        return (str(Path("run").absolute()),)


def life_of(subject: object, *callbacks: Any, resume: str | None = None) -> Lifecycle:
    options: Any = {"resume": resume, "resume_strict": False, "resume_learning_rates": "checkpoint"}
    return Lifecycle(assemble(subject, callbacks, verbose=0, signals=(), **options))


def test_each_event_is_decided_executed_recorded_and_announced() -> None:
    """In this order, to the subject and the state, with the object that stands for the run."""
    asked = decision.scale_learning_rate(0.5).signed("Witness")
    subject, witness = LineSubject(0.4), Witness(asked)
    life = life_of(subject, witness)
    life.begin("run", lambda: True)
    life.begin_epoch("run", 0)
    life.end_epoch("run", {"loss": 2.0})
    life.end("run", None)

    metrics = {"learning_rate": 0.4, "loss": 2.0}
    assert witness.log == [
        ("begin", "run"),
        ("epoch begin", "run", 0),
        ("epoch end", "run", 0, metrics),
        ("decision", "run", asked),
        ("end", "run"),
    ]
    assert subject.learning_rate == 0.2
    assert life.state.decision_log == [(0, asked)]
    assert result_of(life).learning_rates == {"learning_rate": [0.4]}
    assert (result_of(life).epochs, result_of(life).stopped, result_of(life).reason) == (1, False, "the loop ended")


def test_an_empty_decision_or_result_is_not_announced() -> None:
    """Nothing happened."""
    witness = Witness()
    life = life_of(LineSubject(), witness)
    life.execute("run", Decision())
    life.record("run", ExecutionResult())

    assert witness.log == []
    assert life.state.decision_log == []


def test_monitors_are_updated_before_any_plugin_is_called() -> None:
    """Also before one that wants to be first; if a metric is missing, no plugin is called."""
    life = life_of(LineSubject(), witness := Witness())
    life.monitors.get("loss")
    life.begin("run", lambda: True)
    life.begin_epoch("run", 0)
    with pytest.raises(MissingMetric, match="'loss'"):
        life.end_epoch("run", {"score": 1.0})
    assert [each[0] for each in witness.log] == ["begin", "epoch begin"]
    life.end("run", None)

    class Sees:
        best: object = None

        @hookimpl(tryfirst=True)
        def on_epoch_end(self) -> None:
            self.best = monitor.best

    life = life_of(LineSubject(), sees := Sees())
    monitor = life.monitors.get("loss")
    life.begin("run", lambda: True)
    life.begin_epoch("run", 0)
    life.end_epoch("run", {"loss": 2.0})
    assert sees.best == BestValue(2.0, 0)
    assert result_of(life).best == {"loss": BestValue(2.0, 0)}
    life.end("run", None)


def test_what_is_called_out_of_turn_is_refused() -> None:
    """A run begins once; its epochs and batches are inside."""
    life = life_of(None)
    with pytest.raises(LoopError, match="an epoch begins only after begin"):
        life.begin_epoch("run", 0)
    with pytest.raises(LoopError, match="belongs inside"):
        life.batches("run", "ab", 1)
    life.begin("run", lambda: True)
    with pytest.raises(LoopError, match="a run cannot be used twice"):
        life.begin("run", lambda: True)
    with pytest.raises(SettingsError, match="accumulate=0"):
        life.batches("run", "ab", 0)
    life.end("run", None)
    with pytest.raises(LoopError, match="an epoch begins only after begin"):
        life.begin_epoch("run", 0)


@pytest.mark.parametrize("error", [None, ValueError("bad batch")])
def test_everything_is_closed_once_whatever_ended_the_run(error: Exception | None) -> None:
    """Plugins are called, then what was registered is closed, and the directories are unlocked."""
    witness, closed = Witness(), list[str]()
    life = life_of(LineSubject(), witness, Locks())
    life.begin("run", lambda: True)
    life.at_end.callback(lambda: closed.append(str(witness.log[-1][0])))
    for _ in range(2):
        life.end("run", error)

    assert closed == ["end"]
    assert [each[0] for each in witness.log] == ["begin", *(["exception"] if error else []), "end"]
    assert life.state.error is error
    again = life_of(LineSubject(), Locks())
    again.begin("run", lambda: True)
    third = life_of(LineSubject(), Locks())
    with pytest.raises(CheckpointError, match="run"):
        third.begin("run", lambda: True)
    again.end("run", None)


def test_errors_at_the_end_are_raised_together() -> None:
    """The first is raised, or the one that ended the loop; the others are notes."""

    class Fails:
        def __init__(self, words: str) -> None:
            self.words = words

        @hookimpl
        def on_train_end(self) -> None:
            raise OSError(self.words)

    life = life_of(None, Fails("first"), Fails("second"))
    life.begin("run", lambda: True)
    with pytest.raises(OSError, match="first") as raised:
        life.end("run", None)
    assert raised.value.__notes__[1:] == ["at the end of the run also: OSError: second"]

    life, error = life_of(None, Fails("first"), Fails("second")), ValueError("bad batch")
    life.begin("run", lambda: True)
    life.end("run", error)
    assert error.__notes__ == [f"at the end of the run also: OSError: {words}" for words in ("first", "second")]


def test_a_stop_ends_the_loop_and_a_request_interrupts_it() -> None:
    """A request waits until the gradients of the batches are used."""
    life = life_of(None)
    life.begin("run", lambda: True)
    assert not life.loop_ends()
    life.stop_requests.request("SIGTERM")
    assert not life.loop_ends(1, 2)
    with pytest.raises(KeyboardInterrupt):
        life.loop_ends(2, 2)
    life.execute("run", decision.stop("enough").signed("loop"))
    assert life.loop_ends()
    life.end("run", KeyboardInterrupt())

    assert result_of(life).reason == "SIGTERM asked for it; enough"


def test_a_life_that_is_resumed_continues_after_its_last_epoch() -> None:
    """It restores the subject and the state before the first event."""
    saves = Witness(decision.save("m.npz") | decision.stop("enough"))
    life = life_of(LineSubject(0.4), saves)
    life.begin("run", lambda: True)
    life.begin_epoch("run", 0)
    life.end_epoch("run", {"loss": 2.0})
    life.end("run", None)
    witness = Witness()
    again = life_of(subject := LineSubject(), witness, resume="m.npz")
    again.begin("run", lambda: True)

    assert subject.learning_rate == 0.4
    assert witness.log == [("begin", "run"), ("decision", "run", decision.save("m.npz").signed("Witness"))]
    assert again.state.resumed is not None
    assert again.resumer.first_epoch(0, 5) == 1
    assert again.state.epoch_metrics == life.state.epoch_metrics
    again.end("run", None)


class Loader:
    """A loader that notes in its log when its iterator is closed."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def __iter__(self) -> Iterator[int]:
        try:
            yield from range(3)
        finally:
            self.log.append("closed")


@pytest.mark.parametrize("listens", [True, False], ids=["with a listener", "without"])
@pytest.mark.parametrize("ending", ["complete", "break", "error", "error that is kept"])
def test_a_loader_is_dropped_when_its_run_is_over(ending: str, listens: bool) -> None:
    """At once, so that its workers end in order: not when Python next looks for cycles of references."""
    log: list[str] = []
    subject, saver = LineSubject(), ModelCheckpoint("run/{step}", save_freq=1)

    def train() -> ReferenceType[Loader]:
        loader = Loader(log)
        with Run(subject, [saver] if listens else []) as run:
            for _ in run.epochs(1):
                for batch in run.batches(loader):
                    run.log(loss=1.0)
                    if batch == 1 and ending == "break":
                        break
                    if batch == 1 and "error" in ending:
                        raise LookupError("no more data")
        return ref(loader)

    gc.disable()
    try:
        if ending == "error that is kept":
            with pytest.raises(LookupError, match="no more data"):
                train()
        elif ending == "error":
            with suppress(LookupError):
                train()
        else:
            assert train()() is None
        assert log == ["closed"]
    finally:
        gc.enable()
