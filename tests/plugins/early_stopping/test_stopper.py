"""Tests of EarlyStopping where it has no equal in Keras."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import MissingMetric, Run
from trainbus.metrics.best_value import BestValue
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
    assert run.result.best[name] == BestValue(1.0, 2)


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


# --- several metrics


def epochs_of(losses: list[float], scores: list[float], **options: object) -> int:
    """Return the number of epochs with two metrics."""
    history = [{"val_loss": loss, "val_f1": score} for loss, score in zip(losses, scores, strict=True)]
    callback = EarlyStopping(monitor=["val_loss", "val_f1"], **{"patience": 2, **options})  # type: ignore[arg-type]
    return scripted(history, callback)[0].result.epochs


NAN = float("nan")


@pytest.mark.parametrize(
    ("losses", "scores", "options", "epochs"),
    [
        ([1, 1, 1, 1], [1, 2, 3, 4], {}, 3),
        ([1, 1, 1, 1], [1, 2, 3, 4], {"stop_when": "all"}, 4),
        ([4, 3, 2, 1], [1, 1, 1, 1], {"stop_when": "any"}, 3),
        ([1, 1, 1, 1, 1], [1, 2, 2, 2, 2], {"stop_when": "all"}, 4),
        ([1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1], {"stop_when": "all", "min_epochs": 4}, 6),  # asked anew
        ([1, NAN, 1, 1, 1], [1, 2, 3, 4, 5], {"stop_when": "all", "check_finite": True}, 2),  # at once
        ([4, 3, 2, 1], [1, 2, NAN, 4], {"stop_when": "all", "check_finite": True}, 3),
        ([4, 3, 2, 1], [1, 2, NAN, 4], {"stop_when": "all"}, 4),
        ([1, 2, 3, 4], [4, 3, 2, 1], {"stop_when": "all", "mode": ["max", "min"]}, 4),
    ],
)
def test_any_or_all_of_several_metrics(
    losses: list[float], scores: list[float], options: dict[str, Any], epochs: int
) -> None:
    """All means that each of them has not improved at its last look; a value that is not finite stops at once."""
    assert epochs_of(losses, scores, **options) == epochs


@pytest.mark.parametrize(("first", "best"), [("val_loss", 2), ("val_f1", 0)])
def test_the_first_metric_decides_which_weights_are_restored(first: str, best: int) -> None:
    subject = LineSubject()
    names = [first, *({"val_loss", "val_f1"} - {first})]
    with Run(subject, EarlyStopping(monitor=names, patience=9, restore_best_weights=True)) as run:
        for epoch in run.epochs(4):
            subject.slope = np.array(float(epoch))
            run.log(val_loss=[3, 2, 1, 2][epoch], val_f1=[4, 3, 2, 1][epoch])

    assert subject.slope == best


# --- minimum steps


@pytest.mark.parametrize(("minimum", "epochs"), [(0, 3), (12, 3), (13, 4), (17, 5), (100, 6)])
def test_stops_before_the_minimum_of_steps_are_held_back(minimum: int, epochs: int) -> None:
    """Each look asks anew; the last epoch of 4 steps that is not held back stops."""
    with Run(callbacks=EarlyStopping(monitor="loss", patience=2, min_steps=minimum)) as run:
        for _ in run.epochs(6):
            for _ in run.batches(range(4)):
                run.log(loss=1.0)
    assert run.result.epochs == epochs


@pytest.mark.parametrize("every", ["epoch", "2 epochs", "validation"])
@pytest.mark.parametrize("accumulate", [1, None])
def test_a_minimum_of_steps_in_a_loop_that_counts_none_is_reported_once(
    every: str, accumulate: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """It would hold back every stop in silence."""
    with Run(callbacks=EarlyStopping(min_steps=5, every=every)) as run:
        for _ in run.epochs(3):
            for _ in run.batches(range(2 if accumulate is None else 0), accumulate=accumulate):
                pass
            with run.validation():
                run.log(loss=1.0)
    (failure,) = run.failures
    assert run.result.epochs == 3
    assert ("had no weight update" if accumulate is None else "had no batch") in str(failure.error)
    assert caplog.text.count("min_steps=5 holds back every stop") == 1


def test_steps_that_the_loop_counts_without_batches_are_not_reported() -> None:
    """As a loop over ``run.step`` does."""
    with Run(callbacks=EarlyStopping(monitor="loss", min_steps=5)) as run:
        for _ in run.epochs(4):
            run.step += 3
            run.log(loss=1.0)
    assert run.failures == []
    assert run.result.epochs == 2


# --- cuts


@pytest.mark.parametrize(("reset", "epochs"), [(False, 3), (True, 7)])
def test_patience_starts_anew_after_a_cut(reset: bool, epochs: int) -> None:
    """With a floor, the cuts end, and then the patience does; a cut at the time of the stop comes first."""
    callbacks = [
        EarlyStopping(monitor="loss", patience=2, reset_on_lr_cut=reset),
        ReduceLROnPlateau(monitor="loss", patience=2, factor=0.5, min_lr=0.1),
    ]
    run, _ = scripted([{"loss": 1.0}] * 20, callbacks, LineSubject(0.4))

    assert run.result.epochs == epochs
    assert run.subject.learning_rate == (0.1 if reset else 0.2)
