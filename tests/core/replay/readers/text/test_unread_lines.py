"""Lines that seem to have metrics."""

from trainbus.replay.readers.text.unread_lines import UnreadLines


def test_lines_are_counted_and_the_first_is_shown() -> None:
    """Its beginning; without any, there is no note."""
    lines = UnreadLines()
    assert lines.notes() == []
    for line in ("  valid 1.5" + "x" * 100, "valid 2.5"):
        lines.add(line)
    (note,) = lines.notes()
    assert note.startswith("2 lines name held-out data")
    assert "'valid 1.5xxx" in note
    assert len(note) < 200
