"""A result is a summary that a person can read, and as data what the run has done."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import LineSubject, scripted


def test_result_reads_well() -> None:
    """The printed result says how long, why, what was best, what was saved and how the rate went."""
    callbacks = [
        EarlyStopping(patience=2),
        ModelCheckpoint("best", save_best_only=True),
        ReduceLROnPlateau(patience=1, factor=0.5),
    ]
    with Run(LineSubject(), callbacks) as run:
        for epoch in run.epochs(9):
            run.log(val_loss=[3, 2, 2, 2, 2][epoch])

    assert str(run.result).splitlines() == [
        "4 epochs: val_loss 2 did not improve on 2 (epoch 2) for the 2nd time",
        "best val_loss: 2 in epoch 2",
        "checkpoint: best.npz",
        "learning rate: 0.5 -> 0.25",
    ]


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=9), st.integers(0, 3))
def test_a_result_counts_what_the_run_has_done(losses: list[float], patience: int) -> None:
    """Epochs, the best value with its epoch, and the decisions in order; it cannot be changed."""
    history = [{"loss": loss} for loss in losses]
    run, decided = scripted(history, EarlyStopping(monitor="loss", patience=patience), LineSubject())
    result = run.result

    assert result.epochs == len(run.history["loss"]) <= len(losses)
    assert result.stopped is bool(decided)
    assert list(result.decisions) == decided
    seen = losses[: result.epochs]
    assert result.best["loss"] == (min(seen), seen.index(min(seen)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.epochs = 0  # type: ignore[misc]
