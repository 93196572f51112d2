"""The report of a comparison as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...terminal import plural
from ..comparison.comparison import Comparison
from ..records import Recording
from .charts import draw_together
from .comparison_text import tabulate
from .formatting import format_best, shorten
from .html import document, notes_section, table, text
from .text import summary

_TITLE = "Recorded runs side by side"


def render_comparison(recordings: Sequence[Recording], found: Comparison) -> str:
    """Return the page; all text from recordings is escaped."""
    return document(_TITLE, _body(recordings, found))


def _body(recordings: Sequence[Recording], found: Comparison) -> Iterator[str]:
    counts, why = summary(recordings, found.choice, "compared")
    yield f"<header><h1>{_TITLE}</h1><p>{text(counts)}; {text(why)}.</p></header>\n"
    titles = [f"{shorten(each.name, 60)}: {format_best(each.best, each.unit)}" for each in found.runs]
    chart = draw_together(found.curves, titles, shorten(found.choice.monitor, 40))
    yield f"<figure>{chart}<figcaption>The best run is emphasized; a curve under the pointer tells its name. "
    yield "Values far outside of those of most runs are not drawn."
    yield "</figcaption></figure>"
    header, rows = tabulate(found, found.differing)
    differ = f"settings that differ: {len(found.differing)}" if found.differing else "no known setting differs"
    yield table(f"{plural(len(rows), 'run')}, the best first; {differ}", header, rows)
    yield notes_section(recordings, found.notes)
