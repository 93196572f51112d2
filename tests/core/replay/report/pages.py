"""A reader of HTML pages that checks their form."""

from __future__ import annotations

from html.parser import HTMLParser

KNOWN = frozenset(
    {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "h1", "h2", "h3", "p", "b"),
        *("ul", "li", "dl", "div", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure"),
        *("figcaption", "pre", "code", "svg", "desc", "line", "text", "path", "circle", "g", "details", "summary"),
    }
)
"""The elements of a page; none of them runs code or fetches anything."""


class PageReader(HTMLParser):
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

    def check_form(self) -> None:
        """Check that each element is known and closed, and that nothing runs or is fetched."""
        assert self.elements <= KNOWN
        assert self.open == []
        assert not {each for each in self.attributes if each.startswith("on") or each in ("src", "href")}
        assert "\x1b" not in self.text
