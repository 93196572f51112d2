"""HTML of a self-contained page that needs no network: the document, its tables and its text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from ...terminal import printable
from ..records import Recording
from .formatting import notes_of_runs

_STYLE = files("trainbus.replay.report").joinpath("page.css").read_text(encoding="utf-8")
_FOLDED = 30
"""The number of rows of a table that are shown at once; the others are unfolded by a click."""


def document(title: str, body: Iterable[str]) -> str:
    """Return the page.

    Args:
        title: Its title, as text.
        body: Its body, as HTML.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<main>\n{''.join(body)}</main>\n"
        "</body>\n</html>\n"
    )


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose rows beyond the first ones are folded.

    >>> table("A", ["run", "best"], [["a", "1"]]).count("<tr>"), "<details>" in table("A", ["run"], [["a"]] * 31)
    (2, True)
    """
    lines = [_row(row) for row in rows]
    shown = _table(caption, header, lines[:_FOLDED])
    if len(lines) <= _FOLDED:
        return shown
    more = f"{len(lines) - _FOLDED:,} more"
    return f"{shown}<details><summary>{more}</summary>{_table(more, header, lines[_FOLDED:])}</details>"


def notes_section(recordings: Sequence[Recording], notes: Sequence[str]) -> str:
    """Return the notes on all runs and on single ones; nothing if there are none."""
    every = [*notes, *(f"{names}: {note}" for names, note in notes_of_runs(recordings))]
    listed = "".join(f"<li>{text(note)}</li>" for note in every)
    return f"<section><h2>Notes</h2><ul>{listed}</ul></section>\n" if every else ""


def text(content: str, *, lines: bool = False) -> str:
    """Return printable text, escaped for HTML; ``lines`` keeps line breaks.

    >>> text("a<b")
    'a&lt;b'
    """
    shown = "\n".join(map(printable, content.split("\n"))) if lines else printable(content)
    return escape(shown)


def _row(row: Sequence[str]) -> str:
    return f"<tr><th scope=row>{text(row[0])}</th>{''.join(f'<td>{text(cell)}</td>' for cell in row[1:])}</tr>"


def _table(caption: str, header: Sequence[str], lines: Sequence[str]) -> str:
    head = "".join(f"<th scope=col>{text(each)}</th>" for each in header)
    return (
        f'<div class="wide" role="region" aria-label="{text(caption)}" tabindex="0"><table><caption>{text(caption)}'
        f"</caption><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )
