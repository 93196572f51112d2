"""What an option such as save_freq or every means."""

import re
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.callback.planned_training import PlannedTraining
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.plugins.frequency import Frequency

OPTIONS: list[Any] = [
    pytest.param(lambda given: EarlyStopping(every=given), "every", id="EarlyStopping"),
    pytest.param(lambda given: ReduceLROnPlateau(every=given), "every", id="ReduceLROnPlateau"),
    pytest.param(lambda given: ModelCheckpoint("m", save_freq=given), "save_freq", id="ModelCheckpoint"),
]


@given(st.integers(1, 10**9), st.sampled_from(["epoch", "batch", "step"]), st.booleans())
def test_a_number_of_a_unit_means_itself(every: int, unit: str, plural: bool) -> None:
    """Singular and plural are the same, and "epoch" and a bare number are one epoch and so many batches."""
    word = unit + ("es" if unit == "batch" else "s") * plural

    assert Frequency.parse(f"{every} {word}") == (every, unit)
    assert Frequency.parse(every) == (every, "batch")
    assert Frequency.parse("epoch") == (1, "epoch")


@given(
    st.tuples(st.integers(1, 10**6), st.sampled_from(["epoch", "batch", "step", "minute", "hour", "week"])).map(
        lambda drawn: f"{drawn[0]} {drawn[1]}"
    )
    | st.tuples(st.integers(0, 99), st.integers(1, 999999)).map(lambda drawn: f"{drawn[0]}.{drawn[1]:06}%")
    | st.timedeltas(timedelta(microseconds=1), timedelta(days=36500))
    | st.integers(1, 10**6).map("{} epochs from 0".format)
    | st.sampled_from(["epoch", "validation", 1, 7, 400, "1 hour 30 minutes", "90 minutes", "100%", "0.5 seconds"])
)
def test_the_normal_form_means_the_same(value: Any) -> None:
    """And is its own normal form, so that equal frequencies have one text."""
    try:
        frequency = Frequency.parse(value)
    except ValueError as error:
        assert "at most 36500 days" in str(error)  # noqa: PT017 - some drawn times are too long
        return

    assert Frequency.parse(str(frequency)) == frequency
    assert str(Frequency.parse(str(frequency))) == str(frequency)
    assert frequency.in_batches == (not frequency.in_epochs and frequency.unit != "validation")


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
        Frequency.parse(value)
    except ValueError as error:
        why = "give a time above 0|give a time of at most|.* are given twice|unknown unit"
        examples = 'give "epoch", "validation", or text such as' in str(error) or "give text such as" in str(error)
        assert examples or re.match(why, str(error))  # noqa: PT017 - most texts are none
    else:
        assert isinstance(value, str)
        assert value in ("epoch", "validation") or value[:1].isdecimal()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30 seconds", 30),
        ("2 hours", 7200),
        ("1.5 minutes", 90),
        ("1 day 2 hours", 93600),
        ("1 week", 604800),
        ("0.25 seconds", 0.25),
        (timedelta(minutes=5), 300),
        (timedelta(days=1, seconds=1), 86401),
    ],
)
@pytest.mark.parametrize(("callback", "option"), OPTIONS)
def test_any_unit_of_time_is_a_number_of_seconds(callback: Any, option: str, value: object, seconds: float) -> None:
    """Also a timedelta, which the callback stores as text; other text stays as it was given."""
    assert Frequency.parse(value) == (seconds, "second")
    stored = getattr(callback(value), option)
    assert isinstance(stored, str)
    assert Frequency.parse(stored) == (seconds, "second")
    assert stored == value or isinstance(value, timedelta)


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("validations", "validation"),
        ("val", "validation"),
        ("3 evals", "3 validations"),
        ("3validations", "3 validations"),
        ("12 evaluations", "12 validations"),
        ("eval", "validation"),
        ("Epoch", "epoch"),
        ("epochs", "epoch"),
        ("100 batchs", "100 batches"),
        ("100steps", "100 steps"),
        ("50 iterations", "50 steps"),
        ("500 stpes", "500 steps"),
        ("2 hrs", "2 hours"),
        ("1 d", "1 day"),
        ("5 min", "5 minutes"),
        ("10 minuts", "10 minutes"),
        ("10 Minutes", "10 minutes"),
        ("3 epoch_s", "3 epochs"),
        ("3 epohcs", "3 epochs"),
        ("7 stps", "7 steps"),
        ("10 percent", "10%"),
        ("5 epochs from 1", "5 epochs"),
        ("5epochs from 0", "5 epochs from 0"),
        ("5 epcohs from 0", "5 epochs from 0"),
        ("epochs from 0", "epoch"),
    ],
)
@pytest.mark.parametrize(("callback", "option"), OPTIONS)
def test_a_wrong_frequency_names_the_nearest(callback: Any, option: str, given: str, nearest: str) -> None:
    """The same text, whichever option it is."""
    message = f'{option}={given!r}: did you mean "{nearest}"? give "epoch", "validation", or text such as'
    with pytest.raises(SettingsError, match=re.escape(message)):
        callback(given)
    assert str(Frequency.parse(nearest))


@pytest.mark.parametrize(
    "given",
    [
        "",
        "often",
        "0 steps",
        "-3 steps",
        "1.5 epochs",
        "step",
        "0 validations",
        "3 validations from 0",
        "200 percent",
        "5 steps from 0",
        "5 epochs from 2",
        "0 epochs from 0",
        "2 batches from 0",
        "2 epoch s",
        "101%",
        "2 foos",
        None,
        2.5,
    ],
)
@pytest.mark.parametrize(("callback", "option"), OPTIONS)
def test_what_has_no_near_form_lists_the_forms(callback: Any, option: str, given: object) -> None:
    with pytest.raises(SettingsError, match=f'{option}={given!r}: give "epoch", "validation", or text such as'):
        callback(given)


@pytest.mark.parametrize("given", ["1 hour 30 minuts", "2 hours 1 hour", "0 seconds", "9999999 weeks"])
@pytest.mark.parametrize(("callback", "option"), OPTIONS)
def test_a_wrong_length_of_time_says_what_is_wrong_in_it(callback: Any, option: str, given: str) -> None:
    """As every option that takes one."""
    with pytest.raises(
        SettingsError, match=f"{option}={given!r}: (unknown unit 'minuts'; did you|hours are given twice|give a time)"
    ):
        callback(given)


@pytest.mark.parametrize(
    ("every", "fix"), [(500, 'what it counts, as in "500 steps", "500 batches" or "500 epochs"'), (True, ""), (0, "")]
)
@pytest.mark.parametrize("callback", [EarlyStopping, ReduceLROnPlateau])
def test_a_bare_number_is_no_text(every: Any, fix: str, callback: type) -> None:
    """It counts batches in save_freq, as in Keras; what it would count in every is not clear."""
    with pytest.raises(SettingsError, match=f"every={every}: give {fix}"):
        callback(every=every)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("epoch", "1 epoch"),
        ("2 hours", "120 minutes"),
        ("1.5 hours", "90 minutes"),
        ("60 seconds", "1 minute"),
        ("500 step", "500 steps"),
        ("10%", "10.0 %"),
        ("epoch", "1 epoch from 0"),
        ("4 epoch from 0", "4 epochs from 0"),
    ],
)
@pytest.mark.parametrize("callback", [EarlyStopping, ReduceLROnPlateau, partial(ModelCheckpoint, "m")])
def test_equal_frequencies_are_one_effective_setting(callback: Any, first: str, second: str) -> None:
    """So that a resume with the other text is no change."""
    option = "save_freq" if isinstance(callback, partial) else "every"
    one, other = callback(**{option: first}), callback(**{option: second})

    assert one.effective_settings() == other.effective_settings()
    assert one.compatible_with(other.effective_settings())


@pytest.mark.parametrize(
    ("every", "effective"),
    [("epoch", "epoch"), ("3 epoch", "3 epochs"), ("10 minutes", "10 minutes"), ("500 step", "500 steps")],
)
def test_what_a_manifest_holds_of_every_is_its_text(every: str, effective: str) -> None:
    """As before there were other units."""
    assert EarlyStopping(every=every).effective_settings()["every"] == effective


@given(
    st.sampled_from(["epoch", "2 epochs", "3 epochs from 0", "7 epochs", "50 epochs"]),
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_the_times_that_epochs_are_due_are_those_that_are_included(text: str, first: int, count: int, own: int) -> None:
    frequency, planned = Frequency.parse(text), PlannedTraining(range(first, first + count))
    due = [epoch for epoch in planned.epochs if epoch >= own and frequency.includes(epoch)]
    assert frequency.times_due(planned, own) == len(due)
