"""Reports of replays and sweeps as text for a terminal."""

from __future__ import annotations

import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from trainbus import dumps

from ...terminal import format_duration, plot, plural, printable
from ..axis import AXES
from ..curves import Curves, first_best
from ..metric_choice import MetricChoice
from ..records import Recording
from ..sweeper import Sweep
from .counted import counted, moment
from .formatting import align_columns, estimate_cells, format_best, format_number, notes_of_runs, shorten
from .outcome_table import legend, tabulate_outcomes
from .report import Report
from .snippets import format_call

_ROWS = 30
"""The number of rows of a table, unless all are requested."""
_WIDTH, _HEIGHT = 110, 8
"""The characters of a line, and the lines of the picture."""
_LINES = 12
"""The number of policies of a frontier, and of notes on recordings."""


def overview_text(report: Report, paths: Sequence[str], *, every: bool = False) -> str:
    """Return the recommended policy, what it would have decided on each run, and the three policies to choose from."""
    lines = [*_opening(report), "", *_runs(report, every=every), "", *_policies(report)]
    return joined([*lines, "", *notes_text(report.recordings, report.notes), "", *_next_commands(paths)])


def replay_text(report: Report, *, every: bool = False) -> str:
    """Return what a list of callbacks would have decided, with a line for each run."""
    lines = [*_opening(report), "", *_runs(report, every=every)]
    return joined([*lines, "", *notes_text(report.recordings, report.notes)])


def sweep_text(report: Report, *, every: bool = False) -> str:
    """Return the recommended policy, what the policies of the frontier save and lose, and three to choose from."""
    lines = [*_opening(report), "", *_runs(report, every=every), "", *_policies(report), ""]
    found = report.found
    if found is not None and report.policies:
        tried = ", ".join(f"{len(values)} {name}" for name, values in found.grid.axes.items() if len(values) > 1)
        count = f"{len(found.grid):,} {'policy' if len(found.grid) == 1 else 'policies'}"
        lines += [f"{count} ({tried or 'one of each'}); of these", "no other both saves more and loses less than:", ""]
        lines += _frontier(found)
    return joined([*lines, "", *notes_text(report.recordings, report.notes)])


def joined(lines: Sequence[str]) -> str:
    """Return the lines as text, with one empty line between two parts, and none at the end."""
    kept = [line for line, before in zip(lines, ["", *lines], strict=False) if line or before]
    return "\n".join(kept).rstrip("\n")


def summary(recordings: Sequence[Recording], choice: MetricChoice, done: str = "decided") -> list[str]:
    """Return how many runs there are, of which formats, and by which metric something is done with them."""
    logging = [each for each in recordings if choice.is_logged_in(each)]
    formats = Counter(each.format or "in memory" for each in logging)
    epochs = counted(each.unit for each in logging).total(sum(len(each.epochs) for each in logging))
    counts = ", ".join(f"{name} ({count})" if len(formats) > 1 else name for name, count in formats.most_common())
    better = "lower" if choice.mode == "min" else "higher"
    return [
        f"{plural(len(logging), 'run')}, {epochs}: {counts}",
        f"{done} by {shorten(choice.monitor)}, {better} is better ({choice.why})",
    ]


def _opening(report: Report) -> list[str]:
    """Return what the report is about, the answer, and the picture of the run that loses most."""
    lines = [*summary(report.recordings, report.choice), ""]
    for sentence in report.answer:
        lines += textwrap.wrap(printable(sentence), _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    if not report.outcomes:
        return lines
    outcome, curves = report.outcomes[0], report.curves
    count = int(curves.lengths[0])
    rows, values = curves.epochs[0, :count].tolist(), (curves.sign * curves.scores[0, :count]).tolist()
    stop, kept, seen = outcome.stop, outcome.best_at_stop, outcome.best_seen
    marks = {each.epoch: "C" for each in outcome.cuts}
    marks |= {each.epoch: mark for each, mark in ((seen, "B"), (kept, "K"), (stop, "S")) if each is not None}
    words = [f"B best {format_best(seen, outcome.unit)}"] if seen is not None else []
    words += [f"K kept {format_best(kept, outcome.unit)}"] if kept is not None and kept != seen else []
    words += [f"S stop {moment(outcome, stop.epoch, stop.step)}"] if stop is not None else []
    words += [f"C cut of the learning rate in {moment(outcome, outcome.cuts[0].epoch)}"] if outcome.cuts else []
    if seen is not None and kept == seen:
        marks[seen.epoch] = "B"
    which = "" if len(report.outcomes) == 1 else ", the run that loses most" if outcome.quality_lost else ", one run"
    lines += ["", f"{shorten(report.choice.monitor)} of {shorten(outcome.name)}{which}: {', '.join(words) or '-'}", ""]
    return [*lines, *plot(dict(zip(rows, values, strict=True)), marks, height=_HEIGHT)]


def _runs(report: Report, *, every: bool) -> Iterator[str]:
    """Yield the table of what would have been decided; if there is nothing to decide, of what the runs reached."""
    if report.result is None:
        yield from _reached(report.curves, every=every)
        return
    header, rows = tabulate_outcomes(report.result, report.outcomes)
    yield from _table([*header, ""], [[shorten(row[0]), *row[1:], ""] for row in rows], every=every)
    header, rows = report.tabulate_groups()
    if rows:
        yield ""
        yield from _table([*header, ""], [[shorten(row[0]), *row[1:], ""] for row in rows], every=every)
    reasons = legend(report.result)
    yield ""
    for each in reasons:
        yield from textwrap.wrap(each, _WIDTH, subsequent_indent="   ")


def _reached(curves: Curves, *, every: bool) -> list[str]:
    rows: list[list[str]] = []
    seconds = curves.end - curves.begin
    timed = ~np.isnan(seconds)
    words = counted(curves.units)
    mixed = len(set(curves.units)) > 1
    for row, name in enumerate(curves.names):
        cells = [shorten(name), f"{curves.last[row] - curves.first[row] + 1}"]
        column = first_best(curves.scores[row])
        if column is None:
            cells += ["-"] * 3
        else:
            best, epoch = curves.sign * curves.scores[row, column], int(curves.epochs[row, column])
            axis = AXES[curves.units[row]]
            where = axis.moment(epoch, int(curves.steps[row, column]) if axis.by_steps else None)
            where = where if mixed else where.removeprefix(f"{axis.place} ")
            cells += [format_number(best), where, str(int(curves.last[row]) - epoch)]
        if timed.any():
            cells.append(format_duration(float(seconds[row])) if timed[row] else "")
        rows.append([*cells, ""])
    header = ["run", words.many, "best", words.best, f"{words.many} after", *(["time"] if timed.any() else []), ""]
    return _table(header, rows, every=every)


def _frontier(found: Sweep) -> list[str]:
    numbers = list(found.frontier)
    if len(numbers) > _LINES:
        chosen = sorted({round(line * (len(numbers) - 1) / (_LINES - 1)) for line in range(_LINES)})
        numbers = [numbers[index] for index in chosen]
    rows = [[*estimate_cells(found.estimate(each)), str(found.grid[each])] for each in numbers]
    return align_columns(["saves", "loses", "at worst", "policy"], [[each[0].rjust(6), *each[1:]] for each in rows])


def _policies(report: Report) -> Iterator[str]:
    """Yield the recommended policies, each with what to paste."""
    if not report.policies or report.found is None:
        return
    header, rows = report.tabulate_policies()
    yield "policies to choose from, by how much they may lose:"
    yield ""
    yield from align_columns(header, rows)
    yield ""
    yield from (f"{advice}: {each.words}" for advice, each in report.policies)
    if report.left_out:
        yield from textwrap.wrap(f"left out: {report.left_out}", _WIDTH, subsequent_indent="   ")
    yield ""
    has_settings = report.found.library == "trainbus"
    for advice, each in report.policies:
        yield f"# {advice}{', in trainbus.toml' if has_settings else ''}:"
        if has_settings:
            yield from dumps([each.callback]).splitlines()
            yield "# in Python:"
        yield format_call(each.callback, report.found.library)
        yield ""


def notes_text(recordings: Sequence[Recording], notes: Sequence[str]) -> Iterator[str]:
    """Yield notes on all runs, and the first ones on single runs, a line each."""
    details = [f"{names}: {shorten(note, 200)}" for names, note in notes_of_runs(recordings)]
    if notes or details:
        yield ""
    yield from (f"note: {shorten(note, 400)}" for note in notes)
    yield from (f"note: {note}" for note in details[:_LINES])
    if len(details) > _LINES:
        yield f"note: and {len(details) - _LINES} more notes on what was left out or guessed (--html lists all)"


def _next_commands(paths: Sequence[str]) -> Iterator[str]:
    shown = " ".join(shlex.quote(printable(each)) for each in paths)
    yield f"try your settings:   trainbus replay {shown} --early-stopping patience=5,min_delta=0.001"
    yield f"the full frontier:   trainbus sweep {shown}      as a page: --html report.html"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, every: bool) -> list[str]:
    shown = rows if every or len(rows) <= _ROWS else rows[: _ROWS - 1]
    lines = align_columns(header, shown)
    return [*lines, f"and {len(rows) - len(shown):,} more (--all)"] if len(shown) < len(rows) else lines
