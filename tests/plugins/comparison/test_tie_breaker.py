"""The second metric, which breaks ties: the same options of each callback that compares values."""

import re
from functools import partial
from typing import Any

import pytest

from trainbus import Run, SettingsError, UnknownDirection
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.testing import LineSubject

EACH = pytest.mark.parametrize(
    "callback",
    [
        pytest.param(EarlyStopping, id="EarlyStopping"),
        pytest.param(ReduceLROnPlateau, id="ReduceLROnPlateau"),
        pytest.param(partial(ModelCheckpoint, "m", save_best_only=True), id="best"),
        pytest.param(partial(ModelCheckpoint, "m-{epoch}", keep=3), id="keep"),
    ],
)


@EACH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tie_breaker": ""}, r"tie_breaker='': give the name of a metric"),
        ({"tie_breaker": "val_loss"}, r"a metric does not break its own ties; monitor='val_loss': name another metric"),
        ({"tie_breaker": "valid/Loss"}, r"a metric does not break its own ties"),
        ({"tie_breaker": "eval_loss"}, r"a metric does not break its own ties"),
        ({"monitor": "val_acc", "tie_breaker": "val_accuracy"}, r"monitor='val_acc': name another metric"),
        ({"monitor": "valid/AUROC", "tie_breaker": "val_auc"}, r"a metric does not break its own ties"),
        ({"tie_breaker_mode": "max"}, r"tie_breaker_mode='max': there is no tie_breaker"),
        ({"tie_breaker_mode": "min"}, r"tie_breaker_mode='min': there is no tie_breaker"),
        ({"tie_breaker": "val_f1", "tie_breaker_mode": "up"}, r"tie_breaker_mode='up': give 'auto', 'min' or 'max'"),
    ],
)
def test_a_second_metric_that_cannot_break_ties_is_refused(
    callback: Any, options: dict[str, Any], message: str
) -> None:
    """Whatever the spelling of its name."""
    with pytest.raises(SettingsError, match=message):
        callback(**options)


@EACH
@pytest.mark.parametrize("name", ["thing", "val_thing", "quux"])
def test_a_second_metric_without_a_known_direction_is_refused_before_training(callback: Any, name: str) -> None:
    """As that of the monitored one."""
    (error,) = callback(tie_breaker=name).validate_for(LineSubject())
    assert f"'{name}'" in str(error)
    for mode in ("min", "max"):
        assert not list(callback(tie_breaker=name, tie_breaker_mode=mode).validate_for(LineSubject()))
    assert not list(callback(tie_breaker="val_f1").validate_for(LineSubject()))


@pytest.mark.usefixtures("tmp_path")
@EACH
def test_a_run_refuses_it_before_its_first_epoch(callback: Any) -> None:
    """Not at the first tie."""
    with pytest.raises(UnknownDirection, match="'thing'"), Run(LineSubject(), callback(tie_breaker="thing")):
        pytest.fail("the run has begun")


@EACH
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"tie_breaker": "val_acc"}, {"tie_breaker": "val_accuracy", "tie_breaker_mode": "max"}),
        ({"tie_breaker": "valid/acc", "tie_breaker_mode": "max"}, {"tie_breaker": "val_accuracy"}),
        ({}, {"tie_breaker_mode": "auto"}),
    ],
)
def test_two_ways_to_write_it_are_one_effective_setting(callback: Any, one: Any, other: Any) -> None:
    assert callback(**one).effective_settings() == callback(**other).effective_settings()


@pytest.mark.parametrize("option", [{"ties": "newer"}, {"tie_breaker": "val_f1"}])
def test_a_saver_that_compares_nothing_has_no_ties(option: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="models are compared only with save_best_only=True or keep"):
        ModelCheckpoint("m", **option)


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (EarlyStopping(tie_breaker="foo"), 'write tie_breaker_mode="max" or tie_breaker_mode="min"'),
        (ReduceLROnPlateau(tie_breaker="foo"), 'write tie_breaker_mode="max" or tie_breaker_mode="min"'),
        (ModelCheckpoint("m", keep=1, tie_breaker="foo"), 'write tie_breaker_mode="max" or tie_breaker_mode="min"'),
        (EarlyStopping(monitor="foo"), 'write mode="max" or mode="min"'),
        (EarlyStopping(monitor=["val_loss", "foo"]), 'write mode=["auto", "max"] or mode=["auto", "min"]'),
        (
            EarlyStopping(monitor=["foo", "acc"], mode=["auto", "max"]),
            'write mode=["max", "max"] or mode=["min", "max"]',
        ),
    ],
)
def test_an_unknown_direction_names_the_option_that_gives_it(callback: Any, message: str) -> None:
    """Written as the message says, the callback is accepted."""
    with pytest.raises(UnknownDirection, match=re.escape(message)):
        Run(LineSubject(), callback)
    written = eval(f"dict({message.removeprefix('write ').partition(' or ')[0]})")
    Run(LineSubject(), type(callback)(**{**callback.model_dump(exclude_unset=True), **written}))
