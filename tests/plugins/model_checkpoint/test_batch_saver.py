"""Saves at the end of batches and validations, and saves that wait for a metric."""

from typing import Any

import pytest

from trainbus import Run
from trainbus.plugins import ModelCheckpoint
from trainbus.testing import LineSubject, scripted

from .saved_files import on_disk


def test_batches_are_counted_across_epochs_and_named() -> None:
    """save_freq=3 over epochs of four batches saves at batches 3, 2, 1 and 4 of epochs 1, 2, 3 and 3."""
    with Run(LineSubject(), ModelCheckpoint("{epoch}-{batch}", save_freq=3)) as run:
        for _ in run.epochs(3):
            for _ in run.batches("abcd"):
                run.log(loss=1)

    assert [path.stem for path in run.result.checkpoints] == ["1-3", "2-2", "3-1", "3-4"]


def test_best_only_works_at_batches() -> None:
    """With an integer save_freq the running mean of the epoch is compared, and only a better one saves."""
    with Run(
        LineSubject(), ModelCheckpoint("{epoch}-{batch}", monitor="loss", save_best_only=True, save_freq=1)
    ) as run:
        for epoch in run.epochs(2):
            for loss in run.batches([[3, 1, 5], [1, 9, 9]][epoch]):
                run.log(loss=loss)

    assert [path.stem for path in run.result.checkpoints] == ["1-1", "1-2", "2-1"]


def waited(values: list[float], callback: ModelCheckpoint, at: tuple[int, ...] = (), batches: int = 4) -> list[str]:
    """Return what is saved in epochs with a value of val_loss each, logged in these batches or at the epoch's end."""
    with Run(LineSubject(), callback) as run:
        for epoch in run.epochs(len(values)):
            for batch in run.batches(range(batches)):
                run.log(loss=1)
                if batch in at:
                    with run.validation():
                        run.log(loss=values[epoch])
            if not at:
                run.log(val_loss=values[epoch])
    return [path.stem for path in run.result.checkpoints]


@pytest.mark.parametrize(
    ("save_freq", "expected"),
    [
        (2, ["1-4", "2-8", "4-16"]),  # due in each epoch
        ("6 steps", ["2-8"]),  # due in epochs 2, 3 and 5
        ("validation", ["1-4", "2-8", "4-16"]),
        ("40%", ["2-8", "4-16"]),  # due after 8 and 16 of 20 steps
    ],
)
def test_a_save_that_needs_the_metric_of_an_epoch_waits_for_it(save_freq: Any, expected: list[str]) -> None:
    """val_loss is known at epoch ends only: what is due before is saved there, if it is better."""
    callback = ModelCheckpoint("{epoch}-{step}", save_best_only=True, save_freq=save_freq)
    values = [3.0, 2.0, 4.0, 1.0, 5.0]
    if save_freq == "validation":
        values = values[:4]
    found = waited(values, callback) if save_freq != "validation" else waited(values, callback, at=(3,))
    assert found == expected


@pytest.mark.parametrize("at", [(1,), (0, 2)])
def test_each_validation_is_saved_at_the_end_of_its_batch(at: tuple[int, ...]) -> None:
    """Also several in an epoch, and without a metric that decides."""
    found = waited([1.0, 2.0], ModelCheckpoint("{epoch}-{batch}", save_freq="validation"), at)

    assert found == [f"{epoch}-{batch + 1}" for epoch in (1, 2) for batch in at]


@pytest.mark.parametrize(
    ("save_freq", "at", "expected"),
    [
        ("2 validations", (0, 2), ["1-3", "2-3", "3-3"]),
        ("3 validations", (0, 2), ["2-1", "3-3"]),
        ("4 validations", (0, 2), ["2-3"]),
        ("5 validations", (0, 2), ["3-1"]),
        ("1 validation", (1,), ["1-2", "2-2", "3-2"]),
        ("2 validations", (1,), ["2-2"]),
        ("4 validations", (0, 1, 2, 3), ["1-4", "2-4", "3-4"]),
    ],
)
def test_every_few_validations_of_the_run_are_saved(save_freq: str, at: tuple[int, ...], expected: list[str]) -> None:
    """Counted over the ends of epochs."""
    assert waited([1.0, 2.0, 3.0], ModelCheckpoint("{epoch}-{batch}", save_freq=save_freq), at) == expected


def test_a_save_at_a_validation_without_the_metric_waits_for_the_next() -> None:
    """The second and the fourth are due; the second has no value, so the third is saved in its place."""
    with Run(LineSubject(), ModelCheckpoint("{step}", keep=9, save_freq="2 validations"), verbose=0) as run:
        for _ in run.epochs(1):
            for batch in run.batches(range(5)):
                with run.validation():
                    run.log(**({"f1": 1.0} if batch == 1 else {"loss": 1.0}))
    assert [path.stem for path in run.result.checkpoints] == ["3", "4"]


def test_a_due_save_waits_for_the_next_validation() -> None:
    """Due at steps 2, 4, 6 and 8; the validations in batches 1 and 3 of each epoch decide."""
    callback = ModelCheckpoint("{step}", keep=9, save_freq="2 steps")

    assert waited([1.0, 2.0], callback, at=(0, 2)) == ["3", "5", "7"]


def test_the_same_validation_decides_only_once() -> None:
    """A value that was compared already says nothing about later weights."""
    callback = ModelCheckpoint("{step}", keep=9, save_freq=1)

    assert waited([1.0, 2.0], callback, at=(1,)) == ["2", "6"]


@pytest.mark.parametrize("ties", ["older", "newer"])
@pytest.mark.parametrize("options", [{"save_best_only": True}, {"keep": 1}])
def test_ties(ties: Any, options: dict[str, Any]) -> None:
    """Of equal values the older or the newer is the better one."""
    saved = waited([2.0, 1.0, 1.0], ModelCheckpoint("{epoch}", ties=ties, **options))

    assert saved[-1] == ("2" if ties == "older" else "3")


@pytest.mark.parametrize("options", [{"save_best_only": True}, {"keep": 1}])
def test_a_second_metric_breaks_ties(options: dict[str, Any]) -> None:
    """Only of equal values; its direction is its own."""
    history = [{"val_loss": 1.0, "val_acc": acc} for acc in (0.5, 0.9, 0.7)] + [{"val_loss": 2.0, "val_acc": 1.0}]
    run, _ = scripted(history, ModelCheckpoint("{epoch}", tie_breaker="val_acc", **options), LineSubject())

    assert [path.stem for path in run.result.checkpoints][-1] == "2"


def test_the_last_models_are_saved_at_once_and_the_best_when_the_metric_is_known() -> None:
    """With keep and keep_last, a due save does not wait for val_loss; the end of the epoch adds the value."""
    callback = ModelCheckpoint("{step}", keep=1, keep_last=1, save_last=True, save_freq="2 steps")
    waited([1.0, 2.0], callback)

    assert on_disk() == {"4", "8", "last"}
