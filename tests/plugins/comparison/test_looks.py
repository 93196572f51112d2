"""When a callback looks: at validations, at steps, after minutes; and what a look counts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.storage.dying import MEMORY
from trainbus import MissingMetric, Run
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.plugins.frequency import Frequency
from trainbus.testing import LineSubject

from .loops import Plan, broken_and_resumed, decided, losses, plan, plans, sparse_plans, train


def stopper(monitor: Any = "val_loss", **options: Any) -> EarlyStopping:
    return EarlyStopping(monitor=monitor, **{"mode": "min", "patience": 2, **options})


# --- validations


@pytest.mark.parametrize(
    ("epochs", "stopped_at"),
    [
        ([[(1, 0), (2, 0), (3, 0)]], 3),  # all in one epoch
        ([[(1, 0), (2, 0)], [(3, 0), (4, 0)]], 3),
        ([[(1, 0), 1], [1, (2, 0)], [(3, 0)]], 5),
        ([[(3, 0), (2, 0), (1, 0), (0, 0)], [(1, 0), (1, 0)]], 6),
        ([[(1, 0), (float("nan"), 0), (2, 0)]], 3),
    ],
)
def test_each_validation_counts(epochs: Any, stopped_at: int) -> None:
    """Several in an epoch, too; patience counts validations."""
    run = train(plan(*epochs), stopper(every="validation"))

    assert run.step == stopped_at
    assert decided(run)


def test_a_cut_comes_at_its_validation() -> None:
    """Within the epoch, so that the rest of the epoch has the new rate."""
    run = train(
        plan([(1, 0), (1, 0), (1, 0), (1, 0)]),
        ReduceLROnPlateau(every="validation", factor=0.5, patience=1),
    )
    assert run.subject.learning_rate == 0.125
    assert len(decided(run)) == 3


@pytest.mark.parametrize(
    "callback",
    [stopper("loss", every="validation"), stopper(every="validation", tie_breaker="loss", tie_breaker_mode="min")],
)
def test_a_metric_that_no_validation_logs_is_refused(callback: Any) -> None:
    """The error lists those that a validation has logged, and names the other way."""
    with pytest.raises(MissingMetric, match=r"no 'loss' \(it has val_loss, val_f1\); monitor one .* every=\"epoch\""):
        train(plan([(1, 0)]), callback)


def test_an_epoch_without_a_validation_is_an_error() -> None:
    """Even if it logs the metric of a validation: it is not known when to look."""
    with (
        pytest.raises(MissingMetric, match="epoch 1 has reported no validation: validate inside"),
        Run(callbacks=stopper(every="validation")) as run,
    ):
        for _ in run.epochs(2):
            run.log(val_loss=1.0)


def test_validations_that_log_different_metrics_do_not_miss_each_other() -> None:
    """Whether an epoch lacks a metric is known at its end."""
    with Run(
        callbacks=stopper(["val_loss", "val_f1"], mode=["min", "max"], every="validation", stop_when="all")
    ) as run:
        for _ in run.epochs(4):
            with run.validation():
                run.log(loss=1.0)
            with run.validation():
                run.log(f1=0.5)
    assert run.result.epochs == 3


# --- steps


def test_steps_are_multiples_over_the_whole_run() -> None:
    """With epochs of 3 batches and a look every 2 steps, at steps 2, 4, 6: of the mean of the epoch so far."""
    run = train(losses([1, 1, 1], [1, 1, 1], [1, 1, 1]), stopper("loss", every="2 steps"))

    assert run.step == 6
    assert "(step 2)" in run.result.reason


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_a_step_is_a_weight_update(accumulate: int) -> None:
    """With accumulation, a look every step is one every few batches."""
    batches = 0
    with Run(callbacks=stopper("loss", every="1 step")) as run:
        for _ in run.epochs(9):
            for _ in run.batches(range(6), accumulate=accumulate):
                batches += 1
                run.log(loss=1.0)
    assert run.step == 3
    assert batches == 3 * accumulate


@pytest.mark.parametrize(
    ("value", "reason"), [("last", "loss 2 did not improve on 1"), ("mean", "loss 1.5 did not improve on 1")]
)
def test_the_mean_of_the_epoch_or_the_last_value(value: Any, reason: str) -> None:
    run = train(losses([1.0, 2.0]), stopper("loss", every="1 step", value=value, patience=1))
    # the second batch has two samples
    expected = reason if value == "last" else "loss 1.6667 did not improve on 1"
    assert run.result.reason.startswith(expected)


def test_a_look_without_a_new_value_does_not_count() -> None:
    """A validation metric at step looks counts once for each validation; a constant one that is logged anew counts."""
    steps = [(1.0, 0), 1, 1, 1, 1, (1.0, 0), 1, 1, (1.0, 0), 1]
    run = train(plan(steps), stopper(every="1 step"))
    assert run.step == 9  # the third validation

    run = train(losses([1.0] * 10), stopper("loss", every="1 step"))
    assert run.step == 3


def test_a_look_counts_a_validation_once_even_if_the_next_has_other_metrics() -> None:
    with Run(callbacks=stopper(every="1 step", patience=3)) as run:
        for _ in run.epochs(1):
            for batch in run.batches(range(8)):
                with run.validation():
                    run.log(**({"loss": 1.0} if batch % 2 == 0 else {"f1": 0.5}))
    assert run.step == 7  # looks that count: 1, 3, 5, 7


@pytest.mark.parametrize("reduce", ["sum", "max", "min", "mean", None])
def test_a_metric_of_any_reduction_counts_once_for_each_value(reduce: Any) -> None:
    """Logged in every third batch, looked at in each."""
    with Run(callbacks=stopper("score", every="1 step", mode="max", ties="older", patience=2)) as run:
        for _ in run.epochs(1):
            for batch in run.batches(range(20)):
                if batch % 3 == 0:
                    run.log(score=-1.0 if reduce == "sum" else 1.0, reduce=reduce)
    assert run.step == 7


@pytest.mark.parametrize("name", ["val_loss", "f1", "val_f1", "total"])
@pytest.mark.parametrize(("every", "stopped"), [("2 steps", 14), ("3 steps", 15), ("4 steps", 16), ("5 steps", 15)])
def test_a_metric_of_the_end_of_an_epoch_waits_for_the_next_look(name: str, every: str, stopped: int) -> None:
    """Each value counts once, at the first look after it: with two epochs in which nothing improves, at the third."""
    with Run(callbacks=stopper(name, every=every)) as run:
        for _ in run.epochs(9):
            for _ in run.batches(range(4)):
                run.log(loss=1.0)
            run.log(f1=1.0, total=1.0)
            with run.validation():
                run.log(loss=1.0, f1=1.0)
    assert run.step == stopped


@pytest.mark.parametrize(("every", "stopped"), [("2 steps", 10), ("3 steps", 9), ("4 steps", 12), ("5 steps", 15)])
def test_a_metric_may_be_absent_at_the_first_looks(every: str, stopped: int) -> None:
    """Each third batch validates; a look between two validations counts if it is the first after one."""
    run = train(plan(*[[1, 1, (1.0, 0)]] * 20), stopper(every=every))

    assert run.step == stopped


@given(st.integers(1, 9), st.integers(1, 25), st.integers(1, 12), st.integers(1, 3))
def test_each_validation_counts_at_the_first_look_after_it(every: int, steps: int, batches: int, patience: int) -> None:
    """In loops by steps and over epochs, wherever these end: if nothing improves, patience counts such looks."""
    total = 40 * every
    validations, dues = range(every, total + 1, every), range(steps, total + 1, steps)
    looks = [
        due for due, before in zip(dues, [0, *dues], strict=False) if any(before < each <= due for each in validations)
    ]
    expected = looks[patience] if len(looks) > patience else total

    def trained(run: Run, batch: int, due: bool) -> None:
        run.log(loss=float(batch))
        if due:
            with run.validation():
                run.log(loss=1.0)

    with Run(callbacks=stopper(patience=patience, every=f"{steps} steps"), verbose=0) as run:
        for batch in run.steps(range(7), total, validate_every=every):
            trained(run, batch, run.validation_due)
    assert run.step == expected

    with Run(callbacks=stopper(patience=patience, every=f"{steps} steps"), verbose=0) as run:
        number, validated = (
            0,
            [
                epoch
                for epoch in range(1, total // batches + 2)
                if epoch * batches // every > (epoch - 1) * batches // every
            ],
        )
        for _ in run.epochs(-(-total // batches), validation_freq=validated):
            for batch in run.batches(range(min(batches, total - number))):
                number += 1
                trained(run, batch, number % every == 0)
    assert run.step == expected


@pytest.mark.parametrize(
    "callback",
    [stopper("bleu", every="1 step", start_from_epoch=2), stopper("bleu", every="1 step", start_from_epoch=1)],
)
def test_before_its_first_epoch_it_needs_no_metric(callback: EarlyStopping) -> None:
    with Run(callbacks=callback) as run:
        for epoch in run.epochs(4):
            for _ in run.batches(range(2)):
                run.log(loss=1.0)
                if epoch >= callback.start_from_epoch:
                    run.log(bleu=1.0)
    assert run.step == 2 * callback.start_from_epoch + 3


def test_an_epoch_without_a_planned_validation_is_no_error() -> None:
    """Looks at steps wait for the epoch that validates."""
    with Run(callbacks=stopper(every="1 step", patience=1)) as run:
        for epoch in run.epochs(4, validation_freq=2):
            for _ in run.batches(range(3)):
                run.log(loss=1.0)
                if epoch % 2:
                    with run.validation():
                        run.log(loss=1.0)
    assert run.step == 5


@pytest.mark.parametrize(
    "callback", [stopper("loss", every="1 step"), ReduceLROnPlateau(monitor="loss", every="5 minutes")]
)
def test_a_loop_without_batches_is_reported_once(callback: Any, caplog: pytest.LogCaptureFixture) -> None:
    with Run(LineSubject(), callback, verbose=0) as run:
        for _ in run.epochs(3):
            run.log(loss=1.0)
    (failure,) = run.failures
    assert "epoch 1 had no batch" in str(failure.error)
    assert caplog.text.count("has not looked at the metric") == 1


def test_means_that_a_loop_reports_have_no_last_value() -> None:
    """As Keras's are: the error says so at the first look."""
    with (
        pytest.raises(MissingMetric, match="value='last', but this loop reports only means of the epoch; set value="),
        Run(callbacks=stopper("loss", every="1 step", value="last")) as run,
    ):
        run.begin_epoch(0)
        run.begin_batch(0)
        run.end_batch(0, {"loss": 1.0})


# --- ties


def test_a_second_metric_breaks_ties_by_its_present_value() -> None:
    """Also if it has no new value when the first has."""
    epochs = plan([(1.0, 0.5), 1, 1, 1])
    callback = stopper("loss", every="1 step", tie_breaker="val_f1", tie_breaker_mode="max", restore_best_weights=True)
    run = train(epochs, callback)
    assert run.step == 3  # the second metric is equal, not lower than none
    assert len(decided(run)) == 3  # one keep, the stop, the restore


@pytest.mark.parametrize(("newer", "kept"), [(0.6, 4), (0.5, 3), (0.4, 3), (float("nan"), 3)])
def test_of_equal_values_the_better_second_value_is_the_best(newer: float, kept: int) -> None:
    run = train(
        plan([1, 1, (1.0, 0.5), (1.0, newer)]),
        stopper(every="validation", tie_breaker="val_f1", patience=9, restore_best_weights=True),
    )
    assert f"in step {kept}" in decided(run)[-1][1].reason


# --- epochs


@pytest.mark.parametrize(("every", "stopped"), [("epoch", 3), ("1 epoch", 3), ("2 epochs", 6), ("3 epochs", 9)])
def test_every_few_epochs(every: str, stopped: int) -> None:
    assert train(losses(*[[1.0]] * 12), stopper("loss", every=every)).result.epochs == stopped


VALIDATED = {
    "in the other epochs": [1, 3, 5, 7, 9, 11],
    "in each third": [3, 6, 9, 12],
    "seldom": [1, 8],
    "in each": list(range(1, 13)),
    "after the looks": [2, 5, 6, 11],
}


@pytest.mark.parametrize("every", ["2 epochs", "3 epochs", "2 epochs from 0", "5 epochs", "3 epochs from 0"])
@pytest.mark.parametrize("where", VALIDATED)
@pytest.mark.parametrize("absent", [False, True])
def test_a_value_of_an_epoch_between_two_looks_waits(every: str, where: str, absent: bool) -> None:
    """Each value counts at most once, the last one before a look; a look without a new value does not count."""
    validations = VALIDATED[where]
    due = [epoch for epoch in range(12) if Frequency.parse(every).includes(epoch)]
    new = [
        now for now, last in zip(due, [-1, *due], strict=False) if any(last < each - 1 <= now for each in validations)
    ]
    with Run(callbacks=[stopper(every=every), stopper("val_f1", mode="max", every=every, patience=1)]) as run:
        for epoch in run.epochs(12, validation_freq=validations):
            if epoch + 1 in validations:
                with run.validation():
                    run.log(loss=1.0)
                    run.log(f1=float(epoch))  # always better
            elif absent:
                run.log(val_loss=None)
    assert run.result.epochs == (new[2] + 1 if len(new) > 2 else 12)


@pytest.mark.parametrize("every", ["2 epochs", "3 epochs", "4 epochs", "2 epochs from 0", "3 epochs from 0"])
def test_a_cut_sees_the_value_that_waits(every: str) -> None:
    """With validations only in the epochs in which it does not look."""
    due = [epoch for epoch in range(12) if Frequency.parse(every).includes(epoch)]
    others = [epoch + 1 for epoch in range(12) if epoch not in due]
    with Run(LineSubject(1.0), ReduceLROnPlateau(every=every, patience=1, factor=0.5, mode="min"), verbose=0) as run:
        for epoch in run.epochs(12, validation_freq=others):
            if epoch + 1 in others:
                with run.validation():
                    run.log(loss=1.0)
    seen = [epoch for epoch in due if epoch > 0]
    assert [epoch for epoch, _ in decided(run)] == seen[1:]


@pytest.mark.parametrize(("seconds", "stopped"), [([1, 2, 3, 4], 8), ([1, 1, 1, 1], 4), ([2, 1, 3, 3], 4)])
def test_a_value_that_waits_ties_by_the_last_second_value(seconds: list[float], stopped: int) -> None:
    """The metrics are of epochs 1, 3, 5 and 7, the looks after 2, 4, 6 and 8."""
    callback = stopper(every="2 epochs", tie_breaker="val_f1", tie_breaker_mode="max", patience=1)
    with Run(callbacks=callback, verbose=0) as run:
        for epoch in run.epochs(8, validation_freq=[1, 3, 5, 7]):
            if epoch % 2 == 0:
                with run.validation():
                    run.log(loss=1.0, f1=float(seconds[epoch // 2]))
    assert run.result.epochs == stopped


# --- every few validations


@pytest.mark.parametrize("every", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("epochs", [[4, 4, 4, 4], [1] * 16, [7, 0, 2, 7], [3, 5, 1, 0, 7], [16], [0, 15, 1]], ids=repr)
def test_every_few_validations_of_the_whole_run(every: int, epochs: list[int]) -> None:
    """Counted over the ends of epochs: with a patience of 2, the third look stops."""
    batches = plan(*[[(1.0, 0)] * number or [1.0] for number in epochs])
    run = train(batches, stopper(every=f"{every} validations" if every > 1 else "1 validation"))
    steps = [number for number, each in enumerate((each for epoch in batches for each in epoch), 1) if each.validation]
    looks = steps[every - 1 :: every]
    assert run.step == (looks[2] if len(looks) > 2 else sum(map(len, batches)))


@pytest.mark.parametrize(("lacking", "stopped"), [([], 9), ([3], 9), ([3, 6], 9), ([2, 3], 9), ([1, 2, 3], 12)])
def test_a_value_of_a_validation_between_two_looks_waits(lacking: list[int], stopped: int) -> None:
    """If the third validation does not log the metric, its look reads that of the second or the first."""
    with Run(callbacks=stopper(every="3 validations"), verbose=0) as run:
        for _ in run.epochs(1):
            for batch in run.batches(range(15)):
                with run.validation():
                    run.log(f1=1.0)
                    if batch + 1 not in lacking:
                        run.log(loss=1.0)
    assert run.step == stopped


def test_every_few_validations_of_a_loop_by_steps() -> None:
    """And of one with too few of them, the callback is reported before the training."""
    with Run(callbacks=stopper(every="2 validations"), verbose=0) as run:
        for _ in run.steps(range(7), 100, validate_every=5):
            if run.validation_due:
                with run.validation():
                    run.log(loss=1.0)
    assert run.step == 30


# --- resume

OPTIONS: dict[str, list[Any]] = {
    "validations": [
        stopper(every="validation", restore_best_weights=True),
        ReduceLROnPlateau(every="validation", patience=1, mode="min"),
    ],
    "steps": [
        stopper("loss", every="2 steps"),
        ReduceLROnPlateau(monitor="loss", every="3 steps", patience=1, rule="torch"),
    ],
    "batches": [
        stopper("loss", every="2 batches"),
        ReduceLROnPlateau(every="3 batches", patience=1, value="last", mode="min"),
    ],
    "shares of the training": [
        stopper("loss", every="30%"),
        ReduceLROnPlateau(every="12.5%", patience=1, mode="min"),
    ],
    "last values": [
        stopper("loss", every="2 steps", value="last"),
        ReduceLROnPlateau(monitor="loss", every="1 step", value="last", patience=2),
    ],
    "validation metrics at steps": [
        stopper(every="1 step", patience=1),
        ReduceLROnPlateau(monitor="val_f1", mode="max", every="2 steps", patience=1),
    ],
    "several": [
        stopper(
            ["val_loss", "val_f1"], mode=["min", "max"], stop_when="all", every="validation", patience=1, min_epochs=2
        )
    ],
    "several at steps": [
        stopper(["loss", "val_f1"], mode=["min", "max"], stop_when="all", every="1 step", patience=1, min_steps=3)
    ],
    "ties": [
        stopper(every="validation", tie_breaker="val_f1", ties="newer", restore_best_weights=True),
        ReduceLROnPlateau(ties="newer", min_delta=0, patience=1),
    ],
    "after cuts": [stopper(reset_on_lr_cut=True, patience=1), ReduceLROnPlateau(patience=1, factor=0.5)],
    "after cuts inside epochs": [
        stopper(reset_on_lr_cut=True, patience=2, every="1 step", monitor="loss"),
        ReduceLROnPlateau(monitor="loss", every="2 steps", patience=1, factor=0.5),
    ],
    "creeping": [
        stopper(min_delta=0.5, cumulative_delta=False, min_delta_mode="rel", every="validation"),
        ReduceLROnPlateau(cumulative_delta=False, min_delta=0.6, patience=1),
    ],
    "thresholds": [
        stopper(stopping_threshold=0.6, divergence_threshold=2.5, min_epochs=2, check_finite=True, patience=9)
    ],
    "smoothed": [stopper("loss", every="1 step", smoothing="median 3", patience=3, start_from_epoch=1)],
    "every few validations": [
        stopper(every="2 validations", restore_best_weights=True),
        ReduceLROnPlateau(every="3 validations", patience=1, mode="min", tie_breaker="val_f1", tie_breaker_mode="max"),
    ],
    "every few epochs": [
        stopper(every="2 epochs", patience=1, min_epochs=3),
        ReduceLROnPlateau(every="3 epochs", patience=1, mode="min", tie_breaker="val_f1", tie_breaker_mode="max"),
    ],
}


def wrong_after_resume(name: str, epochs: Plan, places: list[int]) -> list[str]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        return broken_and_resumed(epochs, OPTIONS[name], Path(folder), places)


@pytest.mark.parametrize("name", OPTIONS)
@settings(max_examples=2)
@given(plans, st.lists(st.integers(0, 99), min_size=1, max_size=2))
def test_a_resumed_run_decides_as_the_unbroken_one(name: str, epochs: Plan, places: list[int]) -> None:
    """Wherever it was saved: at the end of any batch or epoch, also in the decision that cuts or keeps."""
    assert not wrong_after_resume(name, epochs, places)


@settings(max_examples=6)
@given(
    st.sampled_from(["every few epochs", "every few validations", "shares of the training"]),
    sparse_plans,
    st.integers(0, 99),
)
def test_a_value_that_waits_is_not_lost_by_a_resume(name: str, epochs: Plan, place: int) -> None:
    """With epochs of which some have no validation."""
    assert not wrong_after_resume(name, epochs, [place])


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OPTIONS)
@settings(max_examples=4)
@given(plans)
def test_a_run_resumed_from_each_of_its_files_decides_as_the_unbroken_one(name: str, epochs: Plan) -> None:
    """After every event of it."""
    assert not wrong_after_resume(name, epochs, list(range(99)))
