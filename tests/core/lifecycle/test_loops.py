"""The loops of a run: when they end, and which of them are refused."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from trainbus import LoopError, Run, SettingsError, decision

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
        (_nested_steps, "another loop of the run inside of one over run.steps"),
        (_nested_epochs, "another loop of the run inside of one over run.steps"),
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
