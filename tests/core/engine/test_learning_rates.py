"""A run notes the rates of each epoch's first update, and reports a change of them that something else undoes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trainbus import Run, decision, hookimpl
from trainbus.decision import ScaleLearningRate
from trainbus.engine.learning_rates import LearningRates
from trainbus.engine.run_state import RunState
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject


class Cutter:
    """A plugin that scales the rate in one hook, each time."""

    def __init__(self, hook: str, factor: float = 0.5) -> None:
        self.hook, self.factor = hook, factor

    def _answer(self, hook: str) -> Any:
        return decision.scale_learning_rate(self.factor) if hook == self.hook else None

    @hookimpl
    def on_epoch_begin(self) -> Any:
        return self._answer("on_epoch_begin")

    @hookimpl
    def on_batch_begin(self, batch: int) -> Any:
        return self._answer("on_batch_begin") if batch == 1 else None

    @hookimpl
    def on_batch_end(self, batch: int) -> Any:
        return self._answer("on_batch_end") if batch == 0 else None

    @hookimpl
    def on_validation_end(self) -> Any:
        return self._answer("on_validation_end")

    @hookimpl
    def on_epoch_end(self) -> Any:
        return self._answer("on_epoch_end")


LATER = ("on_batch_begin", "on_batch_end", "on_validation_end", "on_epoch_end")
"""Hooks that are called after the first update of an epoch."""


def stated(run: Run, epochs: int = 3) -> None:
    """Make a run by stating its events."""
    run.begin()
    for epoch in range(epochs):
        run.begin_epoch(epoch)
        for batch in range(2):
            run.begin_batch(batch)
            run.end_batch(batch, {"loss": 1.0})
        run.begin_validation()
        run.end_validation({"val_loss": 1.0})
        run.end_epoch({"loss": 1.0})
    run.end()


def looped(run: Run, epochs: int = 3) -> None:
    """Make the same run by a loop."""
    with run:
        for _ in run.epochs(epochs):
            for _ in run.batches(range(2)):
                run.log(loss=1.0)
            with run.validation():
                run.log(loss=1.0)


@pytest.mark.parametrize("make", [stated, looped])
@pytest.mark.parametrize(
    ("hook", "rates"), [("on_epoch_begin", [0.25, 0.125, 0.0625]), *((hook, [0.5, 0.25, 0.125]) for hook in LATER)]
)
def test_an_epoch_has_the_rate_of_its_first_update_wherever_it_is_cut(make: Any, hook: str, rates: list[float]) -> None:
    """A cut before the first update is in the rate, a later one is not; also if a loop states its events by itself."""
    run = Run(LineSubject(), [Cutter(hook)])
    make(run)

    assert run.history["learning_rate"] == rates
    assert run.result.learning_rates == {"learning_rate": rates}
    assert run.failures == []


@pytest.mark.parametrize("stated", [False, True])
def test_a_rate_that_the_loop_sets_at_the_begin_of_an_epoch_is_the_one_of_its_first_update(stated: bool) -> None:
    """The loop sets it after the hooks of the epoch's begin, and again at the end."""
    line = LineSubject()
    with Run(line) as run:
        for epoch in range(3) if stated else run.epochs(3):
            if stated:
                run.begin_epoch(epoch)
            line.learning_rate = 0.4 - epoch / 10
            if stated:
                run.begin_batch(0)
                run.end_batch(0)
            else:
                list(run.batches(range(2)))
            line.learning_rate = 7.0
            if stated:
                run.end_epoch({"loss": 1.0})

    assert run.history["learning_rate"] == pytest.approx([0.4, 0.3, 0.2])


@pytest.mark.covering(1)
@pytest.mark.parametrize("end_at", [1, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("listened", [False, True])
def test_a_resumed_epoch_keeps_the_rate_of_its_first_update(end_at: int, listened: bool) -> None:
    """Though the rate has changed in every batch since then."""
    unbroken, _ = per_batch(listened=listened)
    _, path = per_batch(listened=listened, end_at=end_at)
    resumed, _ = per_batch(listened=listened, resume=path)

    assert resumed.history["learning_rate"] == unbroken.history["learning_rate"]
    assert resumed.history["learning_rate"] == pytest.approx([0.5, 0.5 * 0.9**4, 0.5 * 0.9**8])


def per_batch(*, listened: bool, end_at: int = 99, resume: Path | None = None) -> tuple[Run, Path]:
    line = LineSubject()
    saver = ModelCheckpoint("run/{step}", save_freq=1, background=False)
    plugins = [saver, *([Cutter("none")] if listened else [])]
    with Run(line, plugins, resume=resume) as run:
        for _ in run.epochs(3):
            for _ in run.batches(range(4)):
                if run.step >= end_at:
                    run.stop("far enough")
                line.learning_rate *= 0.9
                run.log(loss=1.0)
                if run.stopped:
                    break
            if run.stopped:
                break
    return run, Path(f"run/{end_at}.npz")


class Scheduled(LineSubject):
    """A subject whose schedule doubles the rate each epoch, and that says so."""

    def __init__(self) -> None:
        super().__init__()
        self.known = True
        self.released = 0
        self.asked: list[str] = []

    def hold_learning_rates(self) -> Mapping[str, float]:
        return self.learning_rates()

    def release_learning_rates(self) -> None:
        self.released += 1

    def follow_schedules(self, epoch: int, rates: Any = None) -> Any:
        rate = self.learning_rate
        return lambda: {"learning_rate": 2 * rate} if self.known else None

    def what_changes(self, name: str) -> str:
        self.asked.append(name)
        return "the moon"


def changed(subject: LineSubject, rates: list[float | None], factor: float = 0.1) -> list[Any]:
    """Scale the rate at the end of the first epoch, set it to ``rates`` in the following ones; return the reports."""
    state, reports = RunState(subject), list[Any]()
    learning_rates = LearningRates(state, lambda *report: reports.append(report))
    for epoch, rate in enumerate([None, *rates]):
        state.start_epoch(epoch)
        if rate is not None:
            subject.learning_rate = rate
        learning_rates.begin_epoch()
        noted = learning_rates.end_epoch()
        state.finish_epoch({})
        learning_rates.check(noted)
        if not epoch:
            learning_rates.scale(subject, [ScaleLearningRate(factor=factor, by="Some")])
    return reports


@pytest.mark.parametrize(
    ("rates", "factor", "undone"),
    [
        ([None, None], 0.1, False),
        ([0.5, None], 0.1, True),
        ([0.7, None], 0.1, True),
        ([0.4, None], 0.1, True),
        ([None, 0.5], 0.1, True),
        ([0.5, 0.5, 0.5], 0.1, True),
        ([None, None, 0.5], 0.1, False),
        ([0.06, None], 0.1, False),
        ([0.01, None], 0.1, False),
        ([0.0, None], 0.1, False),
        ([0.5, None], 0.9, True),
        ([0.46, None], 0.9, False),
        ([0.5, None], 0.0, True),
        ([0.5, None], 4.0, True),
        ([None, None], 4.0, False),
        ([0.5, None], 1.0, False),
    ],
)
def test_a_change_is_undone_if_the_rate_is_nearer_to_what_it_was(
    rates: list[float | None], factor: float, undone: bool
) -> None:
    """In one of the two epochs after it, and once."""
    reports = changed(LineSubject(), rates, factor)

    assert len(reports) == undone
    for by, error, lost in reports:
        assert (by, lost) == ("Some", "a change of the learning rate was undone")
        assert "in epoch 1, but epoch" in str(error)
        assert str(error).endswith("something outside of the run sets it")


def test_the_line_has_both_rates_and_what_the_subject_knows() -> None:
    """A subject that knows its schedules says what has changed the rate, and what the rate should be."""
    subject = Scheduled()
    ((_, error, _),) = changed(subject, [1.0])

    assert (
        str(error)
        == "learning_rate was changed from 0.5 to 0.05 in epoch 1, but epoch 2 began with 1, not 0.1: the moon"
    )
    assert subject.asked == ["learning_rate"]
    assert subject.released == 2


@pytest.mark.parametrize(("rate", "known", "undone"), [(0.1, True, False), (0.9, True, True), (1.0, False, False)])
def test_a_schedule_that_raises_the_rate_undoes_nothing(rate: float, known: bool, undone: bool) -> None:
    """The rate is compared with the schedule, and with nothing if that is unknown."""
    subject = Scheduled()
    subject.known = known

    assert len(changed(subject, [rate])) == undone


def test_a_later_change_replaces_the_one_before() -> None:
    """A rate that a second decision raises again is as it should be."""
    line, reports = LineSubject(), list[Any]()
    state = RunState(line)
    rates = LearningRates(state, lambda *report: reports.append(report))
    for epoch, factor in enumerate([0.1, 10.0, 1.0]):
        state.start_epoch(epoch)
        rates.begin_epoch()
        noted = rates.end_epoch()
        state.finish_epoch({})
        rates.check(noted)
        rates.scale(line, [ScaleLearningRate(factor=factor)])

    assert line.learning_rate == pytest.approx(0.5)
    assert reports == []
