"""The HTML page: it is self-contained, and names are only ever text."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins import EarlyStopping, ReduceLROnPlateau
from trainbus.replay import replay, sweep
from trainbus.replay.report.html_page import render_page

from ..recorded import by_steps, histories, recording

KNOWN = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "header",
    "section",
    "h1",
    "h2",
    "h3",
    "p",
    "b",
    "ul",
    "li",
    "dl",
    "div",
    "dt",
    "dd",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "figure",
    "figcaption",
    "pre",
    "code",
    "svg",
    "desc",
    "line",
    "text",
    "path",
    "circle",
}


class Reader(HTMLParser):
    """A parser that collects the elements of a page, checks that each ends, and collects the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


names = (
    st.sampled_from(["</title><script>alert(1)</script>", '" onload="x', "<img src=x>", "a&amp;b", "\x1b[2J"])
    | st.text()
)


@given(st.lists(st.tuples(names, histories), min_size=1, max_size=3), names)
def test_names_are_only_text(runs: list[tuple[str, list[float | None]]], metric: str) -> None:
    """For any names and values of runs and metrics, a page has known elements only, each closed, and no script."""
    metric = f"{metric}_loss"
    recordings = [recording({metric: [*history, 1.0]}, name) for name, history in runs]
    callbacks = [EarlyStopping(patience=2), ReduceLROnPlateau(patience=1)]
    options = {"monitor": metric, "mode": "min"}
    found = sweep(recordings, patience=[1, 3], min_delta=[0], start_from_epoch=[0], smoothing=[None], **options)
    read = Reader(render_page(recordings, replay(recordings, callbacks, **options), found))

    assert read.elements <= KNOWN
    assert read.open == []
    assert not {each for each in read.attributes if each.startswith("on") or each in ("src", "href")}
    assert "\x1b" not in read.text


def test_a_page_needs_no_network_and_describes_its_charts() -> None:
    """The page's policy forbids to fetch; every drawing has a title and a description; dark and print styles exist."""
    recordings = [recording([3.0, 2.0, 2.5, math.nan, 2.6, 1.0, 1.5, 1.6, 1.7], name) for name in ("a", "b")]
    text = render_page(recordings, replay(recordings, EarlyStopping(patience=2)), sweep(recordings))

    assert "default-src 'none'" in text
    assert "//" not in text
    assert text.count("<svg") == text.count("<desc>") == 3
    assert "stops in epoch 4; best kept 2 @ 2, best seen 1 @ 6" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_every_mark_has_a_style() -> None:
    """Each class of a chart or of a legend is in the style sheet of the page."""
    losses = [3.0, 2.0, 2.5, 2.6, 1.0, 1.5, 1.6, 1.7]
    recordings = [recording({"val_loss": losses, "lr": [0.1] * 8}, name) for name in ("a", "b")]
    callbacks = [EarlyStopping(patience=2), ReduceLROnPlateau(patience=1)]
    text = render_page(recordings, replay(recordings, callbacks), sweep(recordings))
    style, body = text.split("</style>")
    classes = {name for group in re.findall(r'class=(?:"([^"]+)"|(\w+))', body) for name in " ".join(group).split()}

    assert {"curve", "after", "stop", "unsure", "kept", "missed", "cut", "policy", "frontier", "legend"} <= classes
    assert {name for name in classes if f".{name}" not in style} == {"words"}  # as every other text of a chart


def test_a_page_of_a_sweep_alone_has_the_frontier_and_what_to_paste() -> None:
    """Without settings, a page shows no decisions in the curves."""
    recordings = [recording([3.0, 2.0, 2.5, 2.6, 1.0, 1.1, 1.2, 1.3], name) for name in ("a", "b")]
    read = Reader(render_page(recordings, None, sweep(recordings)))

    assert "[[callbacks]]" in read.text
    assert "careful" in read.text


@given(histories.map(lambda history: [*history, 1.0]), st.integers(1, 300))
def test_a_page_of_loops_by_steps_speaks_of_validations_and_steps(history: list[float | None], every: int) -> None:
    """In its tables, charts, totals and recommendations."""
    runs = [by_steps(recording(history, name), every) for name in "ab"]
    result = replay(runs, [EarlyStopping(patience=2), ReduceLROnPlateau(patience=1)])
    page = render_page(runs, result, sweep(runs, patience=[1, 2], min_delta=[0], smoothing=[None]))
    _, _, body = page.partition("</style>")

    assert "epoch" not in body
    assert f"{2 * len(history)} validations" in body
    assert "moments are steps" in body
