"""A run notes the rates of each epoch's first update, and reports a change of them that something else undoes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from trainbus import Run, decision, hookimpl
from trainbus.decision import ScaleLearningRate
from trainbus.engine.rates.learning_rates import LearningRates
from trainbus.engine.run_state import RunState
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
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
        run.end_epoch({"loss": 1.0, "val_loss": 1.0})
    run.end()


def looped(run: Run, epochs: int = 3) -> None:
    """Make the same run by a loop."""
    with run:
        for _ in run.epochs(epochs):
            for _ in run.batches(range(2)):
                run.log(loss=1.0)
            with run.validation():
                run.log(loss=1.0)


def without_batches(run: Run, epochs: int = 3) -> None:
    """Make the same run by a loop that does not report its batches."""
    with run:
        for _ in run.epochs(epochs):
            for _ in range(2):
                run.log(loss=1.0)
            with run.validation():
                run.log(loss=1.0)


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_validation_end", "on_epoch_end"])
def test_a_loop_that_reports_no_batches_has_the_same_rates(hook: str) -> None:
    run = Run(LineSubject(), [Cutter(hook)])
    without_batches(run)
    assert run.history["learning_rate"] == ([0.25, 0.125, 0.0625] if hook == "on_epoch_begin" else [0.5, 0.25, 0.125])
    assert run.failures == []
    assert len(run.state.decision_log) == 3


@pytest.mark.parametrize("make", [stated, looped, without_batches])
@pytest.mark.parametrize("every", ["validation", "epoch"])
def test_cuts_at_validations_are_those_at_epochs(make: Any, every: Any) -> None:
    """With one validation an epoch, whatever the loop reports; and patience starts anew at each."""
    monitor: dict[str, Any] = {"monitor": "val_loss", "min_delta": 10, "every": every}
    rules = [
        ReduceLROnPlateau(**monitor, patience=2, factor=0.5),
        EarlyStopping(**monitor, patience=3, reset_on_lr_cut=True),
    ]
    run = Run(LineSubject(), rules, verbose=0)
    make(run, 9)
    assert [epoch for epoch, each in run.state.decision_log if any(a.kind == "scale_learning_rate" for a in each)] == [
        2,
        4,
        6,
        8,
    ]
    assert (run.failures, run.stopped) == ([], False)


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
            learning_rates.change(subject, [ScaleLearningRate(factor=factor, by="Some")])
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
        ([None, None, 0.5], 0.1, True),
        ([None, None, None, 0.5], 0.1, True),
        ([None] * 30 + [0.5, 0.5], 0.1, True),
        ([None, None, None, 0.4], 0.1, True),
        ([None, None, None, 0.06], 0.1, False),
        ([None, None, None, 0.02], 0.1, False),
        ([None, 0.05, 0.02, 0.01, 0.005], 0.1, False),
        ([0.06 * 1.3**epoch for epoch in range(12)], 0.1, False),
        ([None, None, 0.5], 4.0, True),
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
    """In any epoch after it, and once; later than two epochs after it only if it jumps back."""
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
        rates.change(line, [ScaleLearningRate(factor=factor)])

    assert line.learning_rate == pytest.approx(0.5)
    assert reports == []


def reset(at: Iterable[int], patience: int, epochs: int, end_at: int = 99, resume: str | None = None) -> Run:
    """Train with a plateau in each epoch; the loop sets the rate back at the beginning of the epochs in ``at``."""
    line, at = LineSubject(), set(at)
    plateau = ReduceLROnPlateau(monitor="loss", patience=patience, factor=0.1)
    saver = ModelCheckpoint("run/{epoch}", background=False)
    with Run(line, [plateau, saver], verbose=0, resume=resume) as run:
        for epoch in run.epochs(epochs):
            if epoch + 1 in at:
                line.learning_rate = 0.5
            for _ in run.batches(range(2)):
                run.log(loss=1.0)
            if epoch + 1 == end_at:
                break
    return run


def announced(run: Run) -> list[int]:
    """The epochs, counted from 1, in which a change of a rate was recorded."""
    return [
        epoch + 1
        for epoch, each in run.state.decision_log
        if any(isinstance(action, ScaleLearningRate) for action in each)
    ]


RESETS = [
    (range(99), 1, 12, [2], [3], []),
    (range(99), 2, 12, [3], [4], []),
    (range(99), 3, 14, [4], [5], []),
    ([9], 3, 20, [4, 7, 13, 16, 19], [9], [12]),
    ([11], 3, 20, [4, 7, 10, 16, 19], [11], [15]),
    ([5, 6], 3, 16, [4, 10, 13, 16], [5], [9]),
    ([8, 16], 20, 28, [21], [], []),
    ([9, 26], 20, 28, [21], [26], []),
    ([], 3, 10, [4, 7, 10], [], []),
]


@pytest.mark.parametrize(("at", "patience", "epochs", "announces", "undone", "acting"), RESETS)
def test_a_change_that_is_known_to_be_undone_is_not_announced_again(
    at: Iterable[int],
    patience: int,
    epochs: int,
    announces: list[int],
    undone: list[int],
    acting: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is made all the same, and one line tells if such a change acts again."""
    run = reset(at, patience, epochs)

    lines = [record.getMessage() for record in caplog.records]
    assert announced(run) == announces
    assert [int(line.split("but epoch ")[1].split()[0]) for line in lines if "was undone" in line] == undone
    # a change counts as acting at the end of its second epoch
    assert [int(line.split("in epoch ")[1].split(",")[0]) + 2 for line in lines if "this acts" in line] == acting
    assert len(lines) == len(undone) + len(acting)


@pytest.mark.parametrize(("at", "patience", "epochs"), [each[:3] for each in RESETS[:6]])
@pytest.mark.parametrize("end_at", [6, 11])
@pytest.mark.covering(1)
def test_a_resumed_run_knows_which_changes_are_undone(
    at: Iterable[int], patience: int, epochs: int, end_at: int
) -> None:
    """It announces the same changes, and reports those that are undone after the resume."""
    unbroken = reset(at, patience, epochs)
    first = reset(at, patience, epochs, end_at)
    resumed = reset(at, patience, epochs, resume=f"run/{end_at}.npz")

    assert announced(resumed) == announced(unbroken)
    assert len(first.failures) + len(resumed.failures) == len(unbroken.failures)


def test_the_changes_that_are_checked_do_not_grow_with_the_run() -> None:
    """A rate that is changed in every epoch has the recent ones and the last."""
    line = LineSubject()
    state = RunState(line)
    rates = LearningRates(state, lambda *report: None)
    for epoch in range(200):
        state.start_epoch(epoch)
        rates.begin_epoch()
        noted = rates.end_epoch()
        state.finish_epoch({})
        rates.check(noted)
        rates.change(line, [ScaleLearningRate(factor=0.99)])

    assert len(rates.pending()) <= 3
