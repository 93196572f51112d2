"""The laws of ModelCheckpoint's options."""

from trainbus.plugins import ModelCheckpoint


def test_one_ending_may_go_without_a_comma() -> None:
    """The parentheses of ("end") make no tuple; what is meant is taken."""
    assert ModelCheckpoint("m", save_on=("end")) == ModelCheckpoint("m", save_on=("end",))  # type: ignore[arg-type]
