"""A result is a summary that a person can read, and as data what the run has done."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainbus import Run, decision
from trainbus.metrics.best_value import BestValue
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


@settings(max_examples=settings.default.max_examples // 2)
@given(st.integers(0, 40))
def test_a_long_run_has_a_short_summary(epochs: int) -> None:
    """A schedule changes the rate in every epoch, and every epoch may save; six of each are shown at most."""
    subject = LineSubject(learning_rate=1.0)
    with Run(subject) as run:
        for epoch in run.epochs(epochs):
            run.decide(decision.save(f"short/m-{epoch}.npz"))
            with run.validation():
                run.log(loss=1.0)
            subject.learning_rate = 1.0 / (epoch + 2)

    lines = str(run.result).splitlines()
    shown = [line for line in lines if line.startswith("checkpoint: ")]
    assert len(shown) == min(epochs, 5 if epochs > 6 else 6)
    assert shown[-1:] == ([f"checkpoint: short/m-{epochs - 1}.npz"] if epochs else [])
    rates = [line for line in lines if line.startswith("learning rate: ")]
    assert [line.count("->") for line in rates] == ([min(epochs - 1, 5)] if epochs else [])
    assert lines.count(f"({epochs - 5} more)") == (epochs > 6)
    if epochs > 6:
        assert rates == [f"learning rate: 1 -> 0.5 -> 0.333 -> 0.25 -> ({epochs - 5} more) -> {1 / epochs:.3g}"]


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
    assert result.best["loss"] == BestValue(min(seen), seen.index(min(seen)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.epochs = 0  # type: ignore[misc]
