"""A replay or a sweep as one self-contained HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainbus import dumps

from ...terminal import format_duration, plural
from ..curves import Curves, build_curves
from ..libraries.settings import find_library
from ..records import Recording, RunOutcome
from ..replayer import Replay
from ..sweeper import Sweep
from .charts import draw_curve, draw_frontier
from .counted import counted
from .formatting import estimate_cells, format_number, format_percent, shorten
from .html import document, notes_section, table, text
from .outcome_table import tabulate_outcomes
from .snippets import format_call, format_callback

_CURVES = 24
"""The number of runs that are drawn; the table has all runs."""


def render_page(recordings: Sequence[Recording], result: Replay | None, found: Sweep | None) -> str:
    """Return the page; all text from recordings is escaped.

    Args:
        recordings: The runs.
        result: Their replay, if there is one.
        found: Their sweep, if there is one; one of both is required.
    """
    return document(_title(result), _body(recordings, result, found))


def _title(result: Replay | None) -> str:
    return "Recorded runs under other settings" if result is not None else "How to stop early"


def _body(recordings: Sequence[Recording], result: Replay | None, found: Sweep | None) -> Iterator[str]:
    first = result or found
    assert first is not None
    choice = first.choice
    epochs = counted(each.unit for each in recordings).total(sum(len(each.epochs) for each in recordings))
    better = "lower" if choice.mode == "min" else "higher"
    yield f"<header><h1>{text(_title(result))}</h1>"
    yield f"<p>{plural(len(recordings), 'run')}, {epochs}; decided by <b>{text(choice.monitor)}"
    yield f"</b>, {better} is better ({text(choice.why)}).</p></header>\n"
    if result is not None:
        yield from _replay_section(result)
    if found is not None:
        yield from _sweep_section(found)
    runs = [each for each in recordings if choice.is_logged_in(each)]
    outcomes = {each.name: each for each in result.outcomes} if result is not None else {}
    yield from _curve_section(build_curves(runs, choice), outcomes, choice.monitor)
    yield notes_section(recordings, first.notes)


def _replay_section(result: Replay) -> Iterator[str]:
    mean, worst = result.quality_lost
    words = counted(each.unit for each in result.outcomes)
    yield f"<section><h2>By {text(find_library(result.library).title)}'s rules</h2><ul class=code>"
    yield "".join(f"<li><code>{text(format_callback(each))}</code></li>" for each in result.callbacks)
    yield "</ul><dl class=totals>"
    yield _total(format_percent(result.epochs_saved / max(result.epochs, 1)), f"of {words.total(result.epochs)} saved")
    if result.seconds_saved is not None and result.seconds is not None:
        yield _total(format_duration(result.seconds_saved), f"of {format_duration(result.seconds)} saved")
    yield _total(format_number(mean), f"quality lost on average, {format_number(worst)} at worst")
    yield _total(f"{result.censored}", f"of {plural(len(result.outcomes), 'run')} censored")
    yield "</dl>"
    yield table(f"What the settings would have decided; {words.first}", *tabulate_outcomes(result))
    yield f"<p class=small><b>censored</b>: nothing stops the run up to its last recorded {words.one}; nothing is known"
    yield " after it. <b>?</b>: hypothetical, since it comes after a learning rate cut that the record does not show; "
    yield "the first cut is exact; or since the record may lack validations at which a callback looks.</p></section>\n"


def _sweep_section(found: Sweep) -> Iterator[str]:
    if found.nothing_to_learn:
        yield f"<section><h2>Nothing is recommended</h2><p>{_text(found.nothing_to_learn)}.</p></section>\n"
        return
    yield f"<section><h2>Three of {len(found.grid):,} early stopping policies</h2>"
    header = ["", "saves", "loses", "at worst", "left out: saves", "loses", "at worst", "settings"]
    rows = (
        [each.advice, *estimate_cells(each.on_these), *estimate_cells(each.on_others), str(each.policy)]
        for each in found.recommendations
    )
    many = counted(found.curves.units).many
    yield table(f"Recommended; fractions of all {many}, and of what a run gains from first to best value", header, rows)
    yield "<ul class=small>"
    yield "".join(f"<li><b>{each.advice}</b>: {text(each.words)}.</li>" for each in found.recommendations)
    yield "<li><b>left out</b>: each run in turn is left out, and the policy that the others choose is applied to it. "
    yield "An estimate on the runs that chose the policy is optimistic; this one is not.</li></ul>"
    yield f"<figure>{draw_frontier(found)}<figcaption>Every dot is a policy; no other policy both saves more and loses "
    yield "less than one on the line.</figcaption></figure>"
    for each in found.recommendations:
        yield f"<h3>{each.advice}</h3>"
        if found.library == "trainbus":
            yield f"<pre tabindex=0><code>{text(dumps([each.callback]), lines=True)}</code></pre>"
        yield f"<pre tabindex=0><code>{text(format_call(each.callback, found.library))}</code></pre>"
    yield "</section>\n"


def _curve_section(curves: Curves, outcomes: dict[str, RunOutcome], metric: str) -> Iterator[str]:
    yield "<section><h2>Curves</h2>"
    if outcomes:
        yield "<ul class=legend><li class=kept>best kept</li><li class=missed>best seen, if lost</li>"
        yield "<li class=stop>stop</li><li class=cut>learning rate cut; hollow: hypothetical</li></ul>"
    yield "<div class=curves>"
    count = min(len(curves.names), _CURVES)
    for row in range(count):
        name = curves.names[row]
        chart = draw_curve(curves, row, outcomes.get(name), shorten(metric, 40))
        yield f"<figure>{chart}<figcaption>{text(shorten(name, 60))}</figcaption></figure>"
    yield "</div>"
    if len(curves.names) > count:
        yield f"<p class=small>The first {count} of {len(curves.names):,} runs.</p>"
    yield "</section>\n"


def _total(value: str, words: str) -> str:
    return f"<div><dt>{text(value)}</dt><dd>{text(words)}</dd></div>"
