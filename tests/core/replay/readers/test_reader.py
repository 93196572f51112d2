"""What a reader has, and what it is given."""

from pathlib import Path

import pytest

from trainbus.replay.readers import Reader, Source
from trainbus.replay.readers.registry import installed_readers


def test_a_reader_needs_a_title_and_two_functions() -> None:
    """Each file is then a run of its own."""
    reader = Reader("Logs", lambda _: True, lambda _: [])
    assert list(reader.group([Path("a"), Path("b")])) == [[Path("a")], [Path("b")]]
    assert reader.order < max(each.order for each in installed_readers().readers)


def test_a_source_names_the_run_of_its_first_file() -> None:
    """A reader may also ask for the name of a directory."""
    source = Source((Path("runs/a/log.x"), Path("runs/a/log.y")), lambda path: path.as_posix().upper())
    assert (source.path, source.name) == (Path("runs/a/log.x"), "RUNS/A/LOG.X")
    assert source.name_of(source.path.parent) == "RUNS/A"


@pytest.mark.parametrize("reader", installed_readers().readers, ids=lambda each: each.title)
def test_titles_are_plurals(reader: Reader) -> None:
    """They are listed as the known formats."""
    assert reader.title
    assert reader.title.strip(" .") == reader.title
