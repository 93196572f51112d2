"""The options of EarlyStopping."""

import re
from pathlib import Path
from typing import Any

import pytest

from trainbus import SettingsError, callbacks_from
from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.settings import settings_file

TWO = ["val_loss", "val_f1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monitor": []}, r"monitor=\[\]: give at least one name"),
        ({"monitor": [""]}, r"monitor.0='': give text that is not empty"),
        ({"monitor": ["val_loss", "val_loss"]}, r"'val_loss' is listed twice; remove one"),
        ({"monitor": ["val_acc", "loss", "val_accuracy"]}, r"'val_accuracy' is listed twice, as 'val_acc'; remove one"),
        ({"monitor": ["val_loss", 3]}, r"monitor.1=3: give text"),
        ({"monitor": TWO, "mode": ["min"]}, r"monitor has 2 and mode has 1 entries; give one mode for each metric"),
        ({"monitor": TWO, "mode": ["min", "max", "min"]}, r"monitor has 2 and mode has 3 entries"),
        ({"monitor": "val_loss", "mode": ["min", "max"]}, r"monitor has 1 and mode has 2 entries"),
        ({"monitor": TWO, "mode": []}, r"monitor has 2 and mode has 0 entries"),
        ({"monitor": TWO, "mode": ["min", "mx"]}, r"mode.1='mx': give 'auto', 'min' or 'max'; did you mean 'max'"),
        ({"monitor": TWO, "baseline": 1.0}, r"baseline=1.0: it is for one metric, but monitor names 2"),
        ({"monitor": TWO, "stopping_threshold": 1.0}, r"stopping_threshold=1.0: it is for one metric"),
        ({"monitor": TWO, "divergence_threshold": 1.0}, r"divergence_threshold=1.0: it is for one metric"),
        ({"monitor": TWO, "tie_breaker": "loss"}, r"tie_breaker='loss': it is for one metric"),
        ({"stop_when": "all"}, r"stop_when='all': monitor='val_loss' is one metric; give a list of several"),
        ({"monitor": ["val_loss"], "stop_when": "all"}, r"monitor='val_loss' is one metric"),
        ({"monitor": TWO, "stop_when": "both"}, r"stop_when='both': give 'any' or 'all'"),
        ({"stopping_threshold": 0.5, "divergence_threshold": 0.4}, r"stopping_threshold=0.5 every val_loss would stop"),
        ({"stopping_threshold": 0.5, "divergence_threshold": 0.5}, r"give a divergence_threshold above 0.5"),
        (
            {"monitor": "val_f1", "stopping_threshold": 0.5, "divergence_threshold": 0.6},
            r"since higher is better; give a divergence_threshold below 0.5",
        ),
        ({"stopping_threshold": float("nan")}, r"stopping_threshold=nan: give a finite number"),
        ({"min_epochs": -1}, r"min_epochs=-1: give a number of at least 0"),
        ({"min_steps": 1.5}, r"min_steps=1.5: give a whole number"),
        ({"check_finite": "yes"}, r"check_finite='yes': give True or False, not text"),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], message: str) -> None:
    """When the callback is made, with what to write instead."""
    with pytest.raises(SettingsError, match=message):
        EarlyStopping(**options)


@pytest.mark.parametrize("name", sorted(EarlyStopping.elsewhere))
def test_names_of_other_libraries_name_the_option(name: str) -> None:
    with pytest.raises(
        SettingsError, match=re.escape(f"{name}: unknown option; write {EarlyStopping.elsewhere[name]}")
    ):
        EarlyStopping(**{name: 1})


@pytest.mark.parametrize("name", sorted(ReduceLROnPlateau.elsewhere))
def test_names_of_other_libraries_name_the_option_of_the_plateau(name: str) -> None:
    with pytest.raises(
        SettingsError, match=re.escape(f"{name}: unknown option; write {ReduceLROnPlateau.elsewhere[name]}")
    ):
        ReduceLROnPlateau(**{name: 1})


@pytest.mark.parametrize(
    ("written", "meant"),
    [("patiance", "patience"), ("stop_threshold", "stopping_threshold"), ("tiebreaker", "tie_breaker"),
     ("check_finit", "check_finite"), ("min_epoch", "min_epochs"), ("reset_on_cut", "reset_on_lr_cut")],
)  # fmt: skip
def test_a_misspelt_option_names_the_nearest(written: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"{written}: unknown option; did you mean '{meant}'"):
        EarlyStopping(**{written: 1})


LISTS: list[dict[str, Any]] = [
    {"monitor": TWO},
    {"monitor": TWO, "mode": ["min", "max"], "stop_when": "all"},
    {"monitor": TWO, "mode": "max"},
    {"monitor": ["val_loss"], "mode": ["min"]},
    {"monitor": ["loss", "val_loss", "val_f1"], "mode": ["min", "auto", "max"], "every": "validation"},
    {"monitor": "val_loss", "mode": ["auto"], "stopping_threshold": 0.1, "divergence_threshold": 9.0},
]


@pytest.mark.parametrize("options", LISTS)
def test_lists_come_back_from_a_settings_file(options: dict[str, Any], tmp_path: Path) -> None:
    """And from plain data; an equal callback is one value."""
    made = EarlyStopping(**options)
    (tmp_path / "run.toml").write_text(settings_file.dumps([made]))

    assert settings_file.load(tmp_path / "run.toml") == [made]
    assert callbacks_from([made.settings()]) == [made]
    assert hash(made) == hash(EarlyStopping(**options))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"monitor": ["val_loss"]}, {"monitor": "val_loss"}),
        ({"monitor": ["val_loss"], "mode": ["min"]}, {"monitor": "val_loss", "mode": "auto"}),
        ({"monitor": TWO, "mode": "auto"}, {"monitor": TWO, "mode": ["min", "max"]}),
        ({"monitor": TWO}, {"monitor": tuple(TWO), "stop_when": "any"}),
        ({"patience": 0}, {"patience": 1}),
    ],
)
def test_two_ways_to_write_the_same_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = EarlyStopping(**one), EarlyStopping(**other)
    assert first.effective_settings() == second.effective_settings()
    assert first.compatible_with(second.effective_settings())


@pytest.mark.parametrize(
    ("earlier", "compatible"),
    [
        ({"monitor": TWO}, True),
        ({"monitor": TWO[::-1]}, False),
        ({"monitor": "val_loss"}, False),
        ({"monitor": TWO, "mode": "min"}, False),
        ({"monitor": TWO, "stop_when": "all"}, True),
        ({"monitor": TWO, "smoothing": "ema 0.9"}, False),
        ({"monitor": TWO, "patience": 5, "min_epochs": 3, "check_finite": True}, True),
    ],
)
def test_a_state_fits_if_metrics_directions_and_smoothing_are_the_same(earlier: Any, compatible: bool) -> None:
    assert EarlyStopping(monitor=TWO).compatible_with(EarlyStopping(**earlier).effective_settings()) == compatible
