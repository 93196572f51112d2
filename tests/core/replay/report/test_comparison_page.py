"""The page of a comparison: one chart with all runs, and the table with every setting that differs."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from trainbus.replay import compare
from trainbus.replay.report.comparison_page import render_comparison

from ..recorded import histories, recording
from .pages import PageReader

texts = st.sampled_from(["</title><script>alert(1)</script>", '" onload="x', "<img src=x>", "\x1b[2J"]) | st.text()


@given(st.lists(st.tuples(texts, histories), min_size=1, max_size=3), texts)
def test_names_and_settings_are_only_text(runs: list[tuple[str, list[float | None]]], text: str) -> None:
    """For any runs, the page has known elements only, each closed, and no script."""
    recordings = [
        replace(recording({"val_loss": [*history, 1.0]}, name), settings={text: number, "other": text})
        for number, (name, history) in enumerate(runs)
    ]
    PageReader(render_comparison(recordings, compare(recordings))).check_form()


def test_every_run_is_drawn_and_every_differing_setting_listed() -> None:
    """A pointer on a curve tells the run; the table has more settings than a terminal has room for."""
    recordings = [
        replace(recording([3.0, 2.0, float(number)], f"run-{number}"), settings={f"s{k}": number for k in range(12)})
        for number in range(40)
    ]
    page = render_comparison(recordings, compare(recordings))
    drawn = page.split("<svg")[1].split("</svg>")[0]
    assert drawn.count('class="run"') == 40
    assert "<title>run-7: 2 @ 2</title>" in drawn
    assert all(f">s{k}</th>" in page for k in range(12))
    assert "10 more" in page
