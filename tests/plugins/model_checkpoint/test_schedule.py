"""Tests of how often checkpoints are saved."""

import re
from datetime import timedelta
from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import Run, SettingsError
from trainbus.plugins import ModelCheckpoint
from trainbus.plugins.model_checkpoint import schedule as frequency
from trainbus.plugins.model_checkpoint.schedule import SaveFrequency
from trainbus.testing import LineSubject


@given(st.integers(1, 10**9), st.sampled_from(["epoch", "batch", "step"]), st.booleans())
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
        ["2 epoch s", "-1 steps", "0 minutes", " 2 steps", "2  steps", "0%", "101%", "-1%", "1e1%", "0 h"]
    )
)
def test_any_other_frequency_is_rejected_with_examples(value: object) -> None:
    """Any other value is rejected, with an example of each valid kind, or with what is wrong in it."""
    try:
        SaveFrequency.parse(value)
    except ValueError as error:
        why = 'give "epoch", "validation", a number|unknown unit|give a time above 0|give a time of at most|twice|unit'
        assert re.match(why, str(error)) or "give text such as" in str(error)  # noqa: PT017 - most texts are none
    else:
        assert isinstance(value, str)
        assert value in ("epoch", "validation") or value[:1].isdecimal()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("30 seconds", 30), ("2 hours", 7200), ("1.5 minutes", 90), ("1 day 2 hours", 93600), (timedelta(minutes=5), 300)],
)
def test_any_unit_of_time_is_a_number_of_seconds(value: object, seconds: float) -> None:
    """Also a timedelta, which the callback stores as text."""
    assert SaveFrequency.parse(value) == (seconds, "second")
    stored = ModelCheckpoint("m", save_freq=value).save_freq  # type: ignore[arg-type]
    assert isinstance(stored, str)
    assert SaveFrequency.parse(stored) == (seconds, "second")


@pytest.mark.parametrize(("value", "near"), [("500 stpes", "steps"), ("10 minuts", "minutes"), ("3 epohcs", "epochs")])
def test_a_misspelt_unit_is_named_with_the_nearest(value: str, near: str) -> None:
    """Units of counts and of times."""
    with pytest.raises(SettingsError, match=f"unknown unit .*did you mean '{near}'"):
        ModelCheckpoint("m", save_freq=value)


@given(st.integers(1, 12), st.integers(1, 7), st.sampled_from([1, 2.5, 10, 25, 33.333333, 50, 100]), st.booleans())
def test_percents_are_shares_of_the_planned_training(epochs: int, batches: int, share: float, known: bool) -> None:
    """A save is due at the first batch that reaches each multiple; at the end of epochs if batches are not counted."""
    with Run(LineSubject(), ModelCheckpoint("{epoch}-{step}", save_freq=f"{share}%"), verbose=0) as run:
        for _ in run.epochs(epochs):
            for _ in run.batches(range(batches) if known else iter(range(batches))):
                run.log(loss=1)

    places = [(epoch, batch) for epoch in range(epochs) for batch in range(batches)]
    done = [Fraction(100 * (epoch * batches + batch + 1), epochs * batches) for epoch, batch in places]
    if not known:
        done = [Fraction(100 * (epoch + (batch + 1 == batches)), epochs) for epoch, batch in places]
    reached = [int(each / Fraction(str(share))) for each in done]
    due = [now for now, before, after in zip(places, [0, *reached], reached, strict=False) if after > before]
    assert [(each.epoch, each.step) for each in run.state.checkpoints] == [
        (epoch, epoch * batches + batch + 1) for epoch, batch in due
    ]


def test_percents_of_a_training_without_an_end_are_refused() -> None:
    """At the first batch, with the way out."""
    with (
        pytest.raises(SettingsError, match=r"save_freq='10%' needs the number of epochs: write run.epochs\(n\)"),
        Run(LineSubject(), ModelCheckpoint("m", save_freq="10%")) as run,
    ):
        for _ in run.epochs():
            for _ in run.batches(range(3)):
                run.log(loss=1)

    assert run.step == 1


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
