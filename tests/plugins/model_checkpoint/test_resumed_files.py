"""A run that ends by an error after any event, and is resumed, leaves the files that the unbroken run leaves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.core.storage.dying import MEMORY
from tests.plugins.comparison.loops import Plan, plan, plans
from trainbus import Run
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject

BEST: dict[str, Any] = {"monitor": "val_loss", "mode": "min"}
OPTIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "new bests": {**BEST, "save_best_only": True},
    "new bests below a value": {**BEST, "save_best_only": True, "initial_value_threshold": 1.5},
    "the last of the new bests": {**BEST, "save_best_only": True, "keep_last": 1},
    "the best two": {**BEST, "keep": 2},
    "the best and the last": {**BEST, "keep": 1, "keep_last": 1},
    "the newer of equal ones": {**BEST, "keep": 2, "ties": "newer"},
    "a tie-breaker": {**BEST, "keep": 1, "tie_breaker": "val_f1", "tie_breaker_mode": "max"},
    "every second epoch": {"save_freq": "2 epochs", "keep_last": 1},
    "every third batch": {"save_freq": 3, "keep_last": 2},
    "the best at steps": {"monitor": "loss", "mode": "min", "save_freq": "2 steps", "keep": 2},
    "validations": {**BEST, "save_freq": "validation", "keep": 2},
    "every second validation": {**BEST, "save_freq": "2 validations", "keep": 2},
    "new bests of the validations": {**BEST, "save_freq": "validation", "save_best_only": True},
    "saves at steps that wait for a validation": {**BEST, "save_freq": "1 step", "keep": 2},
    "the best and the last of saves that wait": {**BEST, "save_freq": "2 steps", "keep": 3, "save_last": True},
    "shares of the training": {"save_freq": "20%"},
    "the best of the shares": {**BEST, "save_freq": "30%", "keep": 1},
    "the file last": {**BEST, "keep": 1, "save_last": True},
    "a name for last": {**BEST, "keep": 1, "save_last": "last-{step}"},
    "a link": {"keep_last": 2, "save_last": "link"},
    "the end": {"save_freq": "9 epochs", "save_on": {"end": "final-{step}"}},
}


class Broken(Exception):
    """Ends a training after an event."""


class Events:
    """Counts the events of a loop, and raises an error after one of them."""

    def __init__(self, last: int | None) -> None:
        self.count, self.last = 0, last

    def passed(self) -> None:
        self.count += 1
        if self.count == self.last:
            raise Broken


def train(epochs: Plan, folder: Path, options: dict[str, Any], last: int | None = None, resume: Any = None) -> int:
    """Train, and save by the options and at every batch and epoch; return the number of events."""
    events = Events(last)
    callbacks = [
        ModelCheckpoint(str(folder / "own" / "{step}"), **options),
        ModelCheckpoint(str(folder / "batches" / "{step}"), save_freq=1),
        ModelCheckpoint(str(folder / "epochs" / "{step}")),
    ]
    with Run(LineSubject(1.0), callbacks, verbose=0, resume=resume) as run:
        for epoch in run.epochs(len(epochs)):
            events.passed()
            for number in run.batches(range(len(epochs[epoch]))):
                events.passed()
                batch = epochs[epoch][number]
                run.subject.train(np.array([1.0]), np.array([3.0]))
                run.log(loss=batch.loss)
                if batch.validation is not None:
                    with run.validation():
                        run.log(loss=batch.validation[0], f1=batch.validation[1])
                    events.passed()
    return events.count


def left(folder: Path) -> dict[str, str]:
    """Return the files by name, a link with what it leads to."""
    hidden = (".json", ".jsonl", ".lock")
    files = [each for each in (folder / "own").iterdir() if each.suffix not in hidden and each.name[0] != "."]
    return {each.name: str(each.readlink()) if each.is_symlink() else each.read_bytes().hex()[-64:] for each in files}


def wrong_after(name: str, epochs: Plan, events: Iterable[int]) -> list[int]:
    """Return the events after which a broken and resumed run leaves other files than the unbroken one."""
    wrong = list[int]()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        whole = Path(folder) / "whole"
        count = train(epochs, whole, OPTIONS[name])
        for last in sorted(events or range(2, count + 1)):
            broken = Path(folder) / str(last)
            with pytest.raises(Broken):
                train(epochs, broken, OPTIONS[name], last)
            train(epochs, broken, OPTIONS[name], resume="auto")
            if left(broken).keys() != left(whole).keys():
                wrong.append(last)
    return wrong


WRITTEN = plan(
    [1.0, (2.0, 1.0), 3.0, (1.0, 2.0)],
    [0.5, 2.0, (0.75, 1.0), 1.0, (1.0, 3.0)],
    [(0.5, 0.5), 2.0, (3.0, 1.0)],
)


USUAL = [
    *("new bests", "the best and the last", "a tie-breaker", "every third batch", "validations"),
    *("the best and the last of saves that wait", "the best of the shares", "a name for last"),
]


@pytest.mark.parametrize("name", USUAL)
def test_after_an_event(name: str) -> None:
    """Of a training with new bests, equal and worse values: where a save waits for a validation."""
    assert wrong_after(name, WRITTEN, [11]) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OPTIONS)
@settings(max_examples=1)
@given(plans)
def test_after_every_event(name: str, epochs: Plan) -> None:
    """At the beginning of each batch and epoch, which is after the event before it, and after each validation."""
    for each in (WRITTEN, epochs):
        assert wrong_after(name, each, ()) == []
