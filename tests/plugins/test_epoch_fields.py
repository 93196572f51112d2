"""Only fields that count epochs are named, with what to write."""

import pytest

from trainbus.plugins.epoch_fields import epoch_fields


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("m-{epoch}", ["epoch"]),
        ("m-{epoch:03d}-{epoch0}", ["epoch0"]),
        ("{epoch0}/m", ["epoch0"]),
        ("m-{step}-{batch}", []),
        ("m-{{epoch}}", []),
        ("m-{val_epoch}-{epochs}", []),
        ("{run}/m", []),
    ],
)
def test_each_path_with_an_epoch_is_named(path: str, fields: list[str]) -> None:
    assert epoch_fields({"save": path}) == {
        f"save={path!r}": f"write {{step}} in place of {{{field}}}" for field in fields
    }
