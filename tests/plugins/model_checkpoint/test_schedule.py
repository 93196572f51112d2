"""Tests of how often checkpoints are saved."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run
from trainbus.plugins import ModelCheckpoint
from trainbus.plugins.model_checkpoint import schedule as frequency
from trainbus.plugins.model_checkpoint.schedule import SaveFrequency
from trainbus.testing import LineSubject


@given(st.integers(1, 10**9), st.sampled_from(["epoch", "batch", "step", "minute"]), st.booleans())
def test_a_number_of_a_unit_means_itself(every: int, unit: str, plural: bool) -> None:
    """Singular and plural are the same, and "epoch" and a bare number are one epoch and so many batches."""
    word = unit + ("es" if unit == "batch" else "s") * plural

    assert SaveFrequency.parse(f"{every} {word}") == (every, unit)
    assert SaveFrequency.parse(every) == (every, "batch")
    assert SaveFrequency.parse("epoch") == (1, "epoch")


@given(
    st.text(max_size=12)
    | st.floats()
    | st.booleans()
    | st.integers(max_value=0)
    | st.none()
    | st.sampled_from(
        ["2 epoch s", "-1 steps", "0 minutes", "1.5 minutes", "2 hours", " 2 steps", "2  steps", "10minutes"]
    )
)
def test_any_other_frequency_is_rejected_with_examples(value: object) -> None:
    """Any other value is rejected, with an example of each valid kind."""
    if value == "epoch":
        return
    with pytest.raises(
        ValueError, match='give "epoch", a number of batches above 0, or text such as "2 epochs", "500 st'
    ):
        SaveFrequency.parse(value)


def test_saving_every_other_epoch_uses_the_number_of_the_epoch() -> None:
    """Every "2 epochs" saves epochs 2 and 4, and also in a run that begins at epoch 2."""
    for initial_epoch in (0, 1):
        with Run(LineSubject(), ModelCheckpoint("{epoch}", save_freq="2 epochs")) as run:
            for _ in run.epochs(5, initial_epoch=initial_epoch):
                run.log(loss=1)
        assert [checkpoint.path.stem for checkpoint in run.state.checkpoints] == ["2", "4"]


@pytest.mark.parametrize(("accumulate", "expected"), [(1, ["3", "6", "9"]), (2, ["3"]), (None, [])])
def test_steps_are_weight_updates(accumulate: int | None, expected: list[str]) -> None:
    """Every "3 steps" saves where the updates reach a multiple of 3, once, however many batches an update takes."""
    with Run(LineSubject(), ModelCheckpoint("{step}", save_freq="3 steps")) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(5), accumulate=accumulate):
                run.log(loss=1)

    assert [checkpoint.path.stem for checkpoint in run.state.checkpoints] == expected


def test_steps_that_jump_over_a_multiple_still_save() -> None:
    """If several updates are reported at once, the first end of a batch past a multiple saves."""
    with Run(LineSubject(), ModelCheckpoint("{step}", save_freq="10 steps")) as run:
        run.begin_epoch(0)
        for batch in range(5, 40, 6):
            run.end_batch(batch, {"loss": 1}, steps=6)

    assert [checkpoint.path.stem for checkpoint in run.state.checkpoints] == ["12", "24", "30"]


def test_minutes_are_measured_by_a_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every "2 minutes" saves at the first batch end at least 120 seconds after the start or the save before."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(frequency, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with Run(LineSubject(), ModelCheckpoint("{epoch}-{batch}", save_freq="2 minutes")) as run:
        for epoch in run.epochs(2):
            for seconds in run.batches([[50, 69, 1, 119], [1, 500, 0, 120]][epoch]):
                clock.now += seconds

    assert [checkpoint.path.stem for checkpoint in run.state.checkpoints] == ["1-3", "2-1", "2-2", "2-4"]


@pytest.mark.parametrize("words", ["1 batch", "1 batches", 1])
def test_batches_in_words_are_batches(words: str | int) -> None:
    """A number of batches means the same in words."""
    with Run(LineSubject(), ModelCheckpoint("{batch}", save_freq=words)) as run:
        for _ in run.epochs(1):
            for _ in run.batches("ab"):
                pass

    assert [checkpoint.path.stem for checkpoint in run.state.checkpoints] == ["1", "2"]
