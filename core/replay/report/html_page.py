"""A replay or a sweep as one self-contained HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Iterator

from trainbus import dumps

from .charts import draw_curve, draw_frontier
from .counted import counted
from .formatting import shorten
from .html import document, notes_section, table, text
from .outcome_table import legend, tabulate_outcomes
from .report import Report
from .snippets import format_call
from .text import summary

_CURVES = 24
"""The number of runs that are drawn; the table has all runs."""


def render_page(report: Report) -> str:
    """Return the page; all text from recordings is escaped."""
    return document(_title(report), _body(report))


def _title(report: Report) -> str:
    return "Recorded runs under other settings" if report.given is not None else "When to stop"


def _body(report: Report) -> Iterator[str]:
    counts, why = summary(report.recordings, report.choice)
    yield f"<header><h1>{text(_title(report))}</h1><p>{text(counts)}; {text(why)}.</p></header>\n"
    first, *others = report.answer
    yield f"<section class=answer><p><b>{text(first)}</b></p><p>{text(' '.join(others))}</p>"
    metric = shorten(report.choice.monitor, 40)
    if report.outcomes:
        outcome = report.outcomes[0]
        which = ", the run that loses most" if outcome.quality_lost and len(report.outcomes) > 1 else ""
        chart = draw_curve(report.curves, 0, outcome, metric, large=True)
        yield f"<figure>{chart}<figcaption>{text(shorten(outcome.name, 60))}{which}</figcaption></figure>"
    yield "</section>\n"
    yield from _runs_section(report, metric)
    yield from _policies_section(report)
    yield notes_section(report.recordings, report.notes)


def _runs_section(report: Report, metric: str) -> Iterator[str]:
    yield "<section><h2>Runs</h2>"
    if report.result is not None:
        words = counted(each.unit for each in report.outcomes)
        caption = f"What would have been decided, first the run that loses most; {words.first}"
        yield table(caption, *tabulate_outcomes(report.result, report.outcomes))
        yield "".join(f"<p class=small>{text(each)}</p>" for each in legend(report.result))
        header, rows = report.tabulate_groups()
        yield table(f"Groups of runs by {header[0]}", header, rows) if rows else ""
    yield from _curve_section(report, metric)
    yield "</section>\n"


def _policies_section(report: Report) -> Iterator[str]:
    found = report.found
    if found is None or not report.policies:
        return
    yield f"<section><h2>{_title_of(len(report.policies))} of {len(found.grid):,} early stopping policies</h2>"
    many = counted(found.curves.units).many
    caption = f"By how much they may lose; fractions of all {many}, and of what a run gains from first to best value"
    yield table(caption, *report.tabulate_policies())
    yield "<ul class=small>"
    yield "".join(f"<li><b>{text(advice)}</b>: {text(each.words)}.</li>" for advice, each in report.policies)
    yield f"<li><b>left out</b>: {text(report.left_out)}</li></ul>" if report.left_out else "</ul>"
    yield f"<figure>{draw_frontier(found, report.policies)}<figcaption>Every dot is a policy; no other policy both "
    yield "saves more and loses less than one on the line.</figcaption></figure>"
    for advice, each in report.policies:
        yield f"<h3>{text(advice)}</h3>"
        if found.library == "trainbus":
            yield f"<pre tabindex=0><code>{text(dumps([each.callback]), lines=True)}</code></pre>"
        yield f"<pre tabindex=0><code>{text(format_call(each.callback, found.library))}</code></pre>"
    yield "</section>\n"


def _title_of(count: int) -> str:
    return ("One", "Two", "Three")[count - 1]


def _curve_section(report: Report, metric: str) -> Iterator[str]:
    curves, outcomes = report.curves, {each.name: each for each in report.outcomes}
    if len(curves.names) < 2:
        return
    if outcomes:
        yield "<ul class=legend><li class=kept>best kept</li><li class=missed>best seen, if lost</li>"
        yield "<li class=stop>stop</li><li class=cut>learning rate cut; hollow: hypothetical</li></ul>"
    yield "<div class=curves>"
    count = min(len(curves.names), _CURVES)
    for row in range(count):
        name = curves.names[row]
        chart = draw_curve(curves, row, outcomes.get(name), metric)
        yield f"<figure>{chart}<figcaption>{text(shorten(name, 60))}</figcaption></figure>"
    yield "</div>"
    if len(curves.names) > count:
        yield f"<p class=small>The curves of the first {count} of {len(curves.names):,} runs.</p>"
