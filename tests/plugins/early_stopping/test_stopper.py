"""Tests of EarlyStopping where it has no equal in Keras."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import MissingMetric, Run
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.testing import LineSubject, scripted


@given(st.lists(st.integers(0, 5), min_size=1, max_size=10), st.integers(0, 3))
def test_the_best_weights_are_restored_at_every_end_without_an_error(losses: list[int], patience: int) -> None:
    """After the run the subject has the state of the first best epoch, whether it stopped early or not."""
    subject = LineSubject()
    callback = EarlyStopping(monitor="loss", patience=patience, restore_best_weights=True)
    with Run(subject, callback) as run:
        for epoch in run.epochs(len(losses)):
            subject.slope = np.array(float(epoch))
            run.log(loss=losses[epoch])

    seen = losses[: run.result.epochs]
    assert subject.slope == seen.index(min(seen))


def test_after_an_error_the_weights_stay_as_they_are() -> None:
    """The user sees the weights that led to the error."""
    subject = LineSubject()
    with pytest.raises(ValueError, match="bad"), Run(subject, EarlyStopping(restore_best_weights=True)) as run:
        for epoch in run.epochs(2):
            subject.slope = np.array(float(epoch))
            run.log(val_loss=1)
            if epoch:
                raise ValueError("bad")

    assert subject.slope == 1


def test_a_metric_that_is_never_finite_keeps_nothing_and_stops() -> None:
    """NaN consumes patience; there is no best epoch to restore."""
    subject = LineSubject()
    run, _ = scripted([{"val_loss": float("nan")}] * 5, EarlyStopping(patience=2, restore_best_weights=True), subject)

    assert run.result.epochs == 2
    assert run.result.best == {}
    assert run.result.reason == "val_loss nan is not a finite number for the 2nd time"


def test_the_reason_names_metric_patience_and_best() -> None:
    """The result gives the reason of the stop in words that a reader can check."""
    run, _ = scripted([{"val_loss": value} for value in (2.0, 1.0, 1.5)], EarlyStopping())

    assert run.result.reason == "val_loss 1.5 did not improve on 1 (epoch 2) for the 1st time"


def test_a_vector_is_rejected_by_name() -> None:
    """A metric of several values cannot be monitored; the error suggests what to log."""
    with pytest.raises(MissingMetric, match=r"'val_f1' cannot be monitored: an array of 3 values.*log its mean"):
        scripted([{"val_f1": np.array([0.1, 0.2, 0.3])}], EarlyStopping(monitor="val_f1"))


@pytest.mark.parametrize("name", ["fid", "val_loss", "test/bleu", "val_mAP@0.5", "r²"])
def test_a_metric_without_a_value_in_the_first_epochs_is_waited_for(name: str) -> None:
    """None says that the metric is known; the wait begins with its first value."""
    history = [{name: value} for value in (None, None, 1.0, None, 2.0, 3.0, 4.0)]
    run, _ = scripted(history, [EarlyStopping(monitor=name, mode="min", patience=2)])

    assert run.result.epochs == 6
    assert run.history[name] == [None, None, 1.0, None, 2.0, 3.0]
    assert run.result.best[name] == (1.0, 2)


@pytest.mark.parametrize("start", [1, 2, 4])
def test_epochs_before_start_from_epoch_need_not_log_the_metric(start: int) -> None:
    """The first epoch that counts must have it."""
    callbacks = [EarlyStopping(monitor="bleu", mode="max", start_from_epoch=start)]
    run, _ = scripted([{"loss": 1.0}] * start + [{"bleu": 1.0}] * 2, callbacks)
    assert run.result.epochs == start + 2
    with pytest.raises(MissingMetric, match="'bleu' is not logged"):
        scripted([{"loss": 1.0}] * (start + 1), callbacks)
    with pytest.raises(MissingMetric):
        scripted([{"loss": 1.0}], [*callbacks, ReduceLROnPlateau(monitor="bleu", mode="max")], LineSubject())
