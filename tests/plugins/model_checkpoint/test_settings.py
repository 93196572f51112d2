"""Tests of ModelCheckpoint's options."""

import pytest

from trainbus import SettingsError
from trainbus.plugins import ModelCheckpoint


def test_save_on_accepts_a_single_name() -> None:
    """("end") is text, not a tuple, and means the same as ("end",)."""
    assert ModelCheckpoint("m", save_on=("end")) == ModelCheckpoint("m", save_on=("end",))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["run/", ".", "..", "/", "run/..", "run/.", "s3://bucket/run/", "memory://run/"])
def test_a_path_that_names_a_directory_is_refused(path: str) -> None:
    """It would name a file such as "run/.pt"."""
    with pytest.raises(SettingsError, match="names a directory; add the name of a file"):
        ModelCheckpoint(path)
