"""Looks in the other units: batches, lengths of time, and shares of the planned training."""

from __future__ import annotations

import logging
from datetime import timedelta
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import MissingMetric, Run, SettingsError
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.testing import LineSubject

from .loops import decided, losses, plan, train


def stopper(monitor: Any = "loss", **options: Any) -> EarlyStopping:
    return EarlyStopping(monitor=monitor, **{"mode": "min", "patience": 1, **options})


@pytest.mark.parametrize(("every", "stopped"), [("1 batch", 2), ("2 batches", 4), ("3 batches", 6), ("4 batches", 8)])
def test_batches_are_counted_across_epochs(every: str, stopped: int) -> None:
    """Whatever the number of weight updates; the second look stops."""
    batches = 0
    with Run(callbacks=stopper(every=every)) as run:
        for _ in run.epochs(4):
            for _ in run.batches(range(3), accumulate=3):
                batches += 1
                run.log(loss=1.0)
    assert batches == stopped


@pytest.mark.parametrize(
    ("every", "seconds"),
    [
        ("10 minutes", 600),
        ("30 seconds", 30),
        ("2 hours", 7200),
        ("1 hour 30 minutes", 5400),
        ("0.5 seconds", 0.5),
        (timedelta(days=1), 86400),
    ],
)
def test_a_time_counts_from_the_last_look(every: Any, seconds: float) -> None:
    """The start is set back, as if the time had passed."""
    with Run(callbacks=stopper(every=every)) as run:
        for _ in run.epochs(1):
            looks: Any = run.plugins["EarlyStopping"]
            for batch in run.batches(range(9)):
                looks.schedule.since += 1e6  # the loop itself takes no time
                if batch in (3, 6):
                    looks.schedule.since -= seconds
                looks.schedule.since -= 1e6
                run.log(loss=1.0)
    assert run.step == 7


@given(st.integers(1, 8), st.integers(1, 6), st.sampled_from(["10", "12.5", "25", "33.333333", "50", "100"]))
def test_a_share_is_looked_at_when_it_is_reached(epochs: int, batches: int, share: str) -> None:
    """At the batch that reaches it, or at the end of the epoch that it completes; each look is a cut here."""
    with Run(
        LineSubject(1.0), ReduceLROnPlateau(monitor="loss", every=f"{share}%", patience=1, factor=0.5), verbose=0
    ) as run:
        places = list[float]()
        for epoch in run.epochs(epochs):
            for batch in run.batches(range(batches)):
                run.log(loss=1.0)
                places += [Fraction(epoch * batches + batch + 1, epochs * batches)]

    reached = [int(place * 100 / Fraction(share)) for place in places]
    looks = [number for number, (before, now) in enumerate(zip([0, *reached], reached, strict=False)) if now > before]
    assert [epoch for epoch, _ in decided(run)] == [number // batches for number in looks[1:]]
    assert run.subject.learning_rate == 0.5 ** max(len(looks) - 1, 0)


@pytest.mark.parametrize(
    ("epochs", "every", "stopped"),
    [(10, "10%", 2), (10, "20%", 4), (10, "50%", 10), (4, "25%", 2), (6, "33.333333%", 4)],
)
@pytest.mark.parametrize("name", ["val_loss", "val_f1", "score"])
def test_a_share_that_an_epoch_completes_has_the_metrics_of_the_epoch(
    epochs: int, every: str, stopped: int, name: str
) -> None:
    """Those of the validation after the batches, too, which no batch has."""
    with Run(callbacks=stopper(name, every=every)) as run:
        for _ in run.epochs(epochs):
            for _ in run.batches(range(5)):
                run.log(loss=1.0)
            run.log(score=1.0)
            with run.validation():
                run.log(loss=1.0, f1=1.0)
    assert run.result.epochs == stopped


@pytest.mark.parametrize(("epochs", "share"), [(4, 25), (5, 40), (9, 10), (7, 100), (3, 50)])
def test_without_known_batches_the_end_of_an_epoch_is_looked_at(epochs: int, share: int) -> None:
    """As ModelCheckpoint saves."""
    with Run(callbacks=stopper(every=f"{share}%")) as run:
        for _ in run.epochs(epochs):
            for _ in run.batches(iter(range(3))):
                run.log(loss=1.0)

    ends = [ceil(Fraction(epochs * share * look, 100)) for look in range(1, 100 // share + 1)]
    seen = list(dict.fromkeys(ends))
    assert run.result.epochs == (seen[1] if len(seen) > 1 else epochs)


def test_a_loop_without_batches_is_looked_at_by_its_epochs(caplog: pytest.LogCaptureFixture) -> None:
    """It needs none, so nothing is reported."""
    with caplog.at_level(logging.WARNING), Run(callbacks=stopper(every="20%")) as run:
        for _ in run.epochs(10):
            run.log(loss=1.0)
    assert run.result.epochs == 4
    assert not run.failures
    assert not caplog.records


def test_a_share_of_a_training_without_an_end_is_refused() -> None:
    """At the first batch, with the way out."""
    with (
        pytest.raises(
            SettingsError,
            match=r"^EarlyStopping: every='10%' needs the number of epochs: write run.epochs\(n\), or give every",
        ),
        Run(callbacks=stopper(every="10%")) as run,
    ):
        for _ in run.epochs():
            for _ in run.batches(range(3)):
                run.log(loss=1.0)
    assert run.step == 1


def test_a_share_of_a_metric_that_no_epoch_logs_is_an_error() -> None:
    """At the end of the first epoch, as with every other unit."""
    with pytest.raises(MissingMetric, match="'bleu'"):
        train(losses([1.0, 1.0], [1.0]), stopper("bleu", every="50%"))


def test_the_journal_and_the_reasons_have_the_normal_form() -> None:
    """So that "120 minutes" and "2 hours" read alike in a journal."""
    first, second = (train(plan([1, 1, 1, 1]), stopper(every=every)) for every in ("1 step", "1 steps"))
    assert decided(first) == decided(second)
    assert dict(decided(first)[-1][1].values)["every"] == "1 step"


def test_a_validation_inside_an_epoch_is_not_looked_at_again_at_its_end() -> None:
    """Of two shares in an epoch, only the first has a new value."""
    run = train(plan(*[[1, (1.0, 0), 1, 1]] * 8), stopper("val_loss", every="6.25%", patience=2))
    assert run.step == 10
