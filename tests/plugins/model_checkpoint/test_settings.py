"""Tests of ModelCheckpoint's options."""

from typing import Any

import pytest

from trainbus import SettingsError
from trainbus.plugins import ModelCheckpoint


@pytest.mark.parametrize("threshold", [0.5, 0, -3.0, 1e9])
@pytest.mark.parametrize("options", [{}, {"keep": 2}, {"keep_last": 2}, {"save_last": True}, {"save_best_only": False}])
def test_a_threshold_that_compares_nothing_is_refused(options: dict[str, Any], threshold: float) -> None:
    with pytest.raises(
        SettingsError, match=r"initial_value_threshold=.*: only save_best_only=True compares a model with"
    ):
        ModelCheckpoint("m-{epoch}", initial_value_threshold=threshold, **options)
    assert ModelCheckpoint("m", initial_value_threshold=threshold, save_best_only=True).save_best_only


def test_save_on_accepts_a_single_name() -> None:
    """("end") is text, not a tuple, and means the same as ("end",)."""
    assert ModelCheckpoint("m", save_on=("end")) == ModelCheckpoint("m", save_on=("end",))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["run/", ".", "..", "/", "run/..", "run/.", "s3://bucket/run/", "memory://run/"])
def test_a_path_that_names_a_directory_is_refused(path: str) -> None:
    """It would name a file such as "run/.pt"."""
    with pytest.raises(SettingsError, match="names a directory; add the name of a file"):
        ModelCheckpoint(path)
