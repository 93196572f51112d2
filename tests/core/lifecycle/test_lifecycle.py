"""The life of a run needs no ``Run``: whatever object it is called with is what the hooks receive."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress
from weakref import ReferenceType, ref

import pytest

from trainbus import (
    Decision,
    LoopError,
    MissingMetric,
    Run,
    SettingsError,
    decision,
    hookimpl,
)
from trainbus.engine.execution_result import ExecutionResult
from trainbus.lifecycle.lifecycle import Lifecycle
from trainbus.metrics.best_value import BestValue
from trainbus.plugins import ModelCheckpoint
from trainbus.result import Result
from trainbus.testing import LineSubject

from .lives import Witness, life_of


def result_of(life: Lifecycle) -> Result:
    return Result.of(life.state, life.monitors.best(), life.failures.all)


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
        life.loops.batches(life, "run", "ab", 1)
    life.begin("run", lambda: True)
    with pytest.raises(LoopError, match="a run cannot be used twice"):
        life.begin("run", lambda: True)
    with pytest.raises(SettingsError, match="accumulate=0"):
        life.loops.batches(life, "run", "ab", 0)
    life.end("run", None)
    with pytest.raises(LoopError, match="an epoch begins only after begin"):
        life.begin_epoch("run", 0)


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
    assert again.resumer.first_epoch() == 1
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
