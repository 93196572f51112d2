"""Tests of ReduceLROnPlateau where it has no equal in Keras."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.testing import LineSubject, scripted


class TwoRates(LineSubject):
    """A subject with two learning rates."""

    def __init__(self, first: float, second: float) -> None:
        super().__init__()
        self.rates = {"learning_rate/first": first, "learning_rate/second": second}

    def learning_rates(self):
        return dict(self.rates)

    def set_learning_rates(self, rates):
        self.rates.update(rates)


@given(st.floats(1e-4, 1), st.floats(1e-4, 1), st.floats(0.01, 0.99), st.floats(0, 0.5))
def test_every_rate_above_its_floor_is_scaled(first: float, second: float, factor: float, floor: float) -> None:
    """One reduction multiplies each rate by the factor, down to min_lr, and raises no rate below it."""
    subject = TwoRates(first, second)
    callback = ReduceLROnPlateau(monitor="loss", factor=factor, min_lr=floor, patience=1)
    scripted([{"loss": 1.0}] * 2, callback, subject)

    expected = [max(rate * factor, floor) if rate > floor else rate for rate in (first, second)]
    assert list(subject.rates.values()) == expected


def test_history_has_the_rate_that_each_epoch_was_trained_with() -> None:
    """The rate of an epoch is that before its own reduction, and the result reports the reductions."""
    run, _ = scripted([{"val_loss": 1.0}] * 4, ReduceLROnPlateau(factor=0.5, patience=1, min_lr=0.1), LineSubject(0.4))

    assert run.history["learning_rate"] == [0.4, 0.4, 0.2, 0.1]
    assert str(run.result).endswith("learning rate: 0.4 -> 0.2 -> 0.1")


def test_two_reductions_at_once_are_one() -> None:
    """Two callbacks that ask in the same epoch give the lower of the two rates, not their product."""
    subject = LineSubject(0.4)
    callbacks = [ReduceLROnPlateau(monitor="loss", factor=factor, patience=1) for factor in (0.5, 0.25)]
    scripted([{"loss": 1.0}] * 2, callbacks, subject)

    assert subject.learning_rate == 0.1


def test_the_learning_rate_can_be_monitored() -> None:
    """learning_rate, or lr, is a metric like any other if the subject has one."""
    callbacks = [
        ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1),
        EarlyStopping(monitor="lr", mode="min", patience=2),
    ]
    run, _ = scripted([{"loss": 1.0}] * 9, callbacks, LineSubject(0.4))

    assert run.result.best["learning_rate"].value == pytest.approx(0.4 * 0.5**7)
