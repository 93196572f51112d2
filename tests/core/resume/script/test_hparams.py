"""Hyperparameters that a script gives to a run."""

from math import inf, nan
from typing import Any

import pytest

from trainbus import Run, SettingsError
from trainbus.plugins import ModelCheckpoint
from trainbus.resume.script.hparams import hparams_of
from trainbus.testing import LineSubject


def trained(saver: ModelCheckpoint, *, epochs: int, **options: Any) -> Run:
    with Run(LineSubject(), [saver], **options) as run:
        for _ in run.epochs(epochs):
            run.log(acc=0.0)
    return run


@pytest.mark.parametrize(
    "given",
    [
        {"lr": 0.1, "layers": [64, {"act": "relu"}], "name": None, "seed": 3, "flag": True},
        {},
        {"nan": nan, "inf": -inf},
        {"损失": "é" * 50, "a b": ""},
        {"big": 2**60},
        {"nested": {"deep": {"deeper": [1, [2, [3]]]}}},
    ],
)
def test_hyperparameters_come_back(given: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """A resumed run has those of its checkpoint without giving them again."""
    saver = ModelCheckpoint("m-{epoch}")
    assert repr(trained(saver, epochs=1, hparams=given).hparams) == repr(given)
    again = trained(saver, epochs=2, resume="auto").hparams
    assert repr(again) == repr(given)
    same = trained(saver, epochs=3, resume="auto", hparams=given)
    assert repr(same.hparams) == repr(given)
    assert "hparams differ" not in caplog.text


def test_different_hyperparameters_are_reported_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Those of the script are used, and the others come back."""
    saver = ModelCheckpoint("m-{epoch}")
    trained(saver, epochs=1, hparams={"lr": 0.1, "layers": [1, 2], "seed": 3})
    run = trained(saver, epochs=2, resume="auto", hparams={"lr": 0.01, "layers": [1, 2], "drop": 0.5})
    assert run.hparams == {"lr": 0.01, "layers": [1, 2], "seed": 3, "drop": 0.5}
    assert "hparams differ, and those of the script are used: lr 0.1 -> 0.01, drop is new" in caplog.text
    assert caplog.text.count("hparams") == 1


@pytest.mark.parametrize("given", [3, [1], {3: 1}, {"f": print}, {"x": object()}, {"s": {1, 2}}, "lr=0.1"])
def test_wrong_hyperparameters_are_refused(given: Any) -> None:
    """The message names the one that is no plain data."""
    with pytest.raises(SettingsError, match="hparams"):
        Run(LineSubject(), hparams=given)


def test_hyperparameters_are_a_copy() -> None:
    """What the script changes later is not changed in the run."""
    given = {"layers": [1]}
    found = hparams_of(given)
    given["layers"].append(2)
    assert found == {"layers": [1]}
