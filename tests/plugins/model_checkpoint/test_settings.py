"""Tests of ModelCheckpoint's options."""

from trainbus.plugins import ModelCheckpoint


def test_save_on_accepts_a_single_name() -> None:
    """("end") is text, not a tuple, and means the same as ("end",)."""
    assert ModelCheckpoint("m", save_on=("end")) == ModelCheckpoint("m", save_on=("end",))  # type: ignore[arg-type]
