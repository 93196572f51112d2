"""The format of a journal is described in its schema."""

from trainbus.journal import schema


def test_the_schema_describes_every_event_and_every_field_with_its_meaning() -> None:
    """Readers of a journal with other tools find each field described, and the numbers that are texts."""
    defined = schema()["$defs"]

    assert set(schema()["discriminator"]["mapping"]) == {
        *("begin", "resumed", "epoch", "decision", "checkpoint", "failure", "exception", "hang", "signal", "emitted"),
        "end",
    }
    assert {"enum": ["NaN", "Infinity", "-Infinity"]} in defined["EpochEnded"]["properties"]["metrics"][
        "additionalProperties"
    ]["anyOf"]
    assert all(each["description"] for each in defined.values())
