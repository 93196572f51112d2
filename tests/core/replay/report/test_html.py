"""The parts of a page: every text is only text, and a long table is folded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay.report.html import document, notes_section, table, text

from ..recorded import recording
from .pages import PageReader

texts = st.sampled_from(["</title><script>alert(1)</script>", '" onload="x', "<img src=x>", "\x1b[2J"]) | st.text()


@given(texts, st.lists(st.lists(texts, min_size=2, max_size=2), max_size=3))
def test_any_text_is_shown_as_text(title: str, rows: list[list[str]]) -> None:
    """A page has no element that a title or a cell has made."""
    PageReader(document(title, [table(title, ["run", title], rows), f"<p>{text(title)}</p>"])).check_form()


@pytest.mark.parametrize("count", [0, 1, 30, 31, 500])
def test_rows_beyond_thirty_are_folded_and_none_is_lost(count: int) -> None:
    """The folded part is a table of its own, with the same header."""
    page = table("runs", ["run", "best"], [[f"run-{number}", "1"] for number in range(count)])
    shown, _, folded = page.partition("<details>")
    assert shown.count("<tr><th scope=row>") == min(count, 30)
    assert folded.count("<tr><th scope=row>") == max(count - 30, 0)
    assert bool(folded) == (count > 30)
    assert [f"run-{number}</th>" in page for number in range(count)] == [True] * count


def test_notes_of_runs_have_their_names() -> None:
    """Without any note there is no section."""
    noted = replace(recording([1.0], "a"), notes=("What was guessed.",))
    assert "a: What was guessed." in notes_section([noted], ())
    assert notes_section([recording([1.0], "a")], ()) == ""
