"""The option every."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus import SettingsError
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.plugins.comparison.look_frequency import LookFrequency, check_every


@given(st.integers(1, 10**6), st.sampled_from(["epoch", "step", "minute"]), st.booleans())
def test_text_and_its_normal_form_mean_the_same(count: int, unit: str, plural: bool) -> None:
    """Whatever the number and the s."""
    text = f"{count} {unit}{'s' if plural else ''}"
    frequency = LookFrequency.parse(text)

    assert (frequency.every, frequency.unit) == (count, unit)
    assert LookFrequency.parse(check_every(text)) == frequency
    assert frequency.in_batches == (unit != "epoch")


@pytest.mark.parametrize(
    ("every", "nearest"),
    [
        ("validations", "validation"),
        ("val", "validation"),
        ("eval", "validation"),
        ("Epoch", "epoch"),
        ("epochs", "epoch"),
        ("100 batches", "100 steps"),
        ("100steps", "100 steps"),
        ("50 iterations", "50 steps"),
        ("2 hours", "120 minutes"),
        ("1 day", "1440 minutes"),
        ("5 min", "5 minutes"),
        ("3 epoch_s", "3 epochs"),
        ("7 stps", "7 steps"),
    ],
)
@pytest.mark.parametrize("callback", [EarlyStopping, ReduceLROnPlateau])
def test_a_wrong_frequency_names_the_nearest(callback: type, every: str, nearest: str) -> None:
    with pytest.raises(SettingsError, match=f'every=\'{every}\': did you mean "{nearest}"\\? give "epoch", "valid'):
        callback(every=every)


@pytest.mark.parametrize(
    "every", ["", "often", "0 steps", "-3 steps", "1.5 epochs", "step", "30 seconds", "3 validations"]
)
def test_what_has_no_near_form_lists_the_forms(every: str) -> None:
    with pytest.raises(SettingsError, match=f'every=\'{every}\': give "epoch", "validation", or text such as'):
        EarlyStopping(every=every)


@pytest.mark.parametrize("every", [500, None, 2.5, ["epoch"]])
def test_what_is_no_text_is_refused(every: object) -> None:
    with pytest.raises(SettingsError, match=r"every=.*: give text"):
        EarlyStopping(every=every)  # type: ignore[arg-type]
