"""Options take numbers of any kind, and no text or truth value for a number."""

import re
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import BeforeValidator

from trainbus import Callback, SettingsError
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard

NUMBERS = {
    EarlyStopping: ["min_delta", "patience", "baseline", "start_from_epoch"],
    ReduceLROnPlateau: ["factor", "patience", "min_delta", "cooldown", "min_lr"],
    partial(ModelCheckpoint, "m-{epoch}"): ["initial_value_threshold", "keep", "keep_last"],
    TensorBoard: ["histogram_freq", "batch_size", "embeddings_freq", "max_images"],
}
TRUTHS = {
    EarlyStopping: ["restore_best_weights"],
    partial(ModelCheckpoint, "m"): ["save_best_only", "save_weights_only", "save_last", "background"],
    TensorBoard: ["write_graph", "write_images", "write_grads", "write_steps_per_second"],
}


@pytest.mark.parametrize(("make", "name"), [(make, name) for make, names in NUMBERS.items() for name in names])
@pytest.mark.parametrize("value", ["3", "0.5", "1e-3", "auto", "", True, False])
@pytest.mark.covering(1)
def test_text_and_truth_values_are_no_numbers(make: Any, name: str, value: Any) -> None:
    """Python's own functions convert neither; a setting that was meant as another is found at once."""
    what = "text" if isinstance(value, str) else "a bool"
    with pytest.raises(SettingsError, match=rf"{name}={re.escape(repr(value))}: give a (whole )?number.*, not {what}"):
        make(**{name: value})


@pytest.mark.parametrize(
    "value",
    [
        np.datetime64("2020-01-01"),
        np.datetime64(3, "ns"),
        np.timedelta64(3, "s"),
        timedelta(seconds=3),
        np.ma.masked,
        np.ma.array([3.0], mask=[True]),
        np.array(["3"]),
        np.array("3"),
        np.array(b"3"),
        np.array([1.0, 2.0]),
        np.array([]),
        np.array([None]),
        np.bool_(True),
        np.array([True]),
        b"3",
        bytearray(b"3"),
        3 + 0j,
        [3],
        {3},
        pytest.param(object(), id="object"),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    ("make", "name"), [(EarlyStopping, "baseline"), (ReduceLROnPlateau, "factor"), (EarlyStopping, "patience")]
)
@pytest.mark.covering(1)
def test_what_is_no_number_as_a_metric_is_none_as_a_setting(make: Any, name: str, value: Any) -> None:
    """Times, masked values, text in arrays, several values: refused in one line that says what to give."""
    with pytest.raises(
        SettingsError, match=rf"{name}=.*: give a (whole )?number.*, not (a value of type|text|a truth)"
    ) as raised:
        make(**{name: value})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "value", [np.float32(0.5), np.array(0.5), np.array([0.5]), np.array([[0.5]]), Decimal("0.5"), Fraction(1, 2)]
)
def test_a_single_number_of_any_kind_is_a_setting(value: Any) -> None:
    """As it is a metric; it becomes a number of Python, so that callbacks stay comparable and printable."""
    assert ReduceLROnPlateau(factor=value) == ReduceLROnPlateau(factor=0.5)
    assert EarlyStopping(patience=value * 4) == EarlyStopping(patience=2)
    assert type(EarlyStopping(baseline=value).baseline) is float
    with pytest.raises(SettingsError, match="patience="):
        EarlyStopping(patience=value)


@pytest.mark.parametrize(("make", "name"), [(make, name) for make, names in TRUTHS.items() for name in names])
@pytest.mark.parametrize("value", ["yes", "true", "False", "0", ""])
def test_text_is_no_truth_value(make: Any, name: str, value: str) -> None:
    """The text "False" is true in most languages, and false in others."""
    with pytest.raises(SettingsError, match=rf"{name}='{value}': give True or False.*, not text"):
        make(**{name: value})


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3.0)])
def test_numbers_of_any_kind_are_numbers(value: Any) -> None:
    """As NumPy and TOML have them."""
    assert EarlyStopping(patience=value, min_delta=value) == EarlyStopping(patience=3, min_delta=3)


def test_an_option_of_a_stranger_may_convert_text() -> None:
    """With a validator of its own, or if it takes text as well."""

    class Percent(Callback):
        share: Annotated[float, BeforeValidator(lambda text: float(str(text).rstrip("%")) / 100)] = 0.5
        level: int | str = 1

    assert Percent(share="20%", level="high").model_dump() == {"share": 0.2, "level": "high"}


def test_true_and_false_are_verbose_levels() -> None:
    """verbose=True is 1, as people write it for Keras."""
    assert EarlyStopping(verbose=True) == EarlyStopping(verbose=1)
