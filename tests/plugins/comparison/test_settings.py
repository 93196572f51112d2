"""The options that say what counts as better: which contradict, and which are equal."""

from typing import Any

import pytest

from trainbus import SettingsError, callbacks_from
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau

BOTH = pytest.mark.parametrize("callback", [EarlyStopping, ReduceLROnPlateau])


@BOTH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value": "last"}, r"value='last': every='epoch' reads no single batches; set every=\"500 steps\""),
        ({"value": "last", "every": "validation"}, r"every='validation' reads no single batches"),
        ({"value": "last", "every": "3 epochs"}, r"every='3 epochs' reads no single batches"),
        ({"value": "last", "every": "10%"}, r"every='10%' reads no single batches"),
        ({"value": "first"}, r"value='first': give 'mean' or 'last'"),
        ({"min_delta": 1, "min_delta_mode": "rel"}, r"min_delta_mode='rel': min_delta=1 is not a fraction below 1"),
        ({"min_delta": -2.5, "min_delta_mode": "rel"}, r"min_delta=2\.5 is not a fraction below 1"),
        ({"min_delta_mode": "relative"}, r"min_delta_mode='relative': give 'abs' or 'rel'"),
        ({"ties": "last"}, r"ties='last': give 'older' or 'newer'"),
        ({"cumulative_delta": "no"}, r"cumulative_delta='no': give True or False, not text"),
    ],
)
def test_options_that_contradict_are_refused(callback: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        callback(**options)


SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"every": "epoch"}, {"every": "1 epoch"}),
    ({"every": "5 step"}, {"every": "5 steps"}),
    ({"min_delta": 0.1}, {"min_delta": -0.1, "min_delta_mode": "abs"}),
    ({"min_delta": 0.0}, {"min_delta": 0.0, "min_delta_mode": "rel"}),
    ({"min_delta": 0.0}, {"min_delta": 0.0, "cumulative_delta": False}),
    ({"tie_breaker": "val_acc"}, {"tie_breaker": "val_accuracy", "tie_breaker_mode": "max"}),
    ({"mode": "auto"}, {"mode": "min"}),
]


@BOTH
@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_ways_to_write_the_same_are_equal(callback: Any, one: dict[str, Any], other: dict[str, Any]) -> None:
    """A resumed run does not report them as a change, and continues."""
    first, second = callback(**one), callback(**other)
    assert first.effective_settings() == second.effective_settings()
    assert first.compatible_with(second.effective_settings())
    assert second.compatible_with(first.effective_settings())


@BOTH
@pytest.mark.parametrize(
    ("one", "other", "compatible"),
    [
        ({"every": "validation"}, {"every": "epoch"}, False),
        ({"every": "2 steps"}, {"every": "3 steps"}, False),
        ({"tie_breaker": "val_f1"}, {}, False),
        ({"tie_breaker": "val_f1"}, {"tie_breaker": "val_auc"}, False),
        ({"tie_breaker": "val_f1"}, {"tie_breaker": "val_f1", "tie_breaker_mode": "min"}, False),
        ({"mode": "min"}, {"mode": "max"}, False),
        ({"min_delta": 0.1}, {"min_delta": 0.2}, True),
        ({"min_delta": 0.1}, {"min_delta": 0.1, "min_delta_mode": "rel"}, True),
        ({"min_delta": 0.1}, {"min_delta": 0.1, "cumulative_delta": False}, True),
        ({"ties": "older"}, {"ties": "newer"}, True),
        ({"every": "2 steps"}, {"every": "2 steps", "value": "last"}, True),
    ],
)
def test_what_differs_is_noticed(callback: Any, one: dict[str, Any], other: dict[str, Any], compatible: bool) -> None:
    """What the state means must be the same to continue from it; how a value is judged may change."""
    first, second = callback(**one), callback(**other)
    assert first.effective_settings() != second.effective_settings()
    assert first.compatible_with(second.effective_settings()) == compatible
    assert second.compatible_with(first.effective_settings()) == compatible


@BOTH
@pytest.mark.parametrize("options", [each for pair in SAME for each in pair])
def test_options_come_back_from_plain_data(callback: Any, options: dict[str, Any]) -> None:
    made = callback(**options)
    assert callbacks_from([made.settings()]) == [made]
