"""The loops of a run: when they end, and which of them are refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from trainbus import LoopError, Run, SettingsError, decision, hookimpl
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject

from .lives import life_of


def test_a_stop_ends_the_loop_and_a_request_interrupts_it() -> None:
    """A request waits until the gradients of the batches are used."""
    life = life_of(None)
    life.begin("run", lambda: True)
    assert not life.loops.ends()
    life.stop_requests.request("SIGTERM")
    assert not life.loops.ends(1, 2)
    with pytest.raises(KeyboardInterrupt):
        life.loops.ends(2, 2)
    life.execute("run", decision.stop("enough").signed("loop"))
    assert life.loops.ends()
    life.end("run", KeyboardInterrupt())

    assert life.state.reason == "SIGTERM asked for it; enough"


def _nested_steps(run: Run) -> None:
    for _ in run.steps(range(3), 5, validate_every=2):
        run.steps(range(3), 5, validate_every=2)


def _nested_epochs(run: Run) -> None:
    for _ in run.steps(range(3), 5, validate_every=2):
        run.epochs(3)


def _steps_in_epochs(run: Run) -> None:
    for _ in run.epochs(2):
        run.steps(range(3), 5, validate_every=2)


def _without_interval(run: Run) -> None:
    run.steps(range(3), 5)  # type: ignore[call-arg]


def _batches(run: Run) -> None:
    for _ in run.steps(range(3), 5, validate_every=2):
        run.batches(range(3))


def _after_epochs(run: Run) -> None:
    for _ in run.epochs(1):
        run.log(loss=1.0)
    run.steps(range(3), 5, validate_every=2)


def _without_loop(run: Run) -> None:
    assert run.validation_due


def _no_loader(run: Run) -> None:
    run.steps(5, 5, validate_every=2)  # type: ignore[arg-type]


def _no_steps(run: Run) -> None:
    run.steps(range(3), -1, validate_every=2)


def _no_interval(run: Run) -> None:
    run.steps(range(3), 5, validate_every=0)


def _never_counted(run: Run) -> None:
    for _ in run.steps(range(3), 5, validate_every=2, accumulate=None):
        pass


@pytest.mark.parametrize(
    ("loop", "problem"),
    [
        (_nested_steps, "run.steps() inside of a loop over run.steps(); leave that loop before it"),
        (_nested_epochs, "run.epochs() inside of a loop over run.steps(); leave that loop before it"),
        (_steps_in_epochs, "run.steps() inside of another loop over run.epochs()"),
        (
            _without_interval,
            "steps: the argument 'validate_every' is missing; give it: steps(loader, validate_every=...)",
        ),
        (_batches, "run.batches() inside of run.steps(), which gives the batches itself"),
        (_after_epochs, "run.steps() after run.epochs(): one run counts epochs or steps"),
        (_without_loop, "run.validation_due belongs inside of a loop over run.steps"),
        (_no_loader, "steps(5): give an iterable of batches"),
        (_no_steps, "steps=-1: give a whole number of at least 0"),
        (_no_interval, "validate_every=0: give a whole number of at least 1"),
        (_never_counted, "10,000 batches of run.steps(..., accumulate=None) have not changed run.step"),
    ],
)
def test_a_loop_that_cannot_work_is_refused(loop: Callable[[Run], None], problem: str) -> None:
    """With what to write."""
    with pytest.raises((LoopError, SettingsError), match=re.escape(problem)), Run() as run:
        loop(run)


class Interrupts:
    """Asks the run to end when the training begins."""

    @hookimpl
    def on_train_begin(self, run: Run) -> None:
        run.interrupt("a test")


def _train(kind: str, seen: list[Any], asks: str = "", die_at: int | None = None) -> Run:
    """Train 12 batches; ask the run to end at a place, or die before a batch."""
    saver = ModelCheckpoint("run/m-{step}", save_freq="2 steps", background=False)
    with Run(LineSubject(), [saver, *([Interrupts()] if asks == "begin" else [])], verbose=0, resume="auto") as run:
        if asks == "loop":
            run.interrupt("a test")

        def body(batch: int) -> None:
            if len(seen) == die_at:
                raise SystemExit
            seen.append((run.epoch, run.batch, batch))
            run.log(loss=float(batch))

        if kind == "steps":
            for batch in run.steps(range(4), 12, validate_every=6):
                body(batch)
        else:
            for _ in run.epochs(2):
                if asks == "epoch":
                    run.interrupt("a test")
                for batch in run.batches(range(6)):
                    body(batch)
    return run


@pytest.mark.parametrize("asks", ["begin", "loop", "epoch"])
@pytest.mark.parametrize("kind", ["epochs", "steps"])
@pytest.mark.parametrize("die_at", [3, 5, 9])
def test_a_request_before_a_resumed_loop_leaves_its_epoch_open(kind: str, asks: str, die_at: int) -> None:
    """A run that was killed inside of an epoch, and is asked to end before it has reached that point again."""
    whole: list[Any] = []
    unbroken = _train(kind, whole)
    shutil.rmtree("run")
    seen: list[Any] = []
    with pytest.raises(SystemExit):
        _train(kind, seen, die_at=die_at)
    del seen[die_at // 2 * 2 :]  # the rest was trained after the last save
    asked = _train(kind, seen, asks)
    assert asked.result.reason == ("a test asked for it" if asks != "epoch" or kind == "epochs" else "all steps done")
    assert seen == whole[: len(seen)]
    last = _train(kind, seen)
    assert seen == whole
    assert last.history == unbroken.history
