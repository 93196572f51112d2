"""Two callbacks of the same effect are refused, in whatever words their options are given."""

from typing import Any

import pytest

from trainbus import Run, SettingsError, hookimpl
from trainbus.plugins import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from trainbus.settings.conflicts import find_conflicts
from trainbus.settings.plugin_list import build_plugins
from trainbus.testing import LineSubject


class Plain:
    """A plain object that listens."""

    @hookimpl
    def on_train_end(self) -> None: ...


SAME_EFFECT: dict[str, tuple[Any, Any, str]] = {
    "the direction in words": (
        EarlyStopping(patience=3),
        EarlyStopping(patience=3, mode="min"),
        r"options of the same effect \(mode='auto' and mode='min'\)",
    ),
    "a synonym": (
        EarlyStopping(monitor="val_acc", patience=3),
        EarlyStopping(monitor="val_accuracy", patience=3),
        r"\(monitor='val_acc' and monitor='val_accuracy'\)",
    ),
    "a patience of 0": (EarlyStopping(patience=0), EarlyStopping(patience=1), r"\(patience=0 and patience=1\)"),
    "what is printed": (EarlyStopping(verbose=1), EarlyStopping(), r"\(verbose=1 and verbose=0\)"),
    "a path": (ModelCheckpoint("m"), ModelCheckpoint("./x/../m.npz"), r"same effect \(filepath='m' and filepath='./x"),
    "an interval": (
        ModelCheckpoint("m", save_freq=5),
        ModelCheckpoint("m", save_freq="5 batches"),
        r"ModelCheckpoint is listed twice",
    ),
    "a cooldown of 0": (ReduceLROnPlateau(), ReduceLROnPlateau(cooldown=1, mode="min"), r"cooldown=0 and cooldown=1"),
    "an order": (
        ModelCheckpoint("m", save_on=("signal", "exception")),
        ModelCheckpoint("m", save_on=("exception", "signal")),
        r"ModelCheckpoint is listed twice",
    ),
    "plain data": (EarlyStopping(), {"callback": "EarlyStopping", "mode": "min"}, r"EarlyStopping is listed twice"),
}


@pytest.mark.parametrize(("one", "other", "sentence"), SAME_EFFECT.values(), ids=SAME_EFFECT)
def test_two_callbacks_of_the_same_effect_are_refused(one: Any, other: Any, sentence: str) -> None:
    """In one line that shows in which words they differ."""
    for listed in ([one, other], [other, Plain(), one]):
        with pytest.raises(SettingsError) as raised:
            Run(LineSubject(), listed)
        assert "\n" not in str(raised.value)
        assert "remove one" in str(raised.value)
    with pytest.raises(SettingsError, match=sentence):
        Run(LineSubject(), [one, other])


@pytest.mark.parametrize(
    "listed",
    [
        [EarlyStopping(patience=3), EarlyStopping(patience=3, mode="max")],
        [EarlyStopping(patience=3, mode="max"), EarlyStopping(patience=3, mode="min")],
        [EarlyStopping(monitor="reward", mode="max"), EarlyStopping(monitor="val_reward", mode="max")],
        [ModelCheckpoint("m", monitor="loss"), ModelCheckpoint("n", monitor="loss")],
        [ReduceLROnPlateau(), ReduceLROnPlateau(factor=0.2)],
        [ReduceLROnPlateau(), EarlyStopping()],
    ],
)
def test_two_callbacks_of_different_effect_are_accepted(listed: list[Any]) -> None:
    """Though they monitor the same metric."""
    assert len(build_plugins(listed, LineSubject())) >= 2


def test_callbacks_that_differ_in_one_option_are_not_equal() -> None:
    """Two metrics may be watched, and one with two patiences."""
    callbacks = [EarlyStopping(patience=1), EarlyStopping(patience=2), EarlyStopping(monitor="loss", patience=1)]
    assert len(build_plugins(callbacks)) == 3


def test_two_callbacks_that_write_one_path_are_named_with_the_second() -> None:
    """However the path is written."""
    found = list(find_conflicts([ModelCheckpoint("m"), EarlyStopping(), ModelCheckpoint("./m", save_best_only=True)]))

    assert [number for number, _ in found] == [2]
    assert found[0][1].startswith("ModelCheckpoint: two callbacks would write ")
