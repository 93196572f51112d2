"""Reports of replays and sweeps as text for a terminal."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from math import isfinite

import numpy as np

from trainbus import dumps

from ...terminal import format_duration, plural, printable
from ..axis import AXES
from ..curves import Curves
from ..libraries.settings import find_library
from ..metric_choice import MetricChoice, shortened_list
from ..records import Recording
from ..replayer import Replay
from ..sweeper import Recommendation, Sweep
from .counted import counted
from .formatting import align_columns, estimate_cells, format_number, format_percent, shorten
from .outcome_table import tabulate_outcomes
from .snippets import format_call, format_callback

_ROWS = 40
"""The number of rows of a table, unless all are requested."""
_LINES = 12
"""The number of policies of a frontier, and of notes on recordings."""


def overview_text(recordings: Sequence[Recording], found: Sweep, paths: Sequence[str], *, every: bool = False) -> str:
    """Return what the recorded runs did, and the three recommended policies."""
    lines = [*summary(recordings, found.choice), "", *_runs(found.curves, every=every), "", *_recommendations(found)]
    return joined([*lines, "", *_snippets(found), *notes_text(recordings, found.notes), "", *_next_commands(paths)])


def replay_text(recordings: Sequence[Recording], result: Replay, *, every: bool = False) -> str:
    """Return what a list of callbacks would have decided, with a line for each run."""
    lines = [*summary(recordings, result.choice), f"by {find_library(result.library).title}'s rules:"]
    lines += [f"  {shorten(format_callback(each), 400)}" for each in result.callbacks]
    return joined([*lines, "", *_outcomes(result, every=every), *notes_text(recordings, result.notes)])


def sweep_text(recordings: Sequence[Recording], found: Sweep) -> str:
    """Return what the policies of the frontier save and lose, and the three recommended ones."""
    count = f"{len(found.grid):,} {'policy' if len(found.grid) == 1 else 'policies'}"
    tried = ", ".join(f"{len(values)} {name}" for name, values in found.grid.axes.items() if len(values) > 1)
    lines = [*summary(recordings, found.choice), "", f"{count} ({tried or 'one of each'}); of these"]
    lines += ["no other both saves more and loses less than:", "", *_frontier(found), "", *_recommendations(found), ""]
    return joined([*lines, *_snippets(found), *notes_text(recordings, found.notes)])


def joined(lines: Sequence[str]) -> str:
    """Return the lines as text, with one empty line between two parts, and none at the end."""
    kept = [line for line, before in zip(lines, ["", *lines], strict=False) if line or before]
    return "\n".join(kept).rstrip("\n")


def summary(recordings: Sequence[Recording], choice: MetricChoice, done: str = "decided") -> list[str]:
    """Return how many runs there are, of which formats, and by which metric something is done with them."""
    formats = Counter(each.format or "in memory" for each in recordings)
    epochs = counted(each.unit for each in recordings).total(sum(len(each.epochs) for each in recordings))
    counts = ", ".join(f"{name} ({count})" if len(formats) > 1 else name for name, count in formats.most_common())
    better = "lower" if choice.mode == "min" else "higher"
    return [
        f"{plural(len(recordings), 'run')}, {epochs}: {counts}",
        f"{done} by {shorten(choice.monitor)}, {better} is better ({choice.why})",
    ]


def _runs(curves: Curves, *, every: bool) -> list[str]:
    rows: list[list[str]] = []
    seconds = curves.end - curves.begin
    timed = ~np.isnan(seconds)
    words = counted(curves.units)
    mixed = len(set(curves.units)) > 1
    for row, name in enumerate(curves.names):
        column = int(curves.best[row].argmax())
        best, epoch = curves.sign * curves.best[row, column], int(curves.epochs[row, column])
        axis = AXES[curves.units[row]]
        where = axis.moment(epoch, int(curves.steps[row, column]) if axis.by_steps else None)
        where = where if mixed else where.removeprefix(f"{axis.place} ")
        known = [format_number(best), where, str(int(curves.last[row]) - epoch)]
        cells = [shorten(name), f"{curves.last[row] - curves.first[row] + 1}"]
        cells += known if isfinite(best) else ["-"] * 3
        if timed.any():
            cells.append(format_duration(float(seconds[row])) if timed[row] else "")
        rows.append([*cells, ""])
    header = ["run", words.many, "best", words.best, f"{words.many} after", *(["time"] if timed.any() else []), ""]
    return _table(header, rows, every=every)


def _outcomes(result: Replay, *, every: bool) -> Iterator[str]:
    header, rows = tabulate_outcomes(result)
    yield from _table([*header, ""], [[shorten(row[0]), *row[1:], ""] for row in rows], every=every)
    mean, worst = result.quality_lost
    fraction = result.epochs_saved / max(result.epochs, 1)
    saved, seconds = result.seconds_saved, result.seconds
    time = "" if saved is None or seconds is None else f" and {format_duration(saved)} of {format_duration(seconds)}"
    yield ""
    words = counted(each.unit for each in result.outcomes)
    epochs = f"{result.epochs_saved:,} of {words.total(result.epochs)} saved ({format_percent(fraction)})"
    yield f"in total {epochs}{time};"
    yield f"quality lost: {format_number(mean)} on average, {format_number(worst)} at worst"
    if result.censored:
        yield ""
        last = f"the last recorded {words.one}"
        yield f"censored ({result.censored}): not stopped up to {last}; nothing is known after it"
    reasons = list[str]()
    if any(outcome.hypothetical_from is not None for outcome in result.outcomes):
        reasons.append("after a learning rate cut that the record does not show, training would have continued")
        reasons.append("   differently; the first cut is exact, later actions assume the recorded values")
    if any(outcome.unsure and outcome.decisions for outcome in result.outcomes):
        reasons.append("the record may lack validations at which a callback looks, as a note says")
    if reasons and not result.censored:
        yield ""
    yield from (each if each.startswith(" ") else f"?: {each}" for each in reasons)


def _frontier(found: Sweep) -> list[str]:
    numbers = list(found.frontier)
    if len(numbers) > _LINES:
        chosen = sorted({round(line * (len(numbers) - 1) / (_LINES - 1)) for line in range(_LINES)})
        numbers = [numbers[index] for index in chosen]
    rows = [[*estimate_cells(found.estimate(each)), str(found.grid[each])] for each in numbers]
    return align_columns(["saves", "loses", "at worst", "policy"], [[each[0].rjust(6), *each[1:]] for each in rows])


def _recommendations(found: Sweep) -> list[str]:
    if found.nothing_to_learn:
        return [f"nothing is recommended: {found.nothing_to_learn}"]
    several = any(each.on_others for each in found.recommendations)
    header = ["", "saves", "loses", "at worst", *(["left out: saves", "loses", "at worst"] if several else []), ""]
    rows = [
        [each.advice, *estimate_cells(each.on_these), *(estimate_cells(each.on_others) if several else []), ""]
        for each in found.recommendations
    ]
    lines = ["recommended, by how much they may lose:", "", *align_columns(header, rows), ""]
    lines += [f"{each.advice}: {each.words}" for each in found.recommendations]
    if several:
        lines += ["left out: each run in turn is left out, and the policy that the others choose is applied to it;"]
        lines += ["expect these numbers for a new run"]
    else:
        lines += ["there is only one run: give more runs to estimate what a policy does to a new one"]
    return lines


def _snippets(found: Sweep) -> Iterator[str]:
    has_settings = found.library == "trainbus"
    by_code: dict[str, list[Recommendation]] = {}
    for each in found.recommendations:
        by_code.setdefault(format_call(each.callback, found.library), []).append(each)
    for code, same in by_code.items():
        yield f"# {', '.join(each.advice for each in same)}{', in trainbus.toml' if has_settings else ''}:"
        if has_settings:
            yield from dumps([same[0].callback]).splitlines()
            yield "# in Python:"
        yield code
        yield ""


def notes_text(recordings: Sequence[Recording], notes: Sequence[str]) -> Iterator[str]:
    """Yield notes on all runs, and the first ones on single runs, a line each."""
    runs_of: dict[str, list[str]] = {}
    for each in recordings:
        for note in each.notes:
            runs_of.setdefault(note, []).append(shorten(each.name))
    details = [f"{shortened_list(names)}: {shorten(note, 200)}" for note, names in runs_of.items()]
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
